"""What a history knows of alerts: their lives, their deliveries, and whether the rules behind them were evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from math import inf, isnan

from chaoskit.base.units import counted, format_duration
from chaoskit.history import rows as r
from chaoskit.history.alerts import RULES, Incident, incidents
from chaoskit.language.view import View
from chaoskit.rules.promql.selected import needed

NEEDED = 2
"""Evaluations after the first fault that show that a rule would have fired; the first may have begun before it."""

_IDENTIFIER = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = re.compile(r"\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])*'|`[^`]*`")

Matches = Callable[[Incident | r.Alert], bool]


@dataclass(frozen=True)
class Lives:
    """The alerts of a run that ``matches`` selects. Moments are monotonic seconds.

    ``unfinished`` while phases are still to come: then nothing is left out as too late.
    """

    view: View
    matches: Matches
    unfinished: bool = False

    @property
    def origin(self) -> float:
        """The start of the first fault; the end of time where there was none."""
        return self.view.first_fault if self.view.first_fault is not None else inf

    @property
    def lifted(self) -> float:
        """The end of the last fault."""
        return self.view.last_fault_end if self.view.last_fault_end is not None else inf

    @cached_property
    def end(self) -> float:
        """When the last phase ended. What becomes active later belongs to the clearing up: the traffic has ended."""
        ends = [] if self.unfinished else [phase.end for phase in self.view.phases.values()]
        return max(ends, default=inf)

    @cached_property
    def all(self) -> list[Incident]:
        """Each life that began before the last phase ended, in the order of firing."""
        found = incidents(self._rows)
        return [incident for incident in found if incident.active < self.end and self.matches(incident)]

    @property
    def early(self) -> list[Incident]:
        """Those that cannot come from a fault: they were pending or firing before the first one."""
        return [incident for incident in self.all if incident.active < self.origin]

    @property
    def later(self) -> list[Incident]:
        """Those that began after the start of the first fault."""
        return [incident for incident in self.all if incident.active >= self.origin]

    @cached_property
    def notifications(self) -> list[r.Alert]:
        """Every notification that says it fires, refused ones too."""
        return [row for row in self._rows if row.state == "delivered" and self.matches(row) and row.at < self.end]

    def delivered(self, receiver: str) -> list[r.Alert]:
        """The notifications that arrived, at ``receiver`` or (empty) anywhere."""
        found = [row for row in self.notifications if not row.refused]
        return [row for row in found if not receiver or row.receiver == receiver]

    def pending(self) -> list[r.Alert]:
        """When an alert became pending, whether it fired later or not."""
        return [row for row in self._rows if row.state == "pending" and self.matches(row)]

    @cached_property
    def _rows(self) -> list[r.Alert]:
        return sorted(self.view.history.rows(r.Alert), key=lambda row: row.at)


class Evaluations:
    """Whether the rules were evaluated, as far as the history tells."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rows = sorted(view.history.rows(r.Rules), key=lambda row: row.at)

    @property
    def observed(self) -> bool:
        """Whether anybody asked for the rules at all: not so where an application sends its alerts itself."""
        return bool(self._rows)

    @property
    def error(self) -> str:
        """Why nobody could be asked, ever; empty when somebody could."""
        return self._rows[-1].error if self._rows and all(row.error for row in self._rows) else ""

    @property
    def names(self) -> set[str]:
        """The alerts that rules were seen for."""
        return {name for row in self._rows for name in row.queries}

    def query(self, name: str) -> str:
        """What the rule asks; empty when it was not seen."""
        return next((row.queries[name] for row in self._rows if name in row.queries), "")

    def waits(self, name: str) -> float:
        """For how many seconds the rule wants its condition to be true (``for``); 0 where that was not seen."""
        return next((row.waits[name] for row in self._rows if name in row.waits), 0.0)

    def count(self, name: str, start: float, end: float = inf) -> int:
        """How many evaluations of the rule between two moments were seen."""
        # One row may tell the same evaluation as the one before; the clocks behind it differ by microseconds.
        return len({round(at, 2) for row in self._rows if start <= (at := row.evaluated.get(name, -inf)) < end})

    def failing(self, name: str) -> str:
        """Why the rule's last evaluation failed; empty when it did not."""
        return self._rows[-1].failing.get(name, "") if self._rows else ""

    def gap(self, names: Collection[str], origin: float, lifted: float) -> str:
        """Why silence of these alerts proves nothing; empty when each was evaluated until the last fault's end."""
        if error := self.error:
            return f"the rules could not be asked: {error}"
        if not names:
            return "no rule was evaluated"
        for name in sorted(names):
            if name not in self.names:
                return f"no rule named {name} is evaluated"
            if why := self.failing(name):
                return f"the rule {name} cannot be evaluated: {why}"
            if self.count(name, origin) < NEEDED or not self.count(name, lifted):
                inside, after = self.count(name, origin, lifted), self.count(name, lifted)
                return (
                    f"the rule {name} was evaluated {counted(inside, 'times')} while faults were active, "
                    f"{counted(after, 'times')} after that"
                )
        return ""

    def blind(self, names: Collection[str]) -> str:
        """Why the rule of one of these alerts could never see a sample; empty when each could."""
        for name in sorted(names):
            if missing := self.unscraped(name):
                return f"no series {missing} was ever scraped: the rule {name} could not fire"
        return ""

    def unscraped(self, name: str) -> str:
        """The metrics that the rule's query needs and that no service ever gave; empty when there are none."""
        return " or ".join(sorted(metric for metric in needed(self.query(name)) if not self._was_scraped(metric)))

    def _was_scraped(self, metric: str) -> bool:
        if metric.startswith("ALERTS") or ":" in metric:  # Prometheus' own; the colon marks what rules record
            return True
        if metric == "up" or metric.startswith("scrape_"):
            return bool(self._scraped)  # Prometheus adds these to whatever it scrapes
        # Our own scraper leaves out when a series was created, and a histogram's buckets, but not their count.
        if metric.endswith("_created"):
            return True
        return bool({metric, re.sub("_bucket$", "_count", metric)} & self._scraped)

    @cached_property
    def _scraped(self) -> frozenset[str]:
        """The metrics that services gave; not the figures of their processes, whose names have a dot."""
        names = {row.name.partition("{")[0] for row in self._view.history.rows(r.Sample)}
        return frozenset(name for name in names if not name.startswith("process."))


def heard(view: View, source: str = "") -> int:
    """How many notifications arrived, of whatever alert: proof that one could."""
    rows = view.history.rows(r.Alert)
    return sum(row.source != RULES and not row.refused and source in ("", row.source) for row in rows)


def changed_metric(view: View, query: str) -> tuple[str, float] | None:
    """The metric of a rule's query that moved first after the first fault began, and when.

    Only metrics that stood still until then count: one that always moves says nothing.
    """
    origin = view.first_fault
    if origin is None or not query:
        return None
    words = set(_IDENTIFIER.findall(_QUOTED.sub("", query)))
    series: dict[tuple[str, str], list[r.Sample]] = {}
    for row in view.history.rows(r.Sample):
        if row.name.partition("{")[0] in words:
            series.setdefault((row.service, row.name), []).append(row)
    moved = [(at, name) for (_, name), rows in series.items() if (at := _moved(rows, origin)) is not None]
    return (min(moved)[1].partition("{")[0], min(moved)[0]) if moved else None


def _moved(rows: list[r.Sample], origin: float) -> float | None:
    rows = [row for row in rows if not isnan(row.value)]
    before = {row.value for row in rows if row.at < origin}
    if len(before) > 1:
        return None
    # A series that appears after the fault began has moved from nothing.
    return next((row.at for row in rows if row.at >= origin and row.value not in before), None)


def since(moment: float, origin: float) -> str:
    """``+1.25s``: how long after ``origin``."""
    return f"{'-' if moment < origin else '+'}{format_duration(abs(moment - origin))}"


def described(incident: Incident, origin: float) -> str:
    """A life of an alert in words: ``OrdersSlow{service=orders}: pending +1s, firing +2s, over +9s``."""
    parts = [f"pending {since(incident.pending, origin)}"] if incident.pending is not None else []
    parts.append(f"firing {since(incident.fired, origin)}")
    if incident.ended is not None:
        parts.append(f"over {since(incident.ended, origin)}")
    return f"{titled(incident.name, incident.labels)}: {', '.join(parts)}"


def titled(name: str, labels: dict[str, str]) -> str:
    """An alert's name with the labels that tell it from others of that name."""
    inner = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key != "alertname")
    return f"{name}{{{inner}}}" if inner else name
