"""The printed command repeats a run: the same requests, the same data, the same schedule, the same faults."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RANDOM = (
    (
        'get: {request: "GET {{ front.url }}/", rate: 50/s, timeout: 1s}',
        """get:
    request: GET {{ front.url }}/{{ uuid() }}?n={{ randint(1, 1000000) }}
    headers: {x-request-id: "{{ uuid() }}", x-user: "{{ faker.user_name() }}"}
    rate: 80/s
    arrival: poisson
    timeout: 1s""",
    ),
)


def plan(folder: Path) -> list[tuple[Any, ...]]:
    """What was sent until the last fault was lifted, with times from the start of the traffic."""
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: (row["stream"], row["seq"]))
    phases = [json.loads(line) for line in (folder / "phases.jsonl").read_text(encoding="utf-8").splitlines()]
    end = next(phase["ended"] for phase in phases if phase["name"] == "faults") - 0.5
    first = min(row["intended"] for row in rows)
    keys = ("op", "stream", "seq", "id", "method", "path", "headers", "body")
    return [
        (round(row["intended"] - first, 4), *(json.dumps(row.get(key)) for key in keys))
        for row in rows
        if row["intended"] < end
    ]


def assert_same(first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]) -> None:
    """Request by request, as far as both ran: on a busy machine one run may have been a little longer."""
    shared = min(len(first), len(second))
    assert shared > 60
    assert first[:shared] == second[:shared]


def faults(folder: Path) -> list[tuple[str, str, str]]:
    """What was injected."""
    rows = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))["faults"]
    return [(row["name"], row["kind"], row["target"]) for row in rows]


@pytest.mark.parametrize("control", [False, True], ids=["scenario", "control"])
def test_it_repeats_the_run(project: Any, control: bool) -> None:
    """Of the second of two scenarios alone, which has a matrix; typed in a shell, from what run.json holds."""
    scenario = project.edit(*RANDOM, ("delay: 60ms", 'delay: "{{ matrix.delay }}"'))
    scenario = scenario.replace("environment: small\n", "environment: small\nmatrix: {delay: [50ms, 70ms]}\n")
    project.write(both=scenario)
    project.run("--chaos", *(["--chaos-controls"] if control else []), "--chaos-runtime=process", "scenarios")
    (run,) = (project.folder / "reports" / "runs").iterdir()
    (first,) = [
        file.parent
        for file in run.glob("*/run.json")
        if "70ms" in file.parent.name and ("--control" in file.parent.name) == control
    ]
    meta = json.loads((first / "run.json").read_text(encoding="utf-8"))
    words = shlex.split(meta["reproduce"])
    assert words[0] == "pytest"
    assert f"--chaos-seed={meta['seed']}" in words
    assert "--chaos-runtime=process" in words
    command = f"{shlex.quote(sys.executable)} -m {meta['reproduce']}"
    done = subprocess.run(
        command, shell=True, cwd=project.folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert "collected 1 item" in done.stdout, done.stdout
    (again,) = {*(project.folder / "reports" / "runs").iterdir()} - {run}
    (second,) = [file.parent for file in again.glob("*/run.json")]
    assert second.name == first.name
    assert json.loads((second / "run.json").read_text(encoding="utf-8"))["seed"] == meta["seed"]
    assert_same(plan(first), plan(second))
    assert faults(second) == faults(first)


def test_another_seed_gives_other_data(project: Any) -> None:
    """So that the comparison above can fail."""
    project.write(one=project.edit(*RANDOM))
    for seed in ("1", "2"):
        project.run("--chaos", "--chaos-seed", seed, "scenarios")
    folders = [file.parent for file in (project.folder / "reports" / "runs").glob("*/*/run.json")]
    first, second = map(plan, folders)
    with pytest.raises(AssertionError):
        assert_same(first, second)
