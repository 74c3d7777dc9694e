"""Finished scenarios read back from their folders: plain figures for every report, the history and the gate.

``run.json`` and ``verdict.json`` are the record; the rows of the history are not read. Texts that come from services
are masked here, so that no report needs to think of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chaoskit.engine.measured import Measured
from chaoskit.engine.record import META, rejudge
from chaoskit.engine.verdict import Verdict, urgency
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.expectations.base import Outcome
from chaoskit.history.files import read_kept, read_object, write_kept
from chaoskit.mask import mask
from chaoskit.reporters.summary import recovered

VERDICT = "verdict.json"
PASSED = ("held", "caught")
SKIPPED = "skipped"
INVALID = "invalid"
UNKNOWN = "unknown"
"""Severity of a scenario whose file cannot be read."""

NOT_RUN = "not_run.json"
"""File in a run's folder: what failed without being run, as :meth:`Recorded.as_dict` gives it."""


@dataclass(frozen=True)
class Recorded:
    """One finished scenario, or its control. Seconds and shares (0 to 1) throughout.

    ``outcome`` is ``held``, ``violated``, ``vacuous``, ``inconclusive`` or ``broken``; of a control ``caught``,
    ``not caught``, ``inconclusive`` or ``broken``; ``skipped`` where it was not run (then ``reason`` says why, and
    ``folder`` is None). ``invalid`` is a scenario file with mistakes: ``reason`` is these, ``severity`` is ``unknown``,
    and ``folder`` is None.
    ``findings`` are dicts with id, outcome, expected, seen, samples, worst, rows, line, asked (whether the scenario
    asks for it; else it is judged by default), and because (the id of the finding that one only follows from, or
    empty); the last two are not there in older records. ``faults`` are dicts with name, kind, target, touched, unit,
    evidence, started and ended (seconds from the first fault). ``operations`` is what callers
    saw while a fault was active. ``recovery`` is seconds after the last fault; ``sop_recovery`` seconds after the start
    of the first, where an SOP brought it about. ``started`` is ISO 8601. ``reproduce`` is a command line, empty if
    pytest did not run it.
    """

    folder: Path | None
    scenario: str
    slug: str
    outcome: str
    reason: str
    control: bool = False
    case: str = ""
    severity: str = "normal"
    owner: str = ""
    tags: Sequence[str] = ()
    matrix: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    file: str = ""
    nodeid: str = ""
    findings: Sequence[Mapping[str, Any]] = ()
    faults: Sequence[Mapping[str, Any]] = ()
    operations: Mapping[str, Measured] = field(default_factory=dict)
    recovery: float | None = None
    sop_recovery: float | None = None
    samples: int = 0
    seed: int | None = None
    wall: float = 0.0
    started: str = ""
    toxiproxy: str = ""
    runtime: str = ""
    alerting: str = ""
    alerting_changes: Sequence[str] = ()
    chaoskit: str = ""
    python: str = ""
    reproduce: str = ""
    attempts: int = 1

    @property
    def passed(self) -> bool:
        """Held, or caught."""
        return self.outcome in PASSED

    @property
    def skipped(self) -> bool:
        """Whether it was not run."""
        return self.outcome == SKIPPED

    @property
    def unread(self) -> bool:
        """Whether it came to its end, and something could not be evaluated."""
        return any(finding["outcome"] == Outcome.BROKEN for finding in self.findings)

    @property
    def invalid(self) -> bool:
        """Whether its file could not be read."""
        return self.outcome == INVALID

    @property
    def recovered(self) -> str:
        """When steady state held again, in words."""
        return recovered(self.recovery, self.sop_recovery)

    @property
    def key(self) -> str:
        """What names the same scenario in another run: pytest's node id, or the slug where there is none."""
        return self.nodeid or self.slug

    @property
    def name(self) -> str:
        """Short name, as in the terminal: the slug, with ``--control`` for a control."""
        return self.nodeid.rpartition("::")[2] or self.slug

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """Findings that did not hold, worst first: in the order of :func:`chaoskit.engine.verdict.urgency`."""
        return sorted((finding for finding in self.findings if finding["outcome"] != "held"), key=_urgency)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; :func:`from_dict` reads it back."""
        return {**asdict(self), "folder": None if self.folder is None else str(self.folder), "passed": self.passed}


def _urgency(one: Mapping[str, Any]) -> tuple[Any, ...]:
    # An older record says neither what follows from another, nor what was not asked for.
    return urgency(Outcome(one["outcome"]), one["id"], one.get("because", ""), one.get("asked", True), one["line"])


def from_dict(data: Mapping[str, Any]) -> Recorded:
    """The opposite of :meth:`Recorded.as_dict`. Unknown keys are left out. Raises TypeError for missing ones."""
    known = {each.name: data[each.name] for each in fields(Recorded) if each.name in data}
    known["folder"] = Path(known["folder"]) if known.get("folder") else None
    known |= {name: tuple(known[name]) for name in ("tags", "findings", "faults", "alerting_changes") if name in known}
    known["operations"] = {op: Measured(**figures) for op, figures in known.get("operations", {}).items()}
    return Recorded(**known)


def read(folder: Path) -> Recorded:
    """One finished scenario. One that was killed, or was recorded by an older chaoskit, is judged now.

    Raises BrokenError when the folder holds no recorded scenario or its files cannot be read.
    """
    try:
        return _read(folder)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise BrokenError(f"{folder}: {META} and {VERDICT} are no record of a scenario ({what})") from None


def _read(folder: Path) -> Recorded:
    meta = read_object(folder, META)
    verdict = read_object(folder, VERDICT) if (folder / VERDICT).exists() else {}
    control = bool(meta.get("control"))
    if "operations" not in verdict or (control and "control" not in verdict):
        verdict = _judged_now(folder, control)
    caught = verdict.get("control") or {}
    outcome = verdict["outcome"]
    if control:
        # An older chaoskit noted no outcome of a control.
        outcome = caught.get("outcome") or ("caught" if caught.get("caught") else outcome)
        outcome = outcome if outcome in ("caught", "inconclusive", "broken") else "not caught"
    alerting = meta.get("alerting") or {}
    text = {
        name: str(meta.get(name) or "")
        for name in ("case", "owner", "description", "file", "nodeid", "started", "toxiproxy", "runtime", "chaoskit")
    }
    return Recorded(
        folder=folder,
        scenario=meta.get("scenario") or folder.name,
        slug=folder.name,
        outcome=outcome,
        reason=mask(caught.get("reason") or verdict["reason"]),
        control=control,
        severity=meta.get("severity") or "normal",
        tags=tuple(meta.get("tags", ())),
        matrix=meta.get("matrix", {}),
        findings=tuple(_masked(verdict["findings"])),
        faults=tuple(_masked(verdict["faults"])),
        operations={op: Measured(**figures) for op, figures in verdict["operations"].items()},
        recovery=verdict["recovery"],
        sop_recovery=verdict.get("sop_recovery"),
        samples=verdict["samples"],
        seed=meta.get("seed"),
        attempts=1 + len(meta.get("attempts") or ()),
        wall=meta.get("wall", 0.0),
        alerting=alerting.get("served_by", ""),
        alerting_changes=tuple(map(mask, alerting.get("changes", ()))),
        python=meta.get("python", ""),
        reproduce=meta.get("reproduce", ""),
        **text,
    )


def read_run(folder: Path) -> list[Recorded]:
    """Every scenario of a run's folder (or the one whose folder this is), in the order in which they started.

    Those that failed without being run are among them. Raises BrokenError when there is none.
    """
    if (folder / META).exists():
        return [read(folder)]
    found = [*(read(file.parent) for file in sorted(folder.glob(f"*/{META}"))), *_not_run(folder)]
    if not found:
        raise BrokenError(f"{folder} holds no recorded scenario")
    return sorted(found, key=lambda recorded: recorded.started)


def write_not_run(folder: Path, recorded: Sequence[Recorded]) -> None:
    """Keep what failed without being run in the run's ``folder``. Raises OSError when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([each.as_dict() for each in recorded], indent=1, ensure_ascii=False)
    write_kept(folder / NOT_RUN, text + "\n")


def _not_run(folder: Path) -> list[Recorded]:
    file = folder / NOT_RUN
    try:
        return [from_dict(each) for each in json.loads(read_kept(folder, NOT_RUN))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenError(f"{file} cannot be read: {error}") from None


def _judged_now(folder: Path, control: bool) -> dict[str, Any]:
    try:
        _, verdict, judged = rejudge(folder)
    except ChaosError as error:
        return Verdict(Outcome.BROKEN, f"it cannot be judged again: {error}").as_dict()
    return {**verdict.as_dict(), **({"control": judged.as_dict()} if control and judged else {})}


def _masked(data: Any) -> Any:
    """Plain data with every text masked."""
    if isinstance(data, str):
        return mask(data)
    if isinstance(data, dict):
        return {key: _masked(value) for key, value in data.items()}
    return [_masked(value) for value in data] if isinstance(data, (list, tuple)) else data
