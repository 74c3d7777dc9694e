"""Answer, delay or cut HTTP requests to a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from chaoskit.faults._fields import Millis, Selection, Share, millis
from chaoskit.faults._toxic import ProxyFault
from chaoskit.language.types import HttpService, problem
from chaoskit.toxiproxy.facts import Toxic

_CUTS = {None: 0, "close": 1, "reset": 2}


class Http(ProxyFault):
    """Acts on single HTTP/1.1 requests: answers them in place of the service, delays them, or cuts their connection.

    Rehearses a dependency of which a part fails: one path, one method, one tenant, a share of the requests, the
    first few attempts. What is not chosen passes, and connections are kept alive.

    Arguments:

    - ``on``: the service whose proxy it is set on. It must be reached by plain HTTP/1.1: TLS and HTTP/2 pass
      untouched.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``status``: answer with this status (``503``); the service never sees the request.
    - ``delay``: wait so long before that, or before the request goes on (``2s``, in whole milliseconds). Requests
      behind it on the same connection wait too.
    - ``cut``: ``close`` or ``reset`` the connection, instead of an answer.
    - ``method``: only requests of this method.
    - ``path``: only requests of this path. ``*`` stands for any text: ``/api/*``. What follows a ``?`` counts only
      when the pattern has one.
    - ``header``: only requests with this header.
    - ``value``: and only where the header has exactly this value.
    - ``requests``: which of these requests, on all connections together.
    - ``share``: of the requests that are left; 100% unless given.

    Evidence counts the ``connections`` with a request on which it acted.
    """

    on: HttpService
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    delay: Millis = 0.0
    cut: Literal["close", "reset"] | None = None
    method: str = ""
    path: str = ""
    header: str = ""
    value: str = ""
    requests: Selection | None = None
    share: Share = 1.0

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.status is None and self.cut is None and not self.delay:
            raise problem("nothing is to be done to the requests", ["status", "delay", "cut"])
        if self.status is not None and self.cut is not None:
            raise problem("a request is either answered (status) or cut", ["status", "cut"])
        if self.path and self.path[0] not in "/*":
            raise problem(
                f"a path begins with / or *, not with {self.path[0]!r}", ["/orders", "/orders/*", "*/charges"]
            )
        if self.value and not self.header:
            raise problem("value belongs to a header", ["header"])
        return self

    def toxics(self) -> Sequence[Toxic]:
        """The one."""
        texts = {"method": self.method, "path": self.path, "header": self.header, "value": self.value}
        attributes: dict[str, int | float | str] = {name: text for name, text in texts.items() if text}
        attributes |= {"status": self.status or 0, "delay": millis(self.delay), "cut": _CUTS[self.cut]}
        attributes |= {"share": self.share, **(self.requests.chosen() if self.requests else {})}
        return [Toxic("http", attributes, "upstream", own=True)]

    @property
    def to_ask(self) -> str:
        """For a request that matches."""
        header = f"{self.header}: {self.value}" if self.value else self.header
        asked = {"method": self.method, "path": self.path, "header": header}
        told = " and ".join(f"the {name} {text}" for name, text in asked.items() if text)
        return f"does a request to {self.on} have {told}" if told else super().to_ask
