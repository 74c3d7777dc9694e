"""Which SOPs alerts have started, and what became of them.

Each entry of the list selects runs, and says what is expected of them::

    sop:
      - {action_type: restart, target_service: orders, priority: high, within: 5s, times: 1, report: true}
      - {never: true, target_service: worker}

``report: true`` needs a service that writes trace ids into its log, which is JSON lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, model_validator

from chaoskit.base.json_values import ABSENT, at, same
from chaoskit.base.units import format_duration
from chaoskit.expectations import _reports
from chaoskit.expectations._evidence import SHOWN, many, moment, vacuous
from chaoskit.expectations._fields import Count
from chaoskit.history import rows as r
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import CollectContext, Expectation, Finding, Outcome, check
from chaoskit.language.plugins import registry
from chaoskit.language.sop import PlannedSop, Priority
from chaoskit.language.types import Duration, ServiceName, problem
from chaoskit.language.view import View

_SOME = Bound.parse(">= 1", "number")
_CALL = "call"


def _known_sop(name: str | None, info: ValidationInfo) -> str | None:
    names = (info.context or {}).get("sops")
    if name is not None and names and name not in names:
        raise problem(f"no SOP of the scenario is named {name!r}", sorted(names), name)
    return name


def _known_action(kind: str | None) -> str | None:
    if kind is not None and kind != _CALL and kind not in registry("actions"):
        raise problem(f"unknown action {kind!r}", sorted([*registry("actions").names(), _CALL]), kind)
    return kind


class Sop(Expectation):
    """Expectations on the runs of SOPs that ``sop``, ``action_type``, ``target_service`` and ``alert`` select.

    Runs that were begun count; those that were decided against (severity, cool-down, so often at most) do not.
    ``action_type`` is the first step that does more than notify, or ``call`` for a team's own platform; an action
    that the platform calls back counts as a run of its own. ``times`` is ``>= 1`` unless given. ``within`` is the
    longest that a run may end after the alert's notification arrived. ``payload`` holds values by dotted path
    (``alert``, ``severity``, ``labels.team`` ...). Always judged with a run: every run has been done, and an incident
    has had the same one only once. ``report``: each incident has a fault report that is valid, complete, and names
    a trace that stands in its logs. ``never``: no such run; it proves something only when an alert was delivered.
    """

    sop: Annotated[str | None, AfterValidator(_known_sop)] = None
    action_type: Annotated[str | None, AfterValidator(_known_action)] = None
    target_service: ServiceName | None = None
    alert: str | None = None
    priority: Priority | None = None
    payload: dict[str, Any] | None = Field(None, min_length=1)
    within: Duration | None = None
    times: Count | None = None
    report: Literal[True] | None = None
    never: Literal[True] | None = None

    _started_by: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="after")
    def _one_thing(self) -> Sop:
        asked = [
            name for name in ("priority", "payload", "within", "times", "report") if getattr(self, name) is not None
        ]
        if self.never and asked:
            raise problem(f"never: what never runs has no {asked[0]}")
        return self

    @model_validator(mode="after")
    def _some_are_started(self, info: ValidationInfo) -> Sop:
        sops: Mapping[str, PlannedSop] | None = (info.context or {}).get("sops")
        if sops is not None and not sops:
            raise problem("the scenario starts no SOPs: say sops:", ["sops: [NAME]"])
        meant = [sop for name, sop in (sops or {}).items() if self.sop in (None, name)]
        if all(sop.alerts for sop in meant):  # else any alert may start one of them
            self._started_by = frozenset(name for sop in meant for name in sop.alerts)
        return self

    def collect(self, reader: CollectContext, view: View) -> Iterable[r.Read]:  # noqa: ARG002  # they lie in the run's folder
        """What the fault reports say, once all SOPs have ended."""
        return [_reports.read(view.history.folder)] if self.report and view.history.folder is not None else []

    def judge(self, view: View) -> Iterator[Finding]:
        """``sop.ACTION.SERVICE.times``, ``.done``, ``.once_per_incident``, ``.within`` ..., or ``.never``."""
        rows = view.history.rows(r.SopRun)
        runs = sorted((row for row in rows if self._selects(row) and row.started is not None), key=_started)
        told = tuple(_told(view, run) for run in runs[:SHOWN])
        if self.never:
            yield self._never(view, runs, told)
            return
        against = [f"{row.sop}: {row.detail}" for row in rows if self._selects(row) and row.outcome == "skipped"]
        missing, because = self._not_delivered(view) if not runs and not against else ("", "")
        count = check(
            self._id("times"), self.times or _SOME, len(runs), max(1, len(runs)), path=self._path("times"),
            worst="; ".join(against[:SHOWN]) or missing, rows=told,
        )  # fmt: skip
        yield replace(count, because=because)
        if not runs:
            return
        yield self._every("done", "each run is done", runs, [run for run in runs if run.outcome != "done"], _end)
        yield self._once(runs)
        if self.priority is not None:
            wrong = [run for run in runs if run.priority != self.priority]
            yield self._every("priority", self.priority, runs, wrong, lambda run: run.priority)
        for path, value in (self.payload or {}).items():
            wrong = [run for run in runs if not same(at(run.payload, path), value)]
            yield self._every(f"payload.{path}", repr(value), runs, wrong, lambda run, where=path: _shown(run, where))
        if self.within is not None:
            yield self._within(runs)
        if self.report:
            yield from _reports.judge(view, self._id("report"), ("report",), {run.incident for run in runs})

    def _selects(self, row: r.SopRun) -> bool:
        asked = {
            "sop": row.sop,
            "action_type": row.action_type,
            "target_service": row.target_service,
            "alert": row.alert,
        }
        return all(getattr(self, name) in (None, value) for name, value in asked.items())

    def _not_delivered(self, view: View) -> tuple[str, str]:
        """Where no notification came that could start a run: that in words, and the findings that tell of its alert."""
        alerts = sorted([self.alert] if self.alert is not None else self._started_by)
        delivered = {row.name for row in _delivered(view)}
        if delivered if not alerts else delivered & set(alerts):
            return "", ""
        which = f" of {' or '.join(alerts)}" if alerts else ""
        return f"no notification{which} arrived", ".".join(["alerts", *alerts[:1]])

    def _id(self, name: str) -> str:
        parts = [self.sop, self.action_type, self.target_service, self.alert]
        return ".".join(["sop", *filter(None, parts), name])

    def _path(self, name: str) -> tuple[str, ...]:
        return (name,) if getattr(self, name.partition(".")[0], None) is not None else ()

    def _never(self, view: View, runs: list[r.SopRun], told: tuple[str, ...]) -> Finding:
        delivered = _delivered(view)
        if not delivered:
            why = "no alert was delivered: nothing could have started one"
            return vacuous(self._id("never"), "no run", why, ("never",), because=self._not_delivered(view)[1])
        outcome = Outcome.VIOLATED if runs else Outcome.HELD
        seen = many(str(len(runs)), "run") if runs else f"none, on {many(str(len(delivered)), 'notification')}"
        return Finding(self._id("never"), outcome, "no run", seen, len(delivered), ("never",), "", told)

    def _once(self, runs: list[r.SopRun]) -> Finding:
        """A run is the same when its SOP, action, target and incident are."""
        same = Counter((run.incident, run.sop, run.action_type, run.target_service, run.called_back) for run in runs)
        incidents = len({run.incident for run in runs})
        (incident, sop, *_), most = same.most_common(1)[0]
        seen = f"at most {most} in {many(str(incidents), 'incident')}"
        outcome = Outcome.HELD if most == 1 else Outcome.VIOLATED
        worst = "" if most == 1 else f"{sop} {most} times for {incident}"
        return Finding(self._id("once_per_incident"), outcome, "one run for each incident", seen, len(runs), (), worst)

    def _within(self, runs: list[r.SopRun]) -> Finding:
        assert self.within is not None
        ended = [(run.ended - run.queued, run) for run in runs if run.ended is not None]
        expected = f"ended within {format_duration(self.within)} of the notification"
        if len(ended) < len(runs):
            seen = f"{len(runs) - len(ended)} of {many(str(len(runs)), 'run')} did not end"
            return Finding(self._id("within"), Outcome.VIOLATED, expected, seen, len(runs), ("within",))
        longest, run = max(ended, key=lambda pair: pair[0])
        outcome = Outcome.HELD if longest <= self.within else Outcome.VIOLATED
        seen = f"after {format_duration(longest)}"
        return Finding(self._id("within"), outcome, expected, seen, len(runs), ("within",), f"{run.sop}: {run.detail}")

    def _every(self, name: str, expected: str, runs: list[r.SopRun], wrong: list[r.SopRun], show: Any) -> Finding:
        total = many(str(len(runs)), "run")
        if not wrong:
            return Finding(self._id(name), Outcome.HELD, expected, f"in all of {total}", len(runs), self._path(name))
        seen = f"{len(wrong)} of {total} differ: {show(wrong[0])}"
        rows = tuple(f"{run.sop} for {run.incident}: {show(run)}" for run in wrong[:SHOWN])
        return Finding(self._id(name), Outcome.VIOLATED, expected, seen, len(runs), self._path(name), rows[0], rows)


def _delivered(view: View) -> list[r.Alert]:
    return [row for row in view.history.rows(r.Alert) if row.state == "delivered" and not row.refused]


def _started(run: r.SopRun) -> float:
    return run.started or 0.0


def _end(run: r.SopRun) -> str:
    return f"{run.outcome}, {run.detail}" if run.detail else run.outcome


def _shown(run: r.SopRun, path: str) -> str:
    value = at(run.payload, path)
    return "absent" if value is ABSENT else repr(value)


def _told(view: View, run: r.SopRun) -> str:
    return f"{run.sop} for {run.incident} at {moment(view, _started(run), _started(run))}: {run.outcome}"
