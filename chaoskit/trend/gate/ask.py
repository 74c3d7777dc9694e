"""The gate on a run of the history, or on folders: finds the baseline and the recent outcomes, then decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chaoskit.base.errors import ChaosError
from chaoskit.report.runs import SKIPPED, Recorded
from chaoskit.trend.gate.decide import decide
from chaoskit.trend.gate.decision import NOTHING, PASSED, Decision
from chaoskit.trend.gate.past import Earlier, Past, reaching
from chaoskit.trend.gate.settings import OFF, Settings
from chaoskit.trend.history_db import PREVIOUS, Database, Entry, select


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
        decision = decide(run, recorded, settings, _past(database, run, recorded, settings, commit))
        if keep and decision.decision != NOTHING:
            database.set_gate(run, "passed" if decision.decision == PASSED else "blocked")
    return decision


def _past(database: Database, run: str, recorded: Sequence[Recorded], settings: Settings, commit: str) -> Past:
    entries = database.runs()
    this = next((index for index, entry in enumerate(entries) if entry.id == run), -1)
    earlier = entries[this + 1 :]
    outcomes = database.outcomes([entry.id for entry in earlier])
    chosen, what, notes = _baseline(database, earlier, outcomes, recorded, settings)
    return Past(
        what=what,
        baseline=[Earlier(entry.id, database.scenarios(entry.id), entry.revision.commit) for entry in chosen],
        depth=settings.median_of or 1,
        recent=[(entry.revision.commit, outcomes[entry.id]) for entry in reversed(earlier)],
        commit=commit or (entries[this].revision.commit if this >= 0 else ""),
        notes=notes,
    )


def _baseline(
    database: Database,
    earlier: Sequence[Entry],
    outcomes: Mapping[str, Mapping[str, str]],
    recorded: Sequence[Recorded],
    settings: Settings,
) -> tuple[list[Entry], str, list[str]]:
    """The runs that are needed, newest first; what they are; and what is to be said about it."""
    if settings.baseline == OFF:
        return [], "", []
    depth = settings.median_of
    if depth is None and settings.baseline != PREVIOUS:
        try:
            return [select(database, settings.baseline)], "a named run", []
        except ChaosError as error:
            raise ChaosError(f"baseline: {error}") from None
    passed = "" if depth is None else " that passed"
    candidates = [entry for entry in earlier if entry.passed or depth is None]
    if not candidates:
        return [], "", [f"no earlier run{passed}, so nothing to compare with"]
    run = [each for each in recorded if not each.skipped]
    keys = {each.key for each in run if not each.control} or {each.key for each in run}
    needed = set(reaching(keys, [(entry.id, outcomes[entry.id]) for entry in candidates], depth or 1, SKIPPED))
    if not needed:
        return [], "", [f"no earlier run{passed} has a scenario of this one, so nothing to compare with"]
    number = min(depth or 1, len(needed))
    what = f"the median of its last {number} runs{passed}" if number > 1 else f"its last run{passed}"
    return [entry for entry in candidates if entry.id in needed], f"for each scenario {what}", []
