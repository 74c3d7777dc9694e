"""The gate on a run of the history, or on folders: finds the baseline and the recent outcomes, then decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaoskit.errors import ChaosError
from chaoskit.reporters.gate.decide import Earlier, Past, decide
from chaoskit.reporters.gate.decision import BLOCKED, NOTHING, PASSED, Decision
from chaoskit.reporters.gate.settings import OFF, Settings
from chaoskit.reporters.history_db import Database, Entry, select
from chaoskit.reporters.runs import Recorded


def ask(
    file: Path, run: str, recorded: Sequence[Recorded], settings: Settings, *, commit: str = "", keep: bool = False
) -> Decision:
    """Judge a run against the history in ``file``, if there is one. ``keep``: note the answer there.

    Raises ChaosError for a baseline that the settings name and the history does not hold.
    """
    if not file.exists():
        notes = [] if settings.baseline == OFF else [f"no history ({file}), so nothing to compare with"]
        return decide(run, recorded, settings, Past(commit=commit, notes=notes))
    with Database(file) as database:
        decision = decide(run, recorded, settings, _past(database, run, settings, commit))
        if keep and decision.decision != NOTHING:
            database.set_gate(run, {PASSED: "passed", BLOCKED: "blocked"}[decision.decision])
    return decision


def _past(database: Database, run: str, settings: Settings, commit: str) -> Past:
    entries = database.runs()
    this = next((index for index, entry in enumerate(entries) if entry.id == run), -1)
    earlier = entries[this + 1 :]
    recent = earlier[: settings.unstable_runs - 1][::-1]
    outcomes = database.outcomes([entry.id for entry in recent])
    chosen, what, notes = _baseline(database, earlier, settings)
    return Past(
        what=what,
        baseline=[Earlier(entry.id, database.scenarios(entry.id), entry.revision.commit) for entry in chosen],
        recent=[(entry.revision.commit, outcomes[entry.id]) for entry in recent],
        commit=commit or (entries[this].revision.commit if this >= 0 else ""),
        notes=notes,
    )


def _baseline(database: Database, earlier: Sequence[Entry], settings: Settings) -> tuple[list[Entry], str, list[str]]:
    if settings.baseline == OFF:
        return [], "", []
    if settings.median_of is not None:
        chosen = [entry for entry in earlier if entry.passed][: settings.median_of]
        if not chosen:
            return [], "", ["no earlier run that passed, so nothing to compare with"]
        what = (
            f"the median of the last {len(chosen)} runs that passed" if len(chosen) > 1 else "the last run that passed"
        )
        return chosen, what, []
    if settings.baseline == "previous":
        if not earlier:
            return [], "", ["no earlier run, so nothing to compare with"]
        return [earlier[0]], "the previous run", []
    try:
        return [select(database, settings.baseline)], "a named run", []
    except ChaosError as error:
        raise ChaosError(f"baseline: {error}") from None
