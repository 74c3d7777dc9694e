"""What is kept of a scenario in its folder beside its history, so that it can be judged again without running it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

import chaoskit
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import mask_texts
from chaoskit.engine.same_run import refuse_another
from chaoskit.history.files import folders_in, make_folder, read_object, refuse_planted, write_kept
from chaoskit.history.rows import Seconds
from chaoskit.history.store import load
from chaoskit.judge.judging import judge
from chaoskit.judge.verdict import ControlVerdict, Verdict, after, judge_control
from chaoskit.language import environments
from chaoskit.language.compose import copies
from chaoskit.language.kept import masked
from chaoskit.language.loader import load as load_scenarios
from chaoskit.language.model import Severity
from chaoskit.language.scenario import Scenario
from chaoskit.language.source import as_yaml

META = "run.json"
"""How a scenario was run, in its folder."""
VERDICT = "verdict.json"

_FOUND_BY = {"scenario", "slug", "file", "matrix", "nodeid"}
_SCENARIO = "scenario.chaos.yaml"


def keep_sources(scenario: Scenario, folder: Path) -> None:
    """Copy what is needed to judge this run again, wherever the scenario's files may go; without secrets."""
    write_kept(folder / _SCENARIO, masked(scenario.source.text))
    for name, text in _sop_files(scenario).items():
        make_folder(folder / "sops")
        write_kept(folder / "sops" / name, text)
    environment = scenario.environment.source
    if scenario.environment.compose:
        for name, text in copies(scenario.environment).items():
            write_kept(folder / name, masked(text))
    elif environment.file != scenario.source.file:
        text = environment.text if scenario.environment.flat is None else as_yaml(scenario.environment.flat)
        write_kept(folder / environments.COPY, masked(text))


def describe(scenario: Scenario, *, control: bool, seed: int) -> dict[str, Any]:
    """What :data:`META` says of a scenario that begins now."""
    return {
        "scenario": scenario.name,
        "slug": scenario.slug,
        "case": scenario.model.case,
        "severity": scenario.model.severity,
        "owner": scenario.model.owner,
        "tags": scenario.model.tags,
        "description": scenario.model.description,
        "environment": scenario.environment.name,
        "file": str(scenario.file),
        "matrix": dict(scenario.matrix),
        "control": control,
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "wall_clock_minus_monotonic": time.time() - now(),
        "chaoskit": chaoskit.__version__,
        "python": sys.version.split()[0],
    }


def write(file: Path, data: Mapping[str, Any]) -> None:
    """Write :data:`META` or :data:`VERDICT`, with every text masked but those by which a scenario is found again."""
    plain = json.loads(json.dumps(data, default=str))
    told = {key: value if key in _FOUND_BY else mask_texts(value) for key, value in plain.items()}
    write_kept(file, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


class Attempt(msgspec.Struct, kw_only=True):
    """What an attempt before the last came to."""

    outcome: str
    why: str


class Alerting(msgspec.Struct, kw_only=True):
    """Who evaluated the rules, and what was changed in the copies of the team's files."""

    served_by: str = ""
    changes: list[str] = []


class Meta(msgspec.Struct, kw_only=True):
    """What :data:`META` says, as far as it is read again; :func:`describe` writes it.

    An older chaoskit wrote less, and a newer one may write more.
    """

    scenario: str | None = None
    case: str | None = None
    severity: Severity | None = None
    owner: str | None = None
    tags: list[str] = []
    description: str | None = None
    file: str | None = None
    matrix: dict[str, str | int | float] | None = None
    control: bool = False
    seed: int | None = None
    started: str | None = None
    wall: Seconds = 0.0
    chaoskit: str | None = None
    python: str | None = None
    toxiproxy: str | None = None
    runtime: str | None = None
    alerting: Alerting | None = None
    nodeid: str | None = None
    reproduce: str | None = None
    broken: str | None = None
    attempts: list[Attempt] | None = None


def read_meta(folder: Path) -> Meta:
    """How the scenario in ``folder`` was run. Raises BrokenError when that is missing or is no such record."""
    try:
        return msgspec.convert(read_object(folder, META), Meta)
    except msgspec.ValidationError as error:
        raise BrokenError(f"{folder / META} is no record of a scenario: {error}") from None


def recordings(place: Path) -> list[Path]:
    """The folders of the scenarios that were recorded in the folder of a run, or ``place`` if it is one of these.

    Raises BrokenError for a link in the run's folder: what it leads to is no part of the run.
    """
    if os.path.lexists(place / META):
        return [place]
    return [folder for folder in folders_in(place) if os.path.lexists(folder / META)]


def rejudge(folder: Path, scenario_file: Path | None = None) -> tuple[Scenario, Verdict, ControlVerdict | None]:
    """Judge a recorded scenario again, without running anything; ``scenario_file`` for other bounds.

    Nothing is read but what lies in the folder, and ``scenario_file``. Raises BrokenError when the folder holds no run,
    InputError when the scenario has mistakes, ran otherwise, or needs a file that the folder does not hold.
    """
    meta = read_meta(folder)
    if meta.matrix is None:
        raise BrokenError(f"{folder / META} is no record of a scenario: it has no matrix")
    refuse_planted(folder)
    found = load_scenarios(scenario_file or folder / _SCENARIO, recorded=folder)
    matching = [scenario for scenario in found if dict(scenario.matrix) == meta.matrix]
    if not matching:
        raise BrokenError(f"{found[0].file}: no scenario with the matrix values {meta.matrix}")
    scenario = matching[0]
    if scenario_file is not None:
        refuse_another(folder / _SCENARIO, scenario, control=meta.control)
    sops = scenario.starts_sops(control=meta.control)
    verdict = after(
        judge(scenario, load(folder), meta.broken, sops=sops), [msgspec.to_builtins(one) for one in meta.attempts or ()]
    )
    return scenario, verdict, control_verdict(scenario, verdict, control=meta.control)


def control_verdict(scenario: Scenario, verdict: Verdict, *, control: bool) -> ControlVerdict | None:
    """Whether the ``control`` run of a scenario was caught; None where it was no control run."""
    expected = scenario.model.control
    return judge_control(verdict, expected.violates) if control and expected is not None else None


def _sop_files(scenario: Scenario) -> dict[str, str]:
    """The texts of the SOP files of a scenario by file name, for its run's folder; masked, as they are kept there."""
    return {
        f"{sop.name}.yaml": masked(sop.source.text) for sop in scenario.sops if sop.source.file != scenario.source.file
    }
