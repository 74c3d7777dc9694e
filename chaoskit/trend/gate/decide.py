"""The decision: a pure function of a run, the settings, and earlier runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal

from chaoskit.base.units import format_duration
from chaoskit.report.runs import PASSED as GOOD
from chaoskit.report.runs import SKIPPED, Recorded
from chaoskit.report.score import score, told, weight
from chaoskit.trend.gate.decision import (
    BLOCKED,
    INCONCLUSIVE,
    NOTHING,
    PASSED,
    Baseline,
    Decision,
    Failed,
    Reason,
    Skipped,
    Unstable,
)
from chaoskit.trend.gate.past import NO_PAST, Past
from chaoskit.trend.gate.settings import Settings

SLACK = 1e-9
"""A rounding error does not block."""

ENOUGH = 100
"""Requests that a p99 needs; of fewer it is nothing but the slowest one."""


def decide(run: str, recorded: Sequence[Recorded], settings: Settings, past: Past = NO_PAST) -> Decision:
    """What the gate says of a run. ``past`` is empty where there is no history."""
    settled = [each for each in recorded if each.outcome != INCONCLUSIVE]
    counted = settled if settings.inconclusive == "ignore" else recorded
    value = score(counted)
    notes = list(past.notes)
    reasons, baseline = _reasons(counted, value, settings, past, notes)
    if len(counted) < len(recorded):
        names = ", ".join(each.name for each in recorded if each.outcome == INCONCLUSIVE)
        notes.append(f"left out, as they stayed inconclusive: {names}")
    answer = NOTHING if value is None else BLOCKED if reasons else PASSED
    if reasons and not _reasons(settled, score(settled), settings, past, [])[0]:
        answer = INCONCLUSIVE
    return Decision(
        run=run,
        decision=answer,
        score=value,
        settings=settings.model_dump(mode="json"),
        outcomes=dict(Counter(each.outcome for each in recorded)),
        reasons=reasons,
        failed=[_failed(each, settings) for each in _worst_first(recorded)],
        unstable=list(_unstable(recorded, past, settings.unstable_runs)),
        skipped=[Skipped(name=each.name, reason=each.reason) for each in recorded if each.skipped],
        baseline=baseline,
        notes=notes,
    )


def _reasons(
    recorded: Sequence[Recorded], value: float | None, settings: Settings, past: Past, notes: list[str]
) -> tuple[list[Reason], Baseline | None]:
    """What blocks, and what the run was compared with. ``notes`` is told what could not be compared."""
    if value is None:
        return [], None
    reasons = [*_severities(recorded, settings), *_score(value, settings)]
    if not past.baseline:
        return reasons, None
    scores = past.scores(recorded)
    mine, before = scores or (None, None)
    runs = [each.id for each in past.baseline]
    reasons += [*_score_drop(scores, settings), *_slower(recorded, past, settings, notes)]
    return reasons, Baseline(what=past.what, runs=runs, score=before, compared=mine)


def _worst_first(recorded: Sequence[Recorded]) -> list[Recorded]:
    failed = [each for each in recorded if not each.passed and not each.skipped]
    return sorted(failed, key=lambda each: (not each.invalid, -weight(each.severity), each.key))


def _failed(each: Recorded, settings: Settings) -> Failed:
    return Failed(
        key=each.key,
        name=each.name,
        scenario=each.scenario,
        severity=each.severity,
        outcome=each.outcome,
        reason=each.reason,
        blocks=each.invalid or (each.severity in settings.block and not _ignored(each, settings)),
        reproduce=each.reproduce,
    )


def _ignored(each: Recorded, settings: Settings) -> bool:
    return each.outcome == INCONCLUSIVE and settings.inconclusive == "ignore"


def _severities(recorded: Sequence[Recorded], settings: Settings) -> Iterator[Reason]:
    """Of what failed; a file that cannot be read blocks whatever the settings are, as its severity is unknown."""
    for each in _worst_first(recorded):
        if each.invalid:
            yield Reason(check="invalid", text=f"{each.name} is invalid: {each.reason}", scenario=each.key)
        elif each.severity in settings.block:
            text = f"{each.name} ({each.severity}) is {each.outcome}: {each.reason}"
            check: Literal["severity", "inconclusive"] = "inconclusive" if each.outcome == INCONCLUSIVE else "severity"
            yield Reason(check=check, text=text, scenario=each.key)


def _score(value: float, settings: Settings) -> Iterator[Reason]:
    if value < settings.min_score - SLACK:
        text = f"the score is {told(value)}, at least {settings.min_score:g} is asked for"
        yield Reason(check="min_score", text=text, seen=value, allowed=settings.min_score)


def _score_drop(scores: tuple[float, float] | None, settings: Settings) -> Iterator[Reason]:
    if scores is None:
        return
    value, before = scores
    if value < before - settings.score_drop - SLACK:
        yield Reason(
            check="score",
            text=f"the score fell from {told(before)} to {told(value)}, by more than {settings.score_drop:g}",
            seen=value,
            baseline=before,
            allowed=before - settings.score_drop,
        )


def _slower(recorded: Sequence[Recorded], past: Past, settings: Settings, notes: list[str]) -> Iterator[Reason]:
    """Recovery and p99 of what held, against its earlier runs that held."""
    new, failed = [], []
    for each in recorded:
        if not each.passed or each.control:
            continue
        runs = past.of(each.key)
        before = [old for _, old in runs if old.outcome in GOOD]
        if not runs:
            new.append(each.name)
        elif not before:
            failed.append(f"{each.name} ({', '.join(f'{old.outcome} in {run}' for run, old in runs)})")
        yield from _recovery(each, before, settings)
        yield from _p99(each, before, settings)
    if new:
        notes.append(f"not in the baseline, so not compared: {', '.join(new)}")
    if failed:
        notes.append(f"did not hold in the baseline, so recovery and p99 are not compared: {', '.join(failed)}")


def _recovery(each: Recorded, before: Sequence[Recorded], settings: Settings) -> Iterator[Reason]:
    usual = [old.recovery for old in before if old.recovery is not None]
    if not usual or each.recovery is None:
        return
    limit = settings.recovery.limit(median(usual))
    if each.recovery > limit + SLACK:
        text = (
            f"{each.name} recovers after {format_duration(each.recovery)}; it was {format_duration(median(usual))}, "
            f"allowed is {format_duration(limit)} ({settings.recovery.text})"
        )
        yield Reason(
            check="recovery", text=text, scenario=each.key, seen=each.recovery, baseline=median(usual), allowed=limit
        )


def _p99(each: Recorded, before: Sequence[Recorded], settings: Settings) -> Iterator[Reason]:
    for op, measured in each.operations.items():
        olds = [old.operations[op] for old in before if op in old.operations]
        usual = [old.p99 for old in olds if old.p99 is not None and old.requests >= ENOUGH]
        if not usual or measured.p99 is None or measured.requests < ENOUGH:
            continue
        limit = settings.p99.limit(median(usual))
        if measured.p99 > limit + SLACK:
            text = (
                f"{each.name}: p99 of {op} under the faults is {format_duration(measured.p99)}; it was "
                f"{format_duration(median(usual))}, allowed is {format_duration(limit)} ({settings.p99.text})"
            )
            yield Reason(
                check="p99", text=text, scenario=each.key, operation=op,
                seen=measured.p99, baseline=median(usual), allowed=limit,
            )  # fmt: skip


def _unstable(recorded: Sequence[Recorded], past: Past, last: int) -> Iterator[Unstable]:
    """Of each scenario its own last runs count, in whatever runs of the history they were."""
    runs = [*past.recent, (past.commit, {each.key: each.outcome for each in recorded})]
    for each in recorded:
        seen = [(commit, outcomes[each.key]) for commit, outcomes in runs if each.key in outcomes]
        seen = [(commit, outcome) for commit, outcome in seen if outcome not in (SKIPPED, INCONCLUSIVE)][-last:]
        flips = sum((a in GOOD) != (b in GOOD) for (_, a), (_, b) in pairwise(seen))
        by_commit: dict[str, set[bool]] = {}
        for commit, outcome in seen:
            by_commit.setdefault(commit, set()).add(outcome in GOOD)
        both = any(len(found) > 1 for commit, found in by_commit.items() if commit)
        if flips > 1 or both:
            yield Unstable(key=each.key, name=each.name, outcomes=[outcome for _, outcome in seen])
