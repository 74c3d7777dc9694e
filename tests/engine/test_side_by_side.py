"""Runs at the same time, in one project: neither disturbs the other, whatever becomes of one of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from chaoskit.base.clock import wait_for


def start(folder, *arguments):
    """pytest in the project's folder."""
    command = [sys.executable, "-m", "pytest", "--chaos", "scenarios", "-p", "no:cacheprovider", *arguments]
    marked = {**os.environ, "BELONGS_TO": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=marked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def in_fault(folder, number=1, limit=60.0):
    """Wait until ``number`` scenarios are in their fault; gives the folders of their runs."""
    runs = folder / "reports" / "runs"
    found = wait_for(
        lambda: paths if len(paths := list(runs.glob("*/*/phases.jsonl"))) >= number else None,
        what=f"{number} runs to be in mid-fault",
        limit=limit,
        every=0.05,
    )
    return [path.parents[1] for path in found]


def nothing_of(folder, processes_of, limit=30.0):
    """Wait until no process of the project runs; gives what else is left."""
    wait_for(lambda: not processes_of(folder), what="all processes to end", limit=limit, every=0.05)
    runs = folder / "reports" / "runs"
    return [*runs.glob("*/environment-*"), *runs.glob("*/*.journal"), *runs.glob("*/*.pid")]


@pytest.mark.parametrize("victim", ["the other run", "the other run and its guardian"])
def test_a_killed_run_beside_a_living_one(project, processes_of, guardians_of, tmp_path, victim):
    """One is killed in mid-fault and swept, by its guardian or by a third run: the one that lives holds."""
    project(length="12s")
    living = start(tmp_path)
    killed = third = None
    try:
        (folder,) = in_fault(tmp_path)
        killed = start(tmp_path)
        (other,) = set(in_fault(tmp_path, 2)) - {folder}
        if "guardian" in victim:
            for pid in guardians_of(other):
                os.kill(pid, signal.SIGKILL)
        killed.kill()
        killed.communicate()
        if "guardian" in victim:
            project(length="1s")
            third = start(tmp_path)
            output, _ = third.communicate(timeout=120)
            assert "swept from an earlier run" in output
            assert folder.name not in "".join(line for line in output.splitlines() if "swept" in line)
        output, _ = living.communicate(timeout=120)
        # Whether its latencies are in bounds is for the machine to say; that it was not disturbed is for us.
        assert living.returncode in (0, 1), output
        assert not re.search(r"\b(BROKEN|INTERNALERROR)\b", output), output
        assert nothing_of(tmp_path, processes_of) == []
    finally:
        for process in filter(None, (living, killed, third)):
            with process:  # closes its pipe
                process.kill()


def test_a_worker_of_xdist_that_is_killed(project, processes_of, tmp_path):
    """With ``-n 2`` each worker is a run of its own: when one is killed the other's scenario goes on."""
    file = project(length="4s")
    (file.parent / "second.chaos.yaml").write_text(file.read_text())
    run = start(tmp_path, "-n", "2", "--dist", "loadfile")
    try:
        folders = in_fault(tmp_path, 2)
        workers = {folder.name.rsplit("-", 1)[-1]: int(folder.name.rsplit("-", 2)[-2]) for folder in folders}
        assert set(workers) == {"gw0", "gw1"}
        os.kill(workers["gw1"], signal.SIGKILL)
        output, _ = run.communicate(timeout=120)
    finally:
        with run:  # closes its pipe
            run.kill()
    assert "worker 'gw1' crashed" in output
    assert not re.search(r"\b(BROKEN|INTERNALERROR)\b", output), output
    (verdict,) = tmp_path.glob(f"reports/runs/*-{workers['gw0']}-gw0/*/verdict.json")
    assert '"broken"' not in verdict.read_text().partition("findings")[0]
    assert nothing_of(tmp_path, processes_of) == []
