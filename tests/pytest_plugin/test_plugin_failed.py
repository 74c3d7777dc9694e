"""Pytest's own lines on a failed scenario, where a worker of xdist has run it and where a CI asks for long ones."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from chaoskit.pytest_plugin.failed import FailureText, summed_up


def test_from_a_worker(project: Any) -> None:
    """The worst finding in one line, though CI is set: pytest shows whole messages then."""
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    project.write(one=project.edit(('p90: "< 2s"', 'p90: "< 20ms"')))
    done = project.run("--chaos", "-n", "1", "scenarios", env={"CI": "true"})
    summary = done.out[done.out.index("short test summary info") :]
    assert re.search(
        r"^VIOLATED scenarios/one\.chaos\.yaml::one - during\.get\.p90: expected < 20ms, seen \S+$",
        summary,
        re.MULTILINE,
    ), done.out
    assert "touched" not in summary
    assert "touched" in done.out


def test_a_report_is_summed_up_once() -> None:
    """Only a text: what pytest made of an error of its own stays as it is."""
    report: Any = SimpleNamespace(longrepr="VIOLATED: x\nall of it", location=("a.chaos.yaml", 4, "a"))
    for _ in range(2):
        summed_up(report, "during.p95: expected a, seen b")
    assert isinstance(report.longrepr, FailureText)
    assert str(report.longrepr) == "VIOLATED: x\nall of it"
    assert str(report.longrepr.reprcrash) == "a.chaos.yaml:5: during.p95: expected a, seen b"
    other = SimpleNamespace(longrepr=("file", 1, "skipped"), location=("a", 1, "a"))
    summed_up(other, "x")
    assert other.longrepr == ("file", 1, "skipped")
