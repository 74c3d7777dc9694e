"""kill -9 of the run at many moments, from its first line to its last: each time nothing of it is left.

``CHAOSKIT_KILLS`` says how many moments (default 6, 10 in ``.ci/run``), ``CHAOSKIT_KILLS_SEED`` where they lie. They
are spread evenly over the length of a run that nobody kills. What sweeps is the guardian; or, where that is killed
too, ``chaoskit clean`` (now and then with the reports folder deleted before), or the next run.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess

import pytest
from killed_project import LOOKALIKE, Lookalikes, Project, docker

from chaoskit.base.clock import wait_for

KILLS = int(os.environ.get("CHAOSKIT_KILLS", "6"))
SEED = int(os.environ.get("CHAOSKIT_KILLS_SEED", "4"))
LIMIT = 30.0
"""Seconds until nothing may be left: generous, for this test runs beside others."""


@pytest.fixture(params=["process", "docker"])
def project(request, tmp_path):
    """The project, in one of the two runtimes."""
    if request.param == "docker":
        _skip_without_docker()
    made = Project(tmp_path, request.param)
    yield made
    for pid in made.processes.find():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    made.clean()
    shutil.rmtree(made.reports, ignore_errors=True)


def _skip_without_docker():
    from chaoskit.services.docker.daemon import refusal

    if reason := refusal():
        pytest.skip(f"no Docker: {reason}")
    wanted = {"postgres:16", "redis:7", "python:3.11-slim"}
    if missing := wanted - set(docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()):
        pytest.skip(f"no image {', '.join(sorted(missing))} on this machine")


def sweepers(count):
    """Who sweeps after each kill: mostly the guardian and ``clean``, now and then the next run."""
    names = ["guardian", "clean", "guardian", "clean without reports", "guardian", "next run", "guardian", "clean"]
    return [names[number % len(names)] for number in range(count)]


def test_nothing_is_left_of_a_killed_run(project):
    """Whenever it is killed, and whoever sweeps; and what is not ours is not touched."""
    others = Lookalikes(project)
    try:
        project.run()
        length = project.run()  # the second finds warm caches, as all that follow do
        assert project.left() == []
        dice = random.Random(SEED)
        moments = [(number + dice.random()) / KILLS * length for number in range(KILLS)]
        # Each sweeper gets moments of all phases.
        for moment, sweeper in zip(dice.sample(moments, KILLS), sweepers(KILLS), strict=True):
            kill_and_sweep(
                project, others, moment, sweeper, f"killed after {moment:.3f} of {length:.1f} s (seed {SEED})"
            )
    finally:
        others.end()


def kill_and_sweep(project, others, moment, sweeper, what):
    """One round."""
    run = project.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(moment)
    if sweeper != "guardian":
        for pid in project.processes.find("chaoskit.system.guardian"):
            os.kill(pid, signal.SIGKILL)
    run.kill()
    run.wait()
    project.left()  # takes note of the run's name
    said = ""
    if sweeper == "clean without reports":
        for folder in project.reports.glob("runs/*"):
            if LOOKALIKE not in folder.name:
                shutil.rmtree(folder, ignore_errors=True)  # what it started may still write into it
    if sweeper.startswith("clean"):
        said = project.clean()
    elif sweeper == "next run":
        project.run()
    try:
        wait_for(lambda: not project.left(), what="nothing to be left", limit=LIMIT)
    except AssertionError:
        logs = "".join(path.read_text() for path in project.reports.glob("runs/*/guardian.log"))
        pytest.fail(f"{what}; sweeper: {sweeper}; left: {project.left()}\n{said}\n{logs}")
    assert others.touched() == [], f"{what}; sweeper: {sweeper}"
