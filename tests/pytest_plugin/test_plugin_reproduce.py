"""The printed command repeats a run: the same requests, the same data, the same schedule, the same faults."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

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


ECHO = (
    "self.wfile.write(ANSWER)",
    """user = self.headers.get("x-user", "").encode()
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(user), user))""",
)
"""A row does not hold the headers that were sent: the server tells them."""


class Sent(NamedTuple):
    """A request: when, from the start of the traffic, and what; the answer if one came."""

    at: float
    what: tuple[Any, ...]
    answer: tuple[Any, ...] | None


def sent(folder: Path) -> list[Sent]:
    """What was sent until the last fault was lifted."""
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: (row["stream"], row["seq"]))
    phases = [json.loads(line) for line in (folder / "phases.jsonl").read_text(encoding="utf-8").splitlines()]
    end = next(phase["ended"] for phase in phases if phase["name"] == "faults") - 0.5
    first = min(row["intended"] for row in rows)
    return [
        Sent(
            round(row["intended"] - first, 4),
            tuple(row.get(key) for key in ("op", "stream", "seq", "id", "method", "path")),
            None if row.get("error") else (row["status"], row["body"]),
        )
        for row in rows
        if row["intended"] < end
    ]


def assert_same(first: list[Sent], second: list[Sent]) -> None:
    """Request by request, as far as both ran: on a busy machine one run may have been a little longer, and what was
    sent alike need not have been answered in time both times."""
    both = list(zip(first, second, strict=False))
    assert len(both) > 60
    assert [(one.at, one.what) for one, _ in both] == [(other.at, other.what) for _, other in both]
    answered = [(one.answer, other.answer) for one, other in both if one.answer and other.answer]
    assert len(answered) > 60
    assert [one for one, _ in answered] == [other for _, other in answered]


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
    server = project.folder / "server.py"
    assert server.read_text().count(ECHO[0]) == 1
    server.write_text(server.read_text().replace(*ECHO))
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
        command, shell=True, cwd=project.folder, capture_output=True, text=True, timeout=900, check=False
    )
    assert "collected 1 item" in done.stdout, done.stdout
    (again,) = {*(project.folder / "reports" / "runs").iterdir()} - {run}
    (second,) = [file.parent for file in again.glob("*/run.json")]
    assert second.name == first.name
    assert json.loads((second / "run.json").read_text(encoding="utf-8"))["seed"] == meta["seed"]
    assert_same(sent(first), sent(second))
    assert faults(second) == faults(first)


def test_another_seed_gives_other_data(project: Any) -> None:
    """So that the comparison above can fail."""
    project.write(one=project.edit(*RANDOM))
    for seed in ("1", "2"):
        project.run("--chaos", "--chaos-seed", seed, "scenarios")
    folders = [file.parent for file in (project.folder / "reports" / "runs").glob("*/*/run.json")]
    first, second = map(sent, folders)
    assert_same(first, first)
    with pytest.raises(AssertionError):
        assert_same(first, second)
