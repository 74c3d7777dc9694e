"""A run with a Compose file that is killed, early or late: nothing of it stays, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.services.docker import daemon
from chaoskit.services.docker.compose import tool
from chaoskit.services.docker.compose.undo import KIND

REFUSAL = daemon.refusal()
if not REFUSAL:
    try:
        tool.command()
    except daemon.BrokenError as error:
        REFUSAL = str(error)
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"needs a Docker daemon and the Compose tool: {REFUSAL}")

COMPOSE = """
services:
  cache:
    image: redis:7
    volumes: [data:/data]
    networks: [one, two]
  app:
    image: python:3.11-slim
    command: python3 -m http.server 8000
    expose: ["8000"]
    networks: [two]
networks: {one: {}, two: {}}
volumes: {data: {}}
"""

ENVIRONMENT = "environment: team\ncompose: docker-compose.yml\nproxy: [cache, app]\nservices: {app: {protocol: http}}\n"

SCENARIO = """
scenario: Slow
environment: team
traffic:
  ask: {request: "GET {{ app.url }}/", rate: 50/s}
steady_state:
  ask: {success_rate: ">= 50%"}
timeline:
  steady: 1s
  faults:
    - slow: {latency: {on: app, delay: 50ms}, at: 0s, for: LENGTH}
  recovery: 10s
"""


@pytest.fixture
def project(tmp_path):
    """A project with a scenario that lasts; gives a function that starts pytest in it."""
    (tmp_path / "pyproject.toml").write_text("")
    folder = tmp_path / "scenarios" / "environments"
    folder.mkdir(parents=True)
    (folder / "docker-compose.yml").write_text(COMPOSE)
    (folder / "team.yaml").write_text(ENVIRONMENT)
    children = []

    def start(length="120s"):
        (tmp_path / "scenarios" / "slow.chaos.yaml").write_text(SCENARIO.replace("LENGTH", length))
        command = [sys.executable, "-m", "pytest", "--chaos", "scenarios", "-p", "no:cacheprovider"]
        marked = {**os.environ, "BELONGS_TO": str(tmp_path)}
        children.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=marked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return children[-1]

    yield start
    for child in children:
        with child:  # closes its pipe
            child.kill()


@pytest.fixture
def lookalike():
    """Another project of the same file's services and names, which is not ours."""
    docker, name = daemon.client(), f"lookalike-{os.getpid()}"
    labels = {"com.docker.compose.project": name, "com.docker.compose.service": "cache"}
    network = docker.networks.create(name, labels=labels)
    volume = docker.volumes.create(name, labels=labels)
    container = docker.containers.create("redis:7", name=name, labels=labels, network=name)
    yield lambda: [each.reload() for each in (network, volume, container)]
    container.remove(force=True, v=True)
    network.remove()
    volume.remove()


def left(run):
    """What bears the label of a run, or its project's."""
    docker = daemon.client()
    mine = {"label": f"chaoskit.run={run}"}
    found = [
        *docker.containers.list(all=True, filters=mine, ignore_removed=True),
        *docker.networks.list(filters=mine),
        *docker.volumes.list(filters=mine),
        *(volume for volume in docker.volumes.list() if run in volume.name),
    ]
    return [one.name for one in found]


@pytest.mark.parametrize("sweeper", ["its guardian", "the next run"])
@pytest.mark.parametrize("moment", ["the tool begins", "the first container", "in mid-fault"])
def test_a_killed_run(project, processes_of, guardians_of, lookalike, tmp_path, moment, sweeper):
    """Containers, networks, volumes and the Compose tool itself: all is gone soon, or after the next run."""
    child = project()
    runs = tmp_path / "reports" / "runs"

    def reached():
        assert child.poll() is None, child.stdout.read()
        journals = list(runs.glob("*/undo.journal"))
        if moment == "the tool begins":
            return any(f'"kind":"{KIND}"' in journal.read_text() for journal in journals)
        if moment == "the first container":
            return any("-team-cache" in name for run in runs.glob("*") for name in left(run.name))
        return list(runs.glob("*/slow/phases.jsonl"))

    wait_for(reached, what=moment, limit=180)
    (run,) = runs.iterdir()
    if sweeper == "the next run":
        for pid in guardians_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    if sweeper == "the next run":
        again = project("1s")
        output, _ = again.communicate(timeout=300)
        assert again.returncode == 0, output
        assert "swept from an earlier run" in output
    wait_for(lambda: not processes_of(tmp_path), what="all processes to end", limit=180)
    assert left(run.name) == []
    assert not [*runs.glob("*/environment-*"), *runs.glob("*/*.journal")]
    lookalike()
