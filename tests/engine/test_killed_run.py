"""pytest killed with SIGKILL in mid-fault: the next run sweeps servers, proxies and the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest


def _pytest(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "--chaos", "scenarios", "-p", "no:cacheprovider", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _await(condition, what, limit=40.0):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit} s for {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("moment", ["in mid-fault", "at start-up"])
def test_the_next_run_sweeps_a_killed_one(project, processes_of, tmp_path, moment):
    """Nothing of the killed run is alive after the next one, which itself holds; a lookalike is left alone."""
    project(length="60s")
    lookalike = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "toxiproxy postgres"])
    child = _pytest(tmp_path)
    try:
        runs = tmp_path / "reports" / "runs"
        if moment == "in mid-fault":
            # The steady phase is written down when it has ended: then the fault is on.
            _await(lambda: list(runs.glob("*/slow/phases.jsonl")), "the steady phase to end")
        else:
            _await(lambda: list(runs.glob("*/undo.journal")), "the journal")
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
        lookalike.kill()
        lookalike.wait()
        child.kill()
        child.wait()


def test_ctrl_c_leaves_nothing(project, processes_of, tmp_path):
    """SIGINT in mid-fault: pytest says interrupted, and everything is gone."""
    project(length="60s")
    child = _pytest(tmp_path)
    _await(lambda: list((tmp_path / "reports" / "runs").glob("*/slow/phases.jsonl")), "the steady phase to end")
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=30)
    assert child.returncode == 2, output
    assert "KeyboardInterrupt" in output
    assert processes_of(tmp_path) == set()
