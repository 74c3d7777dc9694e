"""What is to be sent: an :class:`Operation` says what one request looks like, a :class:`Stream` says when.

All texts of an operation are templates (see :mod:`chaoskit.traffic.templates`). Times are seconds, moments are
those of the monotonic clock (:data:`chaoskit.base.clock.now`), rates are requests per second.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Arrival = Literal["constant", "poisson"]


class Fallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an answer that came from a fallback is recognised: everything given here must match.

    ``header`` maps names to exact values; ``json`` maps dotted paths (``source.kind``, ``items.0.id``) to
    expected values.
    """

    header: dict[str, str] = {}
    status: int | None = None
    json: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.header and self.status is None and not self.json:
            raise ValueError("a fallback needs a header, a status or json to be recognised by")


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of request.

    ``url`` is a whole URL (``{{ orders.url }}/orders``). At most one of ``json`` (any value; the strings in it
    are templates), ``body`` (text) and ``form`` (fields) makes the body. An empty ``ok_status`` means any 2xx;
    ``ok_json`` maps dotted paths of the answer to expected values. ``rate`` is requests per second, 0 when only
    bursts drive the operation. ``timeout`` counts from the send. ``copies`` identical requests are sent at
    once. ``in_flight`` limits the requests in flight: what is due beyond it is not sent, and ends as ``unsent``.
    ``id_header`` carries the id that ties rows together; where ``headers`` does not set it, a seeded UUID is added.
    So is a ``traceparent`` (W3C trace context), also drawn from the seed. ``note_json`` lists dotted paths of the
    answer whose values the row keeps, however long the answer is. ``read`` is whose bodies are read, so that the row
    keeps more of them: those with these statuses, or all when it is empty; None is none.

    With ``python`` (``module:async_function``) that coroutine function is called in place of HTTP: with the
    rendered ``json`` object as keyword arguments, and ``request_id`` if it has such a parameter. Its return
    value counts as the JSON answer.

    Raises ValueError for contradictions.
    """

    name: str
    url: str = ""
    method: str = "GET"
    headers: dict[str, str] = {}
    json: Any = None
    body: str | None = None
    form: dict[str, str] | None = None
    python: str | None = None
    rate: float = 0.0
    arrival: Arrival = "constant"
    timeout: float = 10.0
    ok_status: list[int] = []
    ok_json: dict[str, Any] | None = None
    note_json: list[str] = []
    read: list[int] | None = None
    fallback: Fallback | None = None
    copies: int = 1
    id_header: str = "x-request-id"
    in_flight: int = 2000

    def __post_init__(self) -> None:
        where = f"operation {self.name!r}"
        if bool(self.url) == bool(self.python):
            raise ValueError(f"{where} needs either a url or a python function")
        if sum(part is not None for part in (self.json, self.body, self.form)) > 1:
            raise ValueError(f"{where} has more than one of json, body and form")
        if self.python and not (self.json is None or isinstance(self.json, dict)):
            raise ValueError(f"{where}: the json of a python operation holds its arguments, so it is an object")
        if self.rate < 0:
            raise ValueError(f"{where}: a rate is not negative")
        if self.timeout <= 0 or self.copies < 1 or self.in_flight < 1:
            raise ValueError(f"{where}: timeout, copies and in_flight are positive")


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of requests of one operation, from ``start`` on, ending before ``until`` or after ``count`` requests.

    ``rate`` None means: with ``count``, a burst (all of them at ``start``); without, the operation's own rate.
    With ``rate_to`` the rate changes linearly from ``rate`` at ``start`` to ``rate_to`` at ``until``.
    ``arrival`` None means the operation's own. A ``start`` in the past is made up for: what was due is sent late.

    Raises ValueError for contradictions.
    """

    id: str
    op: str
    start: float
    rate: float | None = None
    rate_to: float | None = None
    count: int | None = None
    until: float | None = None
    arrival: Arrival | None = None

    def __post_init__(self) -> None:
        where = f"stream {self.id!r}"
        if (self.rate is not None and self.rate < 0) or (self.rate_to is not None and self.rate_to < 0):
            raise ValueError(f"{where}: a rate is not negative")
        if self.rate_to is not None and self.until is None:
            raise ValueError(f"{where}: a ramp needs an end (until)")
        if self.until is not None and self.until <= self.start:
            raise ValueError(f"{where} ends before it starts")
        if self.count is not None and self.count < 0:
            raise ValueError(f"{where}: a count is not negative")
