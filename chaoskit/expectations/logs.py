"""What a service writes to its log: ``logs: {service: orders, match: {event: panic recovered}, within: 2s}``.

A structured line (one JSON object) is matched by its fields, any line by a regular expression on its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from chaoskit.expectations._body import ABSENT
from chaoskit.expectations._evidence import SHOWN, many, moment, vacuous, with_unit
from chaoskit.expectations._fields import Count, Regex, at_least_one
from chaoskit.expectations._lines import field
from chaoskit.expectations._secrets import Planted, excerpt, given_away
from chaoskit.expectations.base import Expectation, Finding, Outcome, check
from chaoskit.history import rows as r
from chaoskit.history.view import View
from chaoskit.history.windows import Window, inside, merge
from chaoskit.scenario.bounds import Bound
from chaoskit.scenario.names import slug
from chaoskit.scenario.types import CountBound, Duration, ServiceName, problem
from chaoskit.units import format_duration

MINUTE = 60.0


class Logs(Expectation):
    """Expectations on the lines of a ``service`` that are like ``match`` says, written in a ``phase``.

    A line matches when each field of ``match`` (a name or a dotted path) has this value, or one of a list, and the
    whole line a match of the regular expression ``text``. The first one must come ``within`` this time of the start of
    the first fault; ``count`` bounds how many there are, ``per_minute`` how many a minute: lines over the phase's
    length, in a phase longer than a minute those of its fullest minute. Every matching line must have the fields
    ``with``, not empty. ``absent``: none matches. With ``no_secret`` no line of the service at all, matching or not and
    in the whole run, holds what looks like a password, token or key, nor any planted value of ``secrets``.
    """

    service: ServiceName
    match: dict[str, Any] | None = Field(None, min_length=1)
    text: Regex | None = None
    phase: Literal["faults", "steady", "recovery", "after", "all"] = "faults"
    within: Duration | None = None
    count: Count | None = None
    per_minute: CountBound | None = None
    with_: list[str] | None = Field(None, alias="with", min_length=1)
    absent: Literal[True] | None = None
    no_secret: Literal[True] | None = None
    secrets: Planted | None = None

    _asked = model_validator(mode="after")(
        at_least_one("within", "count", "per_minute", "with_", "absent", "no_secret", "secrets")
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Logs:
        wanted = [name for name in ("within", "count", "with_") if getattr(self, name) is not None]
        if self.absent and wanted:
            raise problem(f"what is absent has no {wanted[0].rstrip('_')}")
        if self.absent and self.match is None and self.text is None:
            raise problem("it is not said which lines must be absent", ["match", "text"])
        return self

    @property
    def name(self) -> str:
        """What the lines are called in findings: by the values of ``match``, else by ``text``."""
        values = [str(value) for value in (self.match or {}).values() if isinstance(value, str)]
        return slug(values[0] if values else self.text or "") or "lines"

    def judge(self, view: View) -> Iterator[Finding]:
        """``logs.SERVICE.LINES.within``, ``.count`` ...; LINES is the first value of ``match`` (``panic-recovered``)."""
        lines = sorted((row for row in view.history.of(r.Log) if row.service == self.service), key=lambda row: row.at)
        key = f"logs.{self.service}.{self.name}"
        if not lines:
            for name, expected in self._asked_for():
                yield vacuous(f"{key}.{name}", expected, f"{self.service} logged nothing at all", _path(name))
            return
        windows = self._windows(view)
        found = [row for row in lines if (windows is None or inside(row.at, windows)) and self._matches(row)]
        if self.within is not None:
            yield self._within(f"{key}.within", self.within, found, lines, view)
        if self.count is not None:
            yield self._counted(f"{key}.count", "count", self.count, len(found), found, lines)
        if self.per_minute is not None:
            span = windows or [Window(lines[0].at, max(lines[-1].at, lines[0].at + 1.0))]
            yield self._counted(
                f"{key}.per_minute", "per_minute", self.per_minute, _per_minute(found, span), found, lines
            )
        if self.with_ is not None:
            yield self._complete(f"{key}.with", self.with_, found)
        if self.absent:
            yield _offenders(f"{key}.absent", "absent", "no such line", found, lines, self.secrets)
        if self.no_secret or self.secrets:
            yield self._secretive(f"{key}.no_secret", lines)

    def _asked_for(self) -> Iterator[tuple[str, str]]:
        if self.within is not None:
            yield "within", f"within {format_duration(self.within)}"
        for name, bound in (("count", self.count), ("per_minute", self.per_minute)):
            if bound is not None:
                yield name, str(bound)
        if self.with_ is not None:
            yield "with", ", ".join(self.with_)
        if self.absent:
            yield "absent", "no such line"
        if self.no_secret or self.secrets:
            yield "no_secret", "no secret"

    def _windows(self, view: View) -> list[Window] | None:
        if self.phase == "faults":
            return view.fault_windows
        if self.phase == "all":
            return None
        return [view.phases[self.phase]] if self.phase in view.phases else []

    def _matches(self, log: r.Log) -> bool:
        if self.text is not None and not re.search(self.text, log.line):
            return False
        return all(_is(field(log, path), value) for path, value in (self.match or {}).items())

    def _within(self, id: str, limit: float, found: list[r.Log], lines: list[r.Log], view: View) -> Finding:
        expected = f"within {format_duration(limit)}"
        if view.first_fault is None:
            return vacuous(id, expected, "there was no fault to count from", ("within",))
        first = next((row for row in found if row.at >= view.first_fault), None)
        if first is None:
            seen = f"no such line among {many(str(len(lines)), 'line')}"
            return Finding(id, Outcome.VIOLATED, expected, seen, len(lines), ("within",))
        after = first.at - view.first_fault
        outcome = Outcome.HELD if after <= limit else Outcome.VIOLATED
        rows = (excerpt(first.line, self.secrets or []),)
        return Finding(id, outcome, expected, f"after {format_duration(after)}", len(found), ("within",), rows=rows)

    def _counted(
        self, id: str, name: str, bound: Bound, value: float, found: list[r.Log], lines: list[r.Log]
    ) -> Finding:
        rows = [excerpt(row.line, self.secrets or []) for row in found[:SHOWN]]
        finding = check(id, bound, value, len(lines), path=(name,), rows=rows)
        return with_unit(finding, lambda text: f"{many(text, 'line')}{' a minute' if name == 'per_minute' else ''}")

    def _complete(self, id: str, wanted: list[str], found: list[r.Log]) -> Finding:
        expected = f"{', '.join(wanted)} in every line"
        if not found:
            return vacuous(id, expected, f"no such line ({self.phase})", ("with",))
        bad = [(row, lacking) for row in found if (lacking := [name for name in wanted if _empty(field(row, name))])]
        total = many(str(len(found)), "line")
        if not bad:
            return Finding(id, Outcome.HELD, expected, f"in all of {total}", len(found), ("with",))
        rows = [f"without {', '.join(lack)}: {excerpt(row.line, self.secrets or [])}" for row, lack in bad[:SHOWN]]
        seen = f"{len(bad)} of {total} lack {', '.join(dict.fromkeys(name for _, lack in bad for name in lack))}"
        return Finding(id, Outcome.VIOLATED, expected, seen, len(found), ("with",), rows[0], tuple(rows))

    def _secretive(self, id: str, lines: list[r.Log]) -> Finding:
        planted = self.secrets or []
        bad = [(row, kinds) for row in lines if (kinds := given_away(row.line, planted))]
        total = many(str(len(lines)), "line")
        if not bad:
            return Finding(id, Outcome.HELD, "no secret", f"in none of {total}", len(lines), ("no_secret",))
        kinds = dict.fromkeys(kind for _, found in bad for kind in found)
        rows = [f"{', '.join(found)}: {excerpt(row.line, planted)}" for row, found in bad[:SHOWN]]
        seen = f"{len(bad)} of {total}: {', '.join(kinds)}"
        return Finding(id, Outcome.VIOLATED, "no secret", seen, len(lines), ("no_secret",), rows[0], tuple(rows))


def _path(name: str) -> tuple[str, ...]:
    return (name,)
