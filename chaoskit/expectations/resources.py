"""What a service holds on to: ``resources: {orders: {open_files: returns, db_pool_in_use: "<= 10"}}``.

A metric is a figure of the service's processes (``open_files``, ``threads``, ``memory``, ``cpu`` of all together; its
``pid``) or any metric that the service gives, by its Prometheus name, with or without labels. What is expected of it is
one of the rules in :mod:`chaoskit.expectations._samples` (``returns``, ``flat``, ``unchanged``, ``constant``,
``increases``), a bound that every sample must satisfy, or bounds by time:
``{during: "<= 10", after: "<= 2", increase: ">= 1"}``.

A metric must be seen all the time that it is judged for: a gap of more than 2 s (five times the usual interval, if that
is longer) in which the service ran and was not paused makes what held vacuous, and so does NaN, which says that the
value is not known. +Inf is a value.

``open_files`` are without the connections that chaoskit itself holds to the service (the traffic, scrapes), direct or
through its proxy; in a container these cannot be told apart. ``threads`` include those that serve them. The traffic
closes a connection that was idle for a second, so that neither counts long after a fault.

Bounds carry the metric's unit: sizes for ``memory`` and ``*_bytes``, durations for ``cpu`` and ``*_seconds``,
ratios for ``*_ratio``, else bare numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf, isfinite
from typing import Any

from pydantic import ConfigDict, RootModel, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from chaoskit.base.errors import nearest
from chaoskit.base.units import format_duration
from chaoskit.expectations._evidence import SHOWN, excess, many, moment, vacuous
from chaoskit.expectations._samples import (
    NEEDED,
    PROCESS,
    Series,
    dimension,
    rules_of,
    sampled_as,
    show,
    spans,
)
from chaoskit.expectations._unseen import STALE, unseen, usual_interval
from chaoskit.history import rows as r
from chaoskit.history.windows import Window
from chaoskit.language.bounds import Bound, BoundError
from chaoskit.language.expectation import Expectation, Finding, Outcome, too_few
from chaoskit.language.source import YamlPath
from chaoskit.language.types import Lacks, ServiceName, problem
from chaoskit.language.view import View

SPANS = ("during", "after", "increase")
Spec = str | int | dict[str, str | int]

_SOME = Bound.parse("> 0", "number")
_OPEN = {
    "returns": ("tail", (Outcome.HELD, Outcome.VIOLATED)),
    "flat": ("later", (Outcome.HELD,)),
    "increases": ("increase", (Outcome.VIOLATED,)),
}
"""The span in which a rule's metric must be seen, and the outcomes that what was not seen may turn into another; of
those that are not here, all the time and held."""


class Resources(Expectation, RootModel[dict[ServiceName, dict[str, Spec]]]):
    """Expectations by service and metric."""

    model_config = ConfigDict(extra=None)  # the keys are services, checked as such

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Resources:
        unmeasured = (info.context or {}).get("lacking", {}).get("metrics", {})
        mistakes = [
            InitErrorDetails(type=mistake, loc=place, input=spec)
            for service, metrics in self.root.items()
            for metric, spec in metrics.items()
            for place, mistake in _mistakes(metric, spec, (service, metric), unmeasured.get(service))
        ]
        if mistakes:  # raised with their places, so that each shows its own line
            raise ValidationError.from_exception_data("Resources", mistakes)
        return self

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each expectation: ``resources.SERVICE.METRIC``, with ``.during`` ... for bounds by time."""
        for service, metrics in self.root.items():
            for metric, spec in metrics.items():
                judged = _Resource(view, service, metric)
                if isinstance(spec, dict):
                    for span, text in spec.items():
                        yield judged.within(span, _bound(metric, text))
                elif spec in rules_of(metric):
                    yield judged.rule(str(spec))
                else:
                    yield judged.within("", _bound(metric, spec))


def _mistakes(
    metric: str, spec: Spec, place: tuple[str, ...], unmeasured: Lacks | None
) -> Iterator[tuple[tuple[str, ...], PydanticCustomError]]:
    """What is wrong with the expectation of one metric, and where; ``unmeasured`` is why the service gives none."""
    if unmeasured is not None and metric not in PROCESS:
        yield place, problem(unmeasured.why, [*PROCESS, *unmeasured.legal], metric)
        return
    if not isinstance(spec, dict) and spec in rules_of(metric):
        return
    for span, text in spec.items() if isinstance(spec, dict) else [("", spec)]:
        where = (*place, span) if span else place
        try:
            if span and span not in SPANS:
                raise problem(f"unknown key {span!r}", list(SPANS), span)
            _bound(metric, text)
        except PydanticCustomError as mistake:
            yield where, mistake


def _bound(metric: str, text: Any) -> Bound:
    kind = dimension(metric)
    try:
        return Bound.parse(f"= {text}" if isinstance(text, int) and kind == "number" else text, kind)
    except BoundError as error:
        legal = [*rules_of(metric), *error.legal]
        raise problem(f"{text!r} is neither a rule nor a bound for a {kind}", legal, str(text)) from None


class _Resource:
    """Judges one metric of one service."""

    def __init__(self, view: View, service: str, metric: str) -> None:
        self.view = view
        self.service = service
        self.metric = metric
        self.id = f"resources.{service}.{metric}"
        self.path: YamlPath = (service, metric)
        self.counter = Series.of(view, service, metric)
        self.series = self.counter if metric == "pid" else self.counter.undoubted(view)

    def within(self, span: str, bound: Bound) -> Finding:
        """Every sample of ``span`` (all, during, after), or the counter's increase, satisfies ``bound``."""
        key, path = (f"{self.id}.{span}", (*self.path, span)) if span else (self.id, self.path)
        series = self.counter if span == "increase" else self.series
        rows = {"during": series.during, "after": series.after, "increase": series.later}.get(span, series.all)
        if not series.all:
            return self._unseen(key, str(bound), path)
        if not rows or (span == "increase" and not series.steady):
            return too_few(key, str(bound), 0, 1, path=path)
        if span == "increase":
            if self._may_have_grown(bound):
                return vacuous(key, str(bound), "others were in the way", path, len(rows))
            value = series.increase
            seen = show(self.metric, value)
            decided = (bound.holds(value) and bound.holds(inf)) or not bound.reaches(value, inf)
            if not decided and (gap := self._gap("increase")):
                return vacuous(key, str(bound), f"{seen} at least: {gap}", path, len(rows))
            return self._finding(key, bound.holds(value), str(bound), seen, rows, path)
        worst = max(rows, key=lambda row: excess(bound, row.value))
        outside = [row for row in rows if not bound.holds(row.value)]
        if not outside and (gap := self._gap(span or "all")):
            return vacuous(key, str(bound), gap, path, len(rows))
        seen = show(self.metric, worst.value)
        return self._finding(key, not outside, str(bound), seen, rows, path, self._at(worst), outside)

    def _gap(self, span: str) -> str:
        """When the metric was not seen for too long within a span, in words; empty where it was seen."""
        windows = spans(self.view)
        for name, rows in (("increase", self.counter.steady[-1:]), ("tail", self.counter.tail)):
            windows[name] = [Window(row.at, inf) for row in rows[:1]]
        gap = unseen(self.view, self.counter, self.service, windows[span])
        if gap is None:
            return ""
        start, end = (moment(self.view, at, self.counter.all[0].at) for at in (gap.start, gap.end))
        return f"no sample from {start} to {end}"

    def _may_have_grown(self, bound: Bound) -> bool:
        """Whether the bound may have been met, had the machine not been in the way: what the counter grew by then may
        come of it, and one of each request that it was in the way of may be missing."""
        steps = list(pairwise([*self.counter.steady[-1:], *self.counter.later]))
        certain = [(before, after) for before, after in steps if not self.view.doubted(before.at, after.at)]
        if len(certain) == len(steps):
            return False
        least = sum(max(0.0, after.value - before.value) for before, after in certain)
        missing = self.view.doubted_requests if dimension(self.metric) == "number" else inf
        return bound.reaches(least, self.counter.increase + missing)

    def rule(self, rule: str) -> Finding:
        """The metric follows a rule."""
        series = self.counter if rule == "increases" else self.series
        if not series.all:
            return self._unseen(self.id, rule, self.path)
        if len(series.steady) < NEEDED:
            return self._too_few(rule, len(series.steady), "in the steady phase")
        compared = series.tail if rule == "returns" else series.later
        if len(compared) < NEEDED and rule not in ("unchanged", "constant"):
            when = "after the last fault" if rule == "returns" else "after the steady phase"
            return self._too_few(rule, len(compared), when)
        finding = self._follows(rule, series)
        span, outcomes = _OPEN.get(rule, ("all", (Outcome.HELD,)))
        if self.metric != "pid" and finding.outcome in outcomes and (gap := self._gap(span)):
            return vacuous(self.id, finding.expected, gap, self.path, finding.samples)
        return finding

    def _follows(self, rule: str, series: Series) -> Finding:
        """As far as it was seen."""
        match rule:
            case "returns":
                return self._below(0.10, series.settled, series.tail, "returns to at most")
            case "flat":
                return self._below(0.20, max(row.value for row in series.later), series.later, "stays at most")
            case "increases":
                grown = series.increase
                if self._may_have_grown(_SOME):
                    return vacuous(self.id, rule, "others were in the way", self.path, len(series.later))
                seen = f"grew by {show(self.metric, grown)}"
                return self._finding(self.id, grown > 0, "increases", seen, series.later, self.path)
        return self._unchanged(rule)

    def _below(self, share: float, value: float, rows: Sequence[r.Sample], words: str) -> Finding:
        low = min(row.value for row in self.series.steady)
        high = max(row.value for row in self.series.steady)
        limit = self.series.limit(share)
        expected = f"{words} {show(self.metric, limit)}"
        baseline = f"{_plain(self.metric, low)} to {show(self.metric, high)} before the faults"
        if not isfinite(limit):
            return vacuous(self.id, expected, f"{baseline}, which nothing can be compared with", self.path, len(rows))
        peak = max(self.series.later, key=lambda row: row.value)
        outside = [row for row in rows if row.value > limit]
        seen = f"{show(self.metric, value)} ({baseline})"
        return self._finding(
            self.id, value <= limit, expected, seen, rows, self.path, f"highest: {self._at(peak)}", outside
        )

    def _unchanged(self, rule: str) -> Finding:
        rows = [*self.series.steady, *self.series.later]
        values = list(dict.fromkeys(row.value for row in rows))
        changed = [after for before, after in pairwise(rows) if after.value != before.value]
        seen = ", then ".join(_plain(self.metric, value) for value in values[:SHOWN])
        held, worst = not changed, f"first change: {self._at(changed[0])}" if changed else ""
        if held and self.metric == "pid" and (gone := self._gone(rows)):
            held, seen, worst = False, f"{seen}, then gone", gone
        return self._finding(self.id, held, rule, seen, rows, self.path, worst, changed)

    def _gone(self, rows: Sequence[r.Sample]) -> str:
        """Why the process was not there at the end of the run; empty when it was."""
        end = max((phase.end for phase in self.view.phases.values()), default=rows[-1].at)
        for event in self.view.history.rows(r.Event):
            if event.service == self.service and event.what == "exited" and rows[0].at <= event.at <= end:
                how = "ended" if event.code is None else f"exited with {event.code}"
                return f"{how} at {moment(self.view, event.at, rows[0].at)}"
        if self.view.took(rows[-1].at, end) > max(STALE, 5 * usual_interval(rows)):
            return f"not seen for the last {format_duration(end - rows[-1].at)}"
        return ""

    def _too_few(self, rule: str, samples: int, when: str) -> Finding:
        return vacuous(self.id, rule, f"{many(str(samples), 'sample')} {when}; {NEEDED} are needed", self.path, samples)

    def _unseen(self, id: str, expected: str, path: YamlPath) -> Finding:
        names = self.view.metric_names(self.service)
        legal = sorted(name.removeprefix("process.") for name in names)
        if not legal:
            why = f"no metric of {self.service} was seen at all"
            return vacuous(id, expected, why, path, certain=self.view.had_time())
        if self.metric.partition("{")[0] in legal and "{" not in self.metric:
            return vacuous(id, expected, "its value was NaN all the time", path, certain=True)
        near = nearest(self.metric.partition("{")[0], legal)
        hint = f"; did you mean {near!r}?" if near and sampled_as(near) != sampled_as(self.metric) else ""
        # Where the others were read all the time, that one would have been.
        return vacuous(id, expected, f"no sample; seen were {', '.join(legal)}{hint}", path, certain=True)

    def _finding(
        self,
        id: str,
        held: bool,
        expected: str,
        seen: str,
        rows: Sequence[r.Sample],
        path: YamlPath,
        worst: str = "",
        outside: Sequence[r.Sample] = (),
    ) -> Finding:
        outcome = Outcome.HELD if held else Outcome.VIOLATED
        told = tuple(self._at(row) for row in outside[:SHOWN])
        return Finding(id, outcome, expected, seen, len(rows), path, worst, told)

    def _at(self, row: r.Sample) -> str:
        return f"{_plain(self.metric, row.value)} at {moment(self.view, row.at, self.series.all[0].at)}"


def _plain(metric: str, value: float) -> str:
    """A value without the name of what is counted."""
    text = show(metric, value)
    return text.partition(" ")[0] if metric in PROCESS else text
