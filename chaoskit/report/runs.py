"""Finished scenarios read back from their folders: plain figures for every report, the history and the gate.

``run.json`` and ``verdict.json`` are the record; the rows of the history are not read. Texts that come from services
are masked here, so that no report needs to think of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, get_args

import msgspec

from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.base.mask import mask, mask_texts
from chaoskit.engine.run_folder import META, VERDICT, Alerting, read_meta, recordings, rejudge
from chaoskit.history.files import make_folder, read_json, read_kept, read_object, write_kept
from chaoskit.history.rows import Moment, Seconds
from chaoskit.judge.operation_figures import Measured
from chaoskit.judge.verdict import Verdict, urgency
from chaoskit.language.expectation import Outcome
from chaoskit.language.model import Severity
from chaoskit.report.summary import recovered

PASSED = ("held", "caught")
SKIPPED = "skipped"
INVALID = "invalid"
UNKNOWN = "unknown"
"""Severity of a scenario whose file cannot be read."""

NOT_RUN = "not_run.json"
"""File in a run's folder: what failed without being run, as :meth:`Recorded.as_dict` gives it."""


OUTCOMES = (*Outcome, "caught", "not caught", SKIPPED, INVALID)
"""What may become of a scenario, or of its control."""


def _one_of(*words: str) -> msgspec.Meta:
    return msgspec.Meta(pattern=rf"\A({'|'.join(words)})\Z")


Count = Annotated[int, msgspec.Meta(ge=0)]


class FindingRecord(TypedDict):
    """A finding: :class:`~chaoskit.language.expectation.Finding` as JSON. The last are not there in older records."""

    id: str
    outcome: Annotated[str, _one_of(*Outcome)]
    expected: str
    seen: str
    samples: int
    line: int
    path: NotRequired[list[str | int]]
    worst: NotRequired[str]
    rows: NotRequired[list[str]]
    asked: NotRequired[bool]
    because: NotRequired[str]


class FaultRecord(TypedDict):
    """A fault; ``started`` and ``ended`` are seconds from the first. The history keeps neither these nor evidence."""

    name: str
    kind: str
    target: str
    touched: int
    unit: str
    evidence: NotRequired[dict[str, Any]]
    started: NotRequired[Moment]
    ended: NotRequired[Moment]


@dataclass(frozen=True)
class Recorded:
    """One finished scenario, or its control. Seconds and shares (0 to 1) throughout.

    ``outcome`` is ``held``, ``violated``, ``vacuous``, ``inconclusive`` or ``broken``; of a control ``caught``,
    ``not caught``, ``inconclusive`` or ``broken``; ``skipped`` where it was not run (then ``reason`` says why, and
    ``folder`` is None). ``invalid`` is a scenario file with mistakes: ``reason`` is these, ``severity`` is ``unknown``,
    and ``folder`` is None.
    Of a finding ``asked`` tells whether the scenario asks for it (else it is judged by default), and ``because`` the id
    of the finding that one only follows from, or nothing. ``operations`` is what callers saw while a fault was active.
    ``recovery`` is seconds after the last fault; ``sop_recovery`` seconds after the start of the first, where an SOP
    brought it about. ``started`` is ISO 8601. ``reproduce`` is a command line, empty if pytest did not run it.
    """

    folder: Path | None
    scenario: str
    slug: str
    outcome: Annotated[str, _one_of(*OUTCOMES)]
    reason: str
    control: bool = False
    case: str = ""
    severity: Annotated[str, _one_of(*get_args(Severity), UNKNOWN)] = "normal"
    owner: str = ""
    tags: Sequence[str] = ()
    matrix: Mapping[str, str | int | float] = field(default_factory=dict)
    description: str = ""
    file: str = ""
    nodeid: str = ""
    findings: Sequence[FindingRecord] = ()
    faults: Sequence[FaultRecord] = ()
    operations: Mapping[str, Measured] = field(default_factory=dict)
    recovery: Seconds | None = None
    sop_recovery: Seconds | None = None
    samples: Count = 0
    seed: int | None = None
    wall: Seconds = 0.0
    started: str = ""
    toxiproxy: str = ""
    runtime: str = ""
    alerting: str = ""
    alerting_changes: Sequence[str] = ()
    chaoskit: str = ""
    python: str = ""
    reproduce: str = ""
    attempts: Count = 1

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
        """Findings that did not hold, worst first: in the order of :func:`chaoskit.judge.verdict.urgency`."""
        return sorted((finding for finding in self.findings if finding["outcome"] != "held"), key=_urgency)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; :func:`from_dict` reads it back."""
        return {**asdict(self), "folder": None if self.folder is None else str(self.folder), "passed": self.passed}


def _urgency(one: Mapping[str, Any]) -> tuple[Any, ...]:
    # An older record says neither what follows from another, nor what was not asked for.
    return urgency(Outcome(one["outcome"]), one["id"], one.get("because", ""), one.get("asked", True), one["line"])


def from_dict(data: Mapping[str, Any]) -> Recorded:
    """The opposite of :meth:`Recorded.as_dict`. Unknown keys are left out.

    Raises ValueError, with the place, for what none can be: a missing key, another type, a figure that is no figure.
    """
    try:
        found = msgspec.convert({"folder": None, **data}, Recorded, dec_hook=lambda _, folder: Path(folder))
    except (msgspec.ValidationError, TypeError) as error:
        raise ValueError(str(error)) from None
    if found.started:
        moment(found.started)
    unmet = [finding["id"] for finding in found.findings if finding["outcome"] != "held"]
    if found.outcome == "held" and unmet:
        raise ValueError(f"it says of itself that it held, and {unmet[0]} did not")
    return replace(
        found,
        tags=tuple(found.tags),
        findings=tuple(found.findings),
        faults=tuple(found.faults),
        alerting_changes=tuple(found.alerting_changes),
    )


def moment(started: str) -> float:
    """Unix time of :attr:`Recorded.started`. Raises ValueError for what is no time of these centuries."""
    try:
        unix = datetime.fromisoformat(started).timestamp()
        datetime.fromtimestamp(unix).astimezone()  # as it will be shown
    except (OverflowError, OSError) as error:
        raise ValueError(f"{started!r} is no time: {error}") from None
    return unix


def read(folder: Path) -> Recorded:
    """One finished scenario. One that was killed, or was recorded by an older chaoskit, is judged now.

    Raises BrokenError when the folder holds no recorded scenario or its files cannot be read.
    """
    try:
        return _read(folder)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise BrokenError(f"{folder}: {META} and {VERDICT} are no record of a scenario ({what})") from None


def _read(folder: Path) -> Recorded:
    meta = read_meta(folder)
    verdict = read_object(folder, VERDICT) if os.path.lexists(folder / VERDICT) else {}
    if "operations" not in verdict or (meta.control and "control" not in verdict):
        verdict = _judged_now(folder, meta.control)
    caught = verdict.get("control") or {}
    outcome = verdict["outcome"]
    if meta.control:
        # An older chaoskit noted no outcome of a control.
        outcome = caught.get("outcome") or ("caught" if caught.get("caught") else outcome)
        outcome = outcome if outcome in ("caught", "inconclusive", "broken") else "not caught"
    alerting = meta.alerting or Alerting()
    texts = ("case", "owner", "description", "file", "nodeid", "started", "toxiproxy", "runtime", "chaoskit", "python")
    told = {key: verdict.get(key) for key in ("recovery", "sop_recovery", "samples", "operations")}
    return replace(
        from_dict(
            {
                "folder": None,
                "scenario": meta.scenario or folder.name,
                "slug": folder.name,
                "outcome": outcome,
                "reason": mask(caught.get("reason") or verdict["reason"]),
                "control": meta.control,
                "severity": meta.severity or "normal",
                "tags": meta.tags,
                "matrix": meta.matrix or {},
                "findings": mask_texts(verdict["findings"]),
                "faults": mask_texts(verdict["faults"]),
                "seed": meta.seed,
                "attempts": 1 + len(meta.attempts or ()),
                "wall": meta.wall,
                "alerting": alerting.served_by,
                "alerting_changes": [mask(change) for change in alerting.changes],
                "reproduce": meta.reproduce or "",
                **told,
                **{name: getattr(meta, name) or "" for name in texts},
            }
        ),
        folder=folder,
    )


def read_run(folder: Path) -> list[Recorded]:
    """Every scenario of a run's folder (or the one whose folder this is), in the order in which they started.

    Those that failed without being run are among them. Raises BrokenError when there is none.
    """
    found = [read(each) for each in recordings(folder)]
    if not found or found[0].folder != folder:
        found += _not_run(folder)
    if not found:
        raise BrokenError(f"{folder} holds no recorded scenario")
    return sorted(found, key=lambda recorded: recorded.started)


def write_not_run(folder: Path, recorded: Sequence[Recorded]) -> None:
    """Keep what failed without being run in the run's ``folder``. Raises OSError when it cannot be written."""
    make_folder(folder)
    text = json.dumps([each.as_dict() for each in recorded], indent=1, ensure_ascii=False)
    write_kept(folder / NOT_RUN, text + "\n")


def _not_run(folder: Path) -> list[Recorded]:
    file = folder / NOT_RUN
    try:
        # What was not run has no folder, whatever stands there.
        return [from_dict({**each, "folder": None}) for each in read_json(read_kept(folder, NOT_RUN))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise BrokenError(f"{file} cannot be read: {error}") from None


def _judged_now(folder: Path, control: bool) -> dict[str, Any]:
    try:
        _, verdict, judged = rejudge(folder)
    except ChaosError as error:
        return Verdict(Outcome.BROKEN, f"it cannot be judged again: {error}").as_dict()
    return {**verdict.as_dict(), **({"control": judged.as_dict()} if control and judged else {})}
