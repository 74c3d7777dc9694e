"""A run that is ended from outside, in every way there is: nothing of it stays, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from chaoskit.base.clock import wait_for


def _pytest(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "--chaos", "scenarios", "-p", "no:cacheprovider", *arguments]
    marked = {**os.environ, "BELONGS_TO": str(folder)}  # by which all its descendants are known
    return subprocess.Popen(
        command, cwd=folder, env=marked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _await(condition, what):
    wait_for(condition, what=what, limit=40.0, every=0.05)


def _in_fault(folder):
    """The steady phase is written down when it has ended: then the fault is on."""
    return list((folder / "reports" / "runs").glob("*/slow/phases.jsonl"))


@pytest.fixture
def lookalike():
    """A process that could be taken for one of ours."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "toxiproxy postgres"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("moment", ["in mid-fault", "at start-up"])
def test_the_next_run_sweeps_a_killed_one(project, processes_of, guardians_of, lookalike, tmp_path, moment):
    """Its guardian killed too: nothing of it is alive after the next run, which itself holds."""
    project(length="60s")
    child = _pytest(tmp_path)
    try:
        if moment == "in mid-fault":
            _await(lambda: _in_fault(tmp_path), "the steady phase to end")
        else:
            _await(lambda: guardians_of(tmp_path), "the guardian")
        for pid in guardians_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        left = processes_of(tmp_path)

        project()
        again = _pytest(tmp_path)
        output, _ = again.communicate(timeout=60)
        assert again.returncode == 0, output
        if moment == "in mid-fault":
            assert left, "the killed run should have left its servers"
            assert "swept from an earlier run" in output
        assert processes_of(tmp_path) == set()
        assert lookalike.poll() is None
    finally:
        with child:  # closes its pipe
            child.kill()


def test_the_guardian_sweeps_a_killed_run(project, processes_of, lookalike, tmp_path):
    """At once, and the next run finds nothing to do."""
    project(length="60s")
    child = _pytest(tmp_path)
    try:
        _await(lambda: _in_fault(tmp_path), "the steady phase to end")
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        _await(lambda: not processes_of(tmp_path), "the guardian to sweep")
        assert lookalike.poll() is None
        (run,) = (tmp_path / "reports" / "runs").iterdir()
        assert "postgres of run" in (run / "guardian.log").read_text()
        assert not [*run.glob("environment-*"), *run.glob("*.journal"), *run.glob("*.pid")]
    finally:
        with child:  # closes its pipe
            child.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 2), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing(project, processes_of, tmp_path, number, status):
    """Ctrl-C, and a CI system's way to cancel: undone by the run itself, pytest says interrupted."""
    project(length="60s")
    child = _pytest(tmp_path)
    try:
        _await(lambda: _in_fault(tmp_path), "the steady phase to end")
        child.send_signal(number)
        output, _ = child.communicate(timeout=30)
    finally:
        with child:  # closes its pipe
            child.kill()
    assert child.returncode == status, output
    assert {signal.SIGINT: "KeyboardInterrupt", signal.SIGTERM: "SIGTERM"}[number] in output
    assert processes_of(tmp_path) == set()
    assert not list(tmp_path.glob("reports/runs/*/guardian.log")), "the run should have undone it itself"


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.3])
def test_ctrl_c_twice_leaves_nothing(project, processes_of, tmp_path, pause):
    """The second interrupts the undoing; the guardian does the rest."""
    project(length="60s")
    child = _pytest(tmp_path)
    try:
        _await(lambda: _in_fault(tmp_path), "the steady phase to end")
        child.send_signal(signal.SIGINT)
        time.sleep(pause)
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=30)
    finally:
        with child:  # closes its pipe
            child.kill()
    assert child.returncode != 0, output
    _await(lambda: not processes_of(tmp_path), "the guardian to sweep")
    (run,) = (tmp_path / "reports" / "runs").iterdir()
    assert not [*run.glob("environment-*"), *run.glob("*.journal"), *run.glob("*.pid")]
