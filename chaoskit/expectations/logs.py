"""What a service writes to its log: ``logs: {service: orders, match: {event: panic recovered}, within: 2s}``.

A structured line (one JSON object) is matched by its fields, any line by a regular expression on its text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from chaoskit.base.json_values import ABSENT
from chaoskit.base.units import format_duration
from chaoskit.expectations._edges import UNDECIDED, Edges, Phase
from chaoskit.expectations._evidence import SHOWN, many, vacuous
from chaoskit.expectations._fields import Count, Regex, at_least_one
from chaoskit.expectations._lines import field
from chaoskit.expectations._secrets import MaskedError, Planted, excerpt, given_away, is_same, matches, planted_in
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, inside
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Expectation, Finding, NeverKnown, Outcome, check_between, no_phase_after
from chaoskit.language.names import slug
from chaoskit.language.planned import Given
from chaoskit.language.types import Duration, NumberBound, ServiceName, problem
from chaoskit.language.view import View
from chaoskit.system.processes import CUT, LINE_LIMIT

MINUTE = 60.0
_SHORTEST = 1.0
"""Seconds that a rate is measured over at least."""


class Logs(Expectation):
    """Expectations on the lines of a ``service`` that ``match`` and ``text`` select in a ``phase``.

    A line is selected when each field of ``match`` (a name or a dotted path) has this value, or one of a list, and a
    match of the regular expression ``text`` is found in it. The first must come ``within`` this time of the start of
    the first fault; ``count`` bounds how many there are, ``per_minute`` how many a minute: over the length of the
    phase, or, in one that is longer, in its fullest minute. Every selected line must have the fields ``with``, and
    not empty; with ``absent`` there must be none. What was written about a request that was under way when a fault
    began or ended (after the end, while it was; or on the other side of it, where the line names its id) belongs to
    neither side: what it decides of these, or of a ``count``, is vacuous, but where such lines were there before the
    phase, too. With ``no_secret`` nothing that looks like a password, token or key
    stands in any line of the service, selected or not, in the whole run; with ``secrets`` none of these planted values.
    What is cut off a line that is longer than 65,536 bytes may be that, or what must be ``absent``: vacuous.
    """

    service: ServiceName
    match: dict[str, Any] | None = Field(None, min_length=1)
    text: Regex | None = None
    phase: Phase = "faults"
    within: Duration | None = None
    count: Count | None = None
    per_minute: NumberBound | None = None
    with_: list[str] | None = Field(None, alias="with", min_length=1)
    absent: Literal[True] | None = None
    no_secret: Literal[True] | None = None
    secrets: Planted | None = None

    _asked = model_validator(mode="after")(
        at_least_one("within", "count", "per_minute", "with_", "absent", "no_secret", "secrets")
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Logs:
        if self.absent and self.match is None and self.text is None:
            raise problem("it is not said which lines must be absent", ["match", "text"])
        for name in ("within", "count", "per_minute", "with_"):
            if self.absent and getattr(self, name) is not None:
                raise problem(f"lines that are absent have no {name.rstrip('_')!r}: give one or the other")
        return self

    def never_known(self, given: Given) -> Iterator[NeverKnown]:
        """A phase that may not come at all."""
        return no_phase_after(given, (*given.path, "phase")) if self.phase == "after" else iter(())

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each thing asked for, ``logs.SERVICE.LINES.NAME``; LINES is as in ``panic-recovered``."""
        lines = sorted((row for row in view.history.rows(r.Log) if row.service == self.service), key=lambda row: row.at)
        edges = Edges(view, self.phase)
        for name, expected in self._demands():
            if not lines:
                why = f"{self.service} logged nothing at all"
                yield vacuous(self._id(name), expected, why, (name,), certain=view.had_time())
            else:
                yield self._judge(name, expected, lines, edges)

    def _id(self, name: str) -> str:
        """The lines are called by the first text in ``match``, else by ``text``."""
        values = [value for value in (self.match or {}).values() if isinstance(value, str)]
        which = slug(values[0] if values else self.text or "") or "lines"
        return f"logs.{self.service}.{which}.{name}"

    def _selects(self, log: r.Log) -> bool:
        if self.text is not None and not matches(self.text, log.line):
            return False
        return all(_is(field(log, path), value) for path, value in (self.match or {}).items())

    def _demands(self) -> Iterator[tuple[str, str]]:
        """What is asked for: its name, and what is expected in words."""
        if self.within is not None:
            yield "within", f"within {format_duration(self.within)} of the first fault"
        if self.count is not None:
            yield "count", str(self.count)
        if self.per_minute is not None:
            yield "per_minute", str(self.per_minute)
        if self.with_ is not None:
            yield "with", f"{', '.join(self.with_)} in every line"
        if self.absent:
            yield "absent", "no such line"
        if self.no_secret:
            yield "no_secret", "no secret"
        if self.secrets:
            yield "secrets", f"none of {many(str(len(self.secrets)), 'planted value')}"

    def _judge(self, name: str, expected: str, lines: list[r.Log], edges: Edges) -> Finding:
        windows = edges.windows
        selected = [row for row in lines if self._selects(row)]
        there = [row for row in selected if windows is None or inside(row.at, windows)]
        sides = edges.lines(selected)
        # Of each request that the machine was in the way of, it may have kept a line from being there.
        unwritten = edges.view.doubted_requests
        match name:
            case "within":
                return self._first(expected, there, lines, edges)
            case "count" if self.count is not None:
                least = sum(not edges.view.doubted_at(row.at) for row in sides.clear)
                at_most = len(sides.clear) + len(sides.edge) + unwritten
                return self._counted(name, self.count, (least, at_most), sides.clear or sides.edge, lines)
            case "per_minute" if self.per_minute is not None:
                span = [Window(lines[0].at, lines[-1].at)] if windows is None else windows
                certain = [row for row in there if not edges.view.doubted_at(row.at)]
                between = (a_minute(certain, span), a_minute(there, span) + unwritten / _minutes(span))
                return self._counted(name, self.per_minute, between, there, lines)
            case "with":
                if not sides.clear:
                    why, had_time = f"no such line ({self.phase})", edges.view.had_time(windows)
                    return vacuous(self._id(name), expected, why, (name,), certain=had_time)
                found = self._every(name, expected, sides.clear, self._lacks)
                return _open(found, [row for row in selected if self._lacks(row)], edges)
            case "absent":
                if windows is not None and not any(window.length for window in edges.quiet):
                    why = f"there was no time in {self.phase} without requests that the end of a fault met under way"
                    return vacuous(self._id(name), expected, why, (name,))
                bad = {id(row) for row in sides.clear if not edges.view.doubted_at(row.at)}
                found = self._every(name, expected, lines, lambda row: "it is there" if id(row) in bad else "")
                asked = [row for row in lines if windows is None or inside(row.at, windows)]
                return _whole(_open(found, selected, edges), asked)
            case "no_secret":
                return _whole(self._every(name, expected, lines, lambda row: ", ".join(given_away(row.line))), lines)
        planted = self.secrets or []
        return _whole(self._every(name, expected, lines, lambda row: ", ".join(planted_in(row.line, planted))), lines)

    def _first(self, expected: str, selected: list[r.Log], lines: list[r.Log], edges: Edges) -> Finding:
        view = edges.view
        key, path, origin = self._id("within"), ("within",), view.first_fault
        if origin is None or self.within is None:
            return vacuous(key, expected, "there was no fault to count from", path, certain=True)
        first = next((row for row in selected if row.at >= origin), None)
        if first is None:
            seen = f"no such line among {len(lines)}"
            end = edges.windows[-1].end if edges.windows else lines[-1].at
            if view.in_doubt and view.took(origin, end) < self.within:
                return vacuous(key, expected, seen, path, len(lines))
            return Finding(key, Outcome.VIOLATED, expected, seen, len(lines), path)
        after = view.took(origin, first.at)
        outcome = Outcome.HELD if after <= self.within else Outcome.VIOLATED
        rows = (self._excerpt(first),)
        return Finding(key, outcome, expected, f"after {format_duration(after)}", len(lines), path, rows=rows)

    def _counted(
        self, name: str, bound: Bound, between: tuple[float, float], selected: list[r.Log], lines: list[r.Log]
    ) -> Finding:
        rows = [self._excerpt(row) for row in selected[:SHOWN]]
        unit = " a minute" if name == "per_minute" else f" of {len(lines)}"
        return check_between(
            self._id(name), bound, *between, len(lines), show=lambda text: f"{many(text, 'line')}{unit}",
            open_=UNDECIDED, path=(name,), rows=rows,
        )  # fmt: skip

    def _every(self, name: str, expected: str, lines: list[r.Log], wrong: Callable[[r.Log], str]) -> Finding:
        try:
            bad = [(row, text) for row in lines if (text := wrong(row))]
        except MaskedError as error:
            return vacuous(self._id(name), expected, str(error), (name,), len(lines), certain=True)
        total = many(str(len(lines)), "line")
        if not bad:
            return Finding(self._id(name), Outcome.HELD, expected, f"as expected in {total}", len(lines), (name,))
        kinds = Counter(text for _, text in bad).most_common(3)
        seen = f"{len(bad)} of {total} differ: {', '.join(f'{text} (× {count})' for text, count in kinds)}"
        rows = tuple(f"{text}: {self._excerpt(row)}" for row, text in bad[:SHOWN])
        return Finding(self._id(name), Outcome.VIOLATED, expected, seen, len(lines), (name,), rows[0], rows)

    def _lacks(self, log: r.Log) -> str:
        lacking = [name for name in self.with_ or [] if field(log, name) in (ABSENT, None, "", [], {})]
        return f"without {', '.join(lacking)}" if lacking else ""

    def _excerpt(self, log: r.Log) -> str:
        return excerpt(log.line, self.secrets or [])


def _open(found: Finding, bad: list[r.Log], edges: Edges) -> Finding:
    """``found``, but vacuous where lines of neither side decide: of those that are ``bad``, unless bad ones were there
    before the phase, too. Theirs is that side: what the end of a fault met under way fails as all did in the fault.
    """
    undecided = len(edges.lines(bad).edge)
    if not found.held or not undecided or any(row.at < edges.windows[0].start for row in bad if edges.windows):
        return found
    seen = f"between 0 and {undecided} of {many(str(found.samples), 'line')} differ: {UNDECIDED}"
    return vacuous(found.id, found.expected, seen, found.path, found.samples)


def _whole(found: Finding, lines: list[r.Log]) -> Finding:
    """``found``, but vacuous where what was cut off ``lines`` may hold what must not be there."""
    cut = sum(row.line.endswith(CUT) for row in lines)
    if not found.held or not cut:
        return found
    seen = f"{cut} of {many(str(len(lines)), 'line')} could not be read to the end: longer than {LINE_LIMIT:,} bytes"
    return vacuous(found.id, found.expected, seen, found.path, found.samples, certain=True)


def _is(value: Any, wanted: Any) -> bool:
    """Whether a field has the value, or one of a list of values."""
    if isinstance(wanted, list) and not isinstance(value, list):
        return any(_is(value, one) for one in wanted)
    return is_same(value, wanted)


def _minutes(windows: list[Window]) -> float:
    """How many a rate is measured over: at most 1, as the fullest counts."""
    return min(max(sum(window.length for window in windows), _SHORTEST), MINUTE) / MINUTE


def a_minute(lines: list[r.Log], windows: list[Window]) -> float:
    """Lines a minute: over the length of ``windows`` together, or in the fullest minute when that is longer."""
    if sum(window.length for window in windows) <= MINUTE:
        return len(lines) / _minutes(windows)
    moments = [row.at for row in lines]
    return float(max((bisect_left(moments, at + MINUTE) - index for index, at in enumerate(moments)), default=0))
