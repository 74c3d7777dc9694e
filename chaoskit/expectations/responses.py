"""What answers look like: ``responses: {of: place-order, where: {status: 500}, no_internals: true, count: 1}``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from chaoskit.base.json_values import ABSENT
from chaoskit.base.mask import MASK, names_secret
from chaoskit.expectations._body import UNKNOWN, document, unread
from chaoskit.expectations._body import value as value_at
from chaoskit.expectations._edges import UNDECIDED, Edges, Phase, Sides
from chaoskit.expectations._evidence import SHOWN, first_few, many, told, vacuous
from chaoskit.expectations._fields import Count, Regex, Statuses, at_least_one, listed
from chaoskit.expectations._internals import internals_in, internals_in_header
from chaoskit.expectations._secrets import (
    MaskedError,
    Planted,
    given_away,
    given_away_in_header,
    is_same,
    matches,
    planted_in,
)
from chaoskit.history import rows as r
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import (
    Expectation,
    Finding,
    NeverKnown,
    Outcome,
    check_between,
    check_share,
    no_phase_after,
)
from chaoskit.language.planned import Given
from chaoskit.language.samples import Demand, share_needs
from chaoskit.language.types import JsonPath, Model, OperationName, ShareBound
from chaoskit.language.view import View

_HOWEVER_LATE = ("no_internals", "no_secret", "secrets")
"""What no answer may hold, whatever the machine is like, and whatever a fault met under way."""


Wrong = Callable[[r.Request], str | None]
"""What of an answer is not as it should be: empty when it is, None when that is not known."""


class Where(Model):
    """Which answers are looked at: those with one of these statuses, or with this kind of error (``timeout``,
    ``refused``, ``reset``, ``closed``, ``unsent``, ``other``). With both given, either will do.
    """

    status: Statuses | None = None
    error: Literal["timeout", "refused", "reset", "closed", "unsent", "other"] | None = None

    _asked = model_validator(mode="after")(at_least_one("status", "error"))

    def selects(self, request: r.Request) -> bool:
        """Whether the answer is one of them."""
        if self.error is not None and request.error is not None and request.error.partition(":")[0] == self.error:
            return True
        return self.status is not None and request.status in listed(self.status)

    def __str__(self) -> str:
        parts = [
            f"status {', '.join(map(str, listed(self.status)))}" if self.status is not None else "",
            self.error,
        ]
        return " or ".join(part for part in parts if part)


class Responses(Expectation):
    """Expectations on the answers to one operation, among those that ``where`` selects in a ``phase``.

    Every selected answer must have ``status`` (one of these), at each dotted path of ``json`` this value, in each
    ``header`` a match of this regular expression, in the body a match of ``body``; with ``no_internals`` no stack
    trace, exception class, file path or SQL (see :mod:`chaoskit.expectations._internals`); with ``no_secret``
    nothing that looks like a password, token or key, and with ``secrets`` none of these planted values. ``count``
    bounds how many were selected, ``share`` their share of all requests of the operation in the phase. Of a body the
    first 65,536 characters are looked at, unpacked (``gzip``, ``deflate``), for the values in ``json`` all of it; where
    the rest may decide, the finding is vacuous. For the inside and for secrets headers are looked at, too: not for file
    paths, as an address looks like one, nor for secrets in those that are for the client (cookies, challenges, tokens
    against forged requests). A request that was under way when a fault began or ended belongs to neither side: nothing
    is asked of it, but that it holds nothing of the inside and no secret, and a ``count`` that it decides is vacuous.
    """

    of: OperationName
    where: Where | None = None
    phase: Phase = "faults"
    status: Statuses | None = None
    json_: dict[JsonPath, Any] | None = Field(None, alias="json", min_length=1)
    header: dict[str, Regex] | None = Field(None, min_length=1)
    body: Regex | None = None
    no_internals: Literal[True] | None = None
    no_secret: Literal[True] | None = None
    secrets: Planted | None = None
    count: Count | None = None
    share: ShareBound | None = None

    _asked = model_validator(mode="after")(
        at_least_one("status", "json_", "header", "body", "no_internals", "no_secret", "secrets", "count", "share")
    )

    def demands(self) -> Iterator[Demand]:
        """As many as the share needs."""
        if self.share is not None:
            yield Demand(("share",), f"share {self.share}", self.of, self.phase, share_needs(self.share))

    def notes(self) -> Iterator[tuple[str, str]]:
        """The values that are compared."""
        yield from ((self.of, path) for path in self.json_ or {})

    def reads(self) -> Iterator[tuple[str, list[int]]]:
        """The answers that are selected, where what stands in them matters."""
        if self.body is not None or self.no_internals or self.no_secret or self.secrets:
            where = self.where
            one_of = where.status if where is not None and where.error is None else None
            yield self.of, [] if one_of is None else listed(one_of)

    def never_known(self, given: Given) -> Iterator[NeverKnown]:
        """A phase that may not come at all."""
        return no_phase_after(given, (*given.path, "phase")) if self.phase == "after" else iter(())

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each thing asked for, ``responses.OPERATION.NAME``."""
        edges = Edges(view, self.phase)
        sides = edges.requests(self.of)
        clear, edge = self._selected(sides.clear), self._selected(sides.edge)
        for name, expected, wrong in self._demands():
            if name in _HOWEVER_LATE:  # nor does it matter on which side of an edge it was
                asked = [*clear, *filter(wrong, edge)]
            else:
                asked = [row for row in clear if not (view.in_doubt and self._explained(name, row, view))]
            yield self._every(name, expected, wrong, asked, len(edge), certain=view.had_time(edges.windows))
        if self.count is not None:
            total = len(sides.clear) + len(sides.edge)
            yield check_between(
                f"responses.{self.of}.count", self.count, *self._counted(sides, view), total,
                show=lambda text: f"{text} of {many(str(total), 'answer')}", open_=UNDECIDED,
                path=("count",), worst=_statuses(sides.clear), rows=first_few(clear),
            )  # fmt: skip
        if self.share is not None:
            requests = view.requests(self.of, edges.windows)
            least, most = self._counted(Sides(requests, []), view)
            found = [self._shared(self.share, part, requests) for part in range(least, most + 1)]
            yield next((each for each in found if each.outcome is not Outcome.VIOLATED), found[0])

    def _shared(self, share: Bound, part: int, requests: list[r.Request]) -> Finding:
        return check_share(
            f"responses.{self.of}.share", share, part, len(requests),
            path=("share",), worst=_statuses(requests), rows=first_few(self._selected(requests)),
        )  # fmt: skip

    def _counted(self, sides: Sides[r.Request], view: View) -> tuple[int, int]:
        """How many are selected at least and at most. What is in doubt may have been any answer."""
        certain: list[r.Request] = []
        open_ = self._selected(sides.edge)
        for row in sides.clear:
            (open_ if view.doubted(row.intended, row.ended) else certain).append(row)
        least = len(self._selected(certain))
        return least, least + len(open_)

    def _explained(self, name: str, row: r.Request, view: View) -> bool:
        """Whether a slow machine could be why an answer differs: there is none, it is a refusal, or a fallback. It
        never puts other content into one that is as good as any, or that was selected for being a refusal."""
        if not view.doubted(row.intended, row.ended):
            return False
        refusal = self.where is not None and self.where.status is not None and row.status in listed(self.where.status)
        return name == "status" or not (refusal or (row.ok and not row.fallback))

    def _selected(self, requests: list[r.Request]) -> list[r.Request]:
        return [row for row in requests if self.where is None or self.where.selects(row)]

    def _demands(self) -> Iterator[tuple[str, str, Wrong]]:
        """What is asked of every answer: name, what is expected, and what of it an answer fails to meet."""
        if self.status is not None:
            statuses = listed(self.status)
            yield "status", " or ".join(map(str, statuses)), partial(_status_differs, statuses)
        for path, value in (self.json_ or {}).items():
            yield f"json.{path}", f"{path} is {_shown(path, value)}", partial(_json_differs, path, value)
        for header, pattern in (self.header or {}).items():
            yield f"header.{header}", f"/{pattern}/", partial(_header_differs, header, pattern)
        if self.body is not None:
            yield "body", f"/{self.body}/", partial(_body_differs, self.body)
        if self.no_internals:
            expected = "nothing of the service's inside"
            yield "no_internals", expected, partial(_gives_away, internals_in, internals_in_header)
        if self.no_secret:
            yield "no_secret", "no secret", partial(_gives_away, given_away, given_away_in_header)
        if (planted := self.secrets) is not None:
            expected = f"none of {many(str(len(planted)), 'planted value')}"

            def found(text: str) -> list[str]:
                return planted_in(text, planted)

            yield "secrets", expected, partial(_gives_away, found, lambda _, value: found(value))

    def _every(
        self,
        name: str,
        expected: str,
        wrong: Wrong,
        selected: list[r.Request],
        left_out: int,
        *,
        certain: bool,
    ) -> Finding:
        key, path = f"responses.{self.of}.{name}", tuple(name.split(".", 1))
        if not selected:
            which = f" with {self.where}" if self.where is not None else ""
            why = f"no answer of {self.of}{which} ({self.phase})"
            if left_out:
                why += f" but {left_out} under way when a fault began or ended: let it last longer than an answer takes"
            return vacuous(key, expected, why, path, certain=certain and not left_out)
        try:
            found = [(row, wrong(row)) for row in selected]
        except MaskedError as error:
            return vacuous(key, expected, str(error), path, len(selected), certain=True)
        bad = [(row, text) for row, text in found if text]
        unknown = Counter(unread(row) for row, text in found if text is None)
        total = many(str(len(selected)), "answer")
        if not bad and unknown:
            whys = ", ".join(f"{why} (× {count})" for why, count in unknown.most_common(3))
            seen = f"{unknown.total()} of {total} could not be read to the end: {whys}"
            return vacuous(key, expected, seen, path, len(selected), certain=True)
        if not bad:
            return Finding(key, Outcome.HELD, expected, f"in all of {total}", len(selected), path)
        kinds = Counter(text for _, text in bad).most_common(3)
        seen = f"{len(bad)} of {total} differ: {', '.join(f'{text} (× {count})' for text, count in kinds)}"
        rows = tuple(f"{told(row)}: {text}" for row, text in bad[:SHOWN])
        return Finding(key, Outcome.VIOLATED, expected, seen, len(selected), path, rows[0], rows)


def _status_differs(statuses: list[int], request: r.Request) -> str:
    return "" if request.status in statuses else _end(request)


def _shown(name: str, value: Any) -> str:
    """What stands under ``name``, in a finding: its name is not beside it everywhere, so it must be known here."""
    return MASK if value is not ABSENT and names_secret(name) else repr(value)


def _json_differs(path: str, value: Any, request: r.Request) -> str | None:
    found = value_at(request, path)
    if found is UNKNOWN:
        return None
    if is_same(found, value):
        return ""
    return "no JSON" if found is ABSENT and not unread(request) and document(request) is ABSENT else _shown(path, found)


def _header_differs(name: str, pattern: str, request: r.Request) -> str:
    value = request.headers.get(name.lower())
    if value is None:
        return "absent"
    return "" if matches(pattern, value) else _shown(name, value)


def _body_differs(pattern: str, request: r.Request) -> str | None:
    if matches(pattern, request.body):
        return ""
    return None if unread(request) else repr(request.body[:60])


def _gives_away(
    in_body: Callable[[str], list[str]], in_header: Callable[[str, str], list[str]], request: r.Request
) -> str | None:
    found = in_body(request.body)
    for name, value in request.headers.items():
        found += [f"{what} in the header {name}" for what in in_header(name, value)]
    return "; ".join(found) or (None if unread(request) else "")


def _end(request: r.Request) -> str:
    return str(request.status) if request.error is None else request.error


def _statuses(requests: list[r.Request]) -> str:
    """``201 × 38, timeout × 2``."""
    kinds = Counter(map(_end, requests))
    return ", ".join(f"{kind} × {count}" for kind, count in kinds.most_common())
