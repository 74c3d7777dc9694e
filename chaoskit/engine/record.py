"""What is kept of a scenario in its folder beside its history, so that it can be judged again without running it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chaoskit
from chaoskit.clock import now
from chaoskit.engine.judge import judge
from chaoskit.engine.others import refuse_another
from chaoskit.engine.verdict import ControlVerdict, Verdict, after, judge_control
from chaoskit.errors import BrokenError
from chaoskit.history.files import read_object, refuse_links, write_kept
from chaoskit.history.store import load
from chaoskit.scenario.compose import copies
from chaoskit.scenario.loader import load as load_scenarios
from chaoskit.scenario.model import Scenario
from chaoskit.scenario.sop import copies as sop_copies
from chaoskit.scenario.source import as_yaml

META = "run.json"
"""How a scenario was run, in its folder."""
VERDICT = "verdict.json"

_SCENARIO = "scenario.chaos.yaml"
_ENVIRONMENT = "environment.yaml"


def keep_sources(scenario: Scenario, folder: Path) -> None:
    """Copy what is needed to judge this run again, wherever the scenario's files may go."""
    write_kept(folder / _SCENARIO, scenario.source.text)
    for name, text in sop_copies(scenario).items():
        (folder / "sops").mkdir(exist_ok=True)
        write_kept(folder / "sops" / name, text)
    environment = scenario.environment.source
    if scenario.environment.compose:
        for name, text in copies(scenario.environment).items():
            write_kept(folder / name, text)
    elif environment.file != scenario.source.file:
        text = environment.text if scenario.environment.flat is None else as_yaml(scenario.environment.flat)
        write_kept(folder / _ENVIRONMENT, text)


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
    """Write :data:`META` or :data:`VERDICT`."""
    write_kept(file, json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n")


def rejudge(folder: Path, scenario_file: Path | None = None) -> tuple[Scenario, Verdict, ControlVerdict | None]:
    """Judge a recorded scenario again, without running anything; ``scenario_file`` for other bounds.

    Raises BrokenError when the folder holds no run, InputError when the scenario has mistakes or ran otherwise.
    """
    meta = read_object(folder, META)
    refuse_links(folder)
    control = bool(meta.get("control"))
    if not isinstance(meta.get("matrix"), dict):
        raise BrokenError(f"{folder / META} is no record of a scenario: it has no matrix")
    source = scenario_file or folder / _SCENARIO
    environment = folder / _ENVIRONMENT
    found = load_scenarios(source, environment_file=environment if environment.exists() else None, recorded=folder)
    matching = [scenario for scenario in found if dict(scenario.matrix) == meta["matrix"]]
    if not matching:
        raise BrokenError(f"{source}: no scenario with the matrix values {meta['matrix']}")
    scenario = matching[0]
    if scenario_file is not None:
        refuse_another(folder / _SCENARIO, scenario, control=control)
    verdict, attempts = judge(scenario, load(folder), meta.get("broken")), meta.get("attempts") or ()
    return scenario, after(verdict, attempts), control_verdict(scenario, verdict, control=control)


def control_verdict(scenario: Scenario, verdict: Verdict, *, control: bool) -> ControlVerdict | None:
    """Whether the ``control`` run of a scenario was caught; None where it was no control run."""
    expected = scenario.model.control
    return judge_control(verdict, expected.violates) if control and expected is not None else None
