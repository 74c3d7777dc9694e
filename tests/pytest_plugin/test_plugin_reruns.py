"""A scenario that pytest-rerunfailures runs again, or that ``--lf`` selects, counts once wherever it is counted."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

ANSWER = """\
import pathlib

starts = pathlib.Path("starts")
with starts.open("a") as file:  # both services at once
    file.write(".")
STATUS = "200 OK" if len(starts.read_text()) > 2 else "203 First"  # two services of the first start
ANSWER = f"HTTP/1.1 {STATUS}\\r\\nContent-Length: 2\\r\\n\\r\\nok".encode()
"""


@pytest.fixture
def flaky(project: Any) -> Any:
    """A project whose scenario is violated when its services are started for the first time, and held then."""
    server = (project.folder / "server.py").read_text()
    old = 'ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"\n'
    assert old in server
    (project.folder / "server.py").write_text(server.replace(old, ANSWER))
    project.write(
        flaky=project.edit(
            ("environment: small", "environment: small\nisolation: fresh"),
            ('  during:\n    get: {p90: "< 2s"}', "  responses: {of: get, status: 200}"),
            ("[during.get.p90]", "[responses]"),
        )
    )
    return project


def test_a_rerun_counts_once(flaky: Any) -> None:
    """In table, score and gate: the last attempt, with the first kept in its folder."""
    arguments = ("--chaos", "--chaos-attempts=1", "--chaos-gate", "--chaos-gate-set", "inconclusive=ignore")
    outcome = flaky.run(*arguments, "--reruns=1", "scenarios")
    # On a machine that others use each attempt may be inconclusive; it is one scenario all the same.
    assert re.search(r"(1 passed|1 failed|1 error), 1 rerun in", outcome.out), outcome.out
    assert re.search(r"^[01] of 1 scenario held;", outcome.out, re.MULTILINE)
    assert "violated" not in outcome.out.partition("chaoskit: gate")[2]
    (run,) = (flaky.folder / "reports" / "runs").iterdir()
    (scenario,) = run.iterdir()
    assert (scenario / "attempt-1" / "verdict.json").exists()
    assert json.loads((scenario / "verdict.json").read_text())["outcome"] != "violated"
    first, *more = json.loads((scenario / "run.json").read_text())["attempts"]
    assert more == []
    told = {"violated": r"responses\.get\.status", "inconclusive": "others took|the machine|the traffic|the engine"}
    assert re.match(told[first["outcome"]], first["why"]), first


def test_last_failed_is_a_run_of_its_own(flaky: Any) -> None:
    """It holds what was selected, once; what was violated before stays in the run that it was seen in."""
    first = flaky.run("--chaos", "--chaos-attempts=1", "scenarios")
    assert "0 of 1 scenario held" in first.out
    second = flaky.run("--chaos", "--chaos-attempts=1", "--lf", "scenarios")
    assert re.search(r"^[01] of 1 scenario held;", second.out, re.MULTILINE), second.out
    assert len(list((flaky.folder / "reports" / "runs").glob("*/*/run.json"))) == 2
