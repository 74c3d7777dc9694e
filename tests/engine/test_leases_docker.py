"""Faults on containers end with their lease, though the engine hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.services.docker.daemon import refusal
from chaoskit.system.undo import MARGIN

IMAGES = ("redis:7", "postgres:16", "python:3.11-slim")

ENVIRONMENT = """
environment: leases
services:
  postgres: {provider: postgres}
  redis: {provider: redis}
  stub: {provider: http_stub, args: {routes: [{path: /ok, json: {}}]}}
"""

SCENARIO = """
scenario: Everything at once
environment: leases
traffic:
  ask: {request: "GET {{ stub.url }}/ok", rate: 100/s}
steady_state:
  ask: {success_rate: ">= 50%"}
timeline:
  steady: 500ms
  faults:
    - hung: {pause: {service: redis}, at: 0s, for: 4s}
    - away: {disconnect: {service: postgres}, at: 0s, for: 4s}
    - weak: {cpu: {service: stub, quota: 50%}, at: 0s, for: 4s}
  recovery: 2s
expect:
  recovery: {within: 2s}
"""


def docker(*arguments):
    """What the docker command says."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def faults(folder):
    """Which faults are on, as Docker sees it."""
    found = set()
    for run in folder.glob("reports/runs/*"):
        names = docker("ps", "-aq", "--filter", f"label=chaoskit.run={run.name}").split()
        for container in json.loads(docker("inspect", *names)) if names else []:
            if container["State"]["Paused"]:
                found.add("pause")
            if not container["NetworkSettings"]["Networks"]:
                found.add("disconnect")
            if container["HostConfig"]["CpuQuota"] > 0:
                found.add("cpu")
    return found


@pytest.fixture
def run(tmp_path):
    """pytest with the scenario."""
    if reason := refusal():
        pytest.skip(f"no Docker: {reason}")
    if missing := set(IMAGES) - set(docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()):
        pytest.skip(f"no image {', '.join(sorted(missing))} on this machine")
    environments = tmp_path / "scenarios" / "environments"
    environments.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    (environments / "leases.yaml").write_text(ENVIRONMENT)
    (tmp_path / "scenarios" / "all.chaos.yaml").write_text(SCENARIO)
    command = [sys.executable, "-m", "pytest", "--chaos", "--chaos-attempts=1", "scenarios", "--chaos-runtime=docker"]
    process = subprocess.Popen(
        [*command, "-p", "no:cacheprovider"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield process
    if process.poll() is None:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
    process.communicate()


def test_faults_on_containers_end_though_the_engine_hangs(run, tmp_path):
    """pytest stopped (SIGSTOP) in mid-fault: the container goes on, is connected, has its CPU; the run is broken."""
    everything = {"pause", "disconnect", "cpu"}
    wait_for(
        lambda: run.poll() is not None or faults(tmp_path) == everything,
        what="all faults to be on", limit=120, every=0.05,
    )  # fmt: skip
    assert run.poll() is None, run.stdout.read()
    run.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    assert faults(tmp_path) == everything, "they were to be on while the engine stands still"
    wait_for(lambda: not faults(tmp_path), what="the leases to end", limit=4.0 + MARGIN + 15.0, every=0.05)
    assert time.monotonic() - stopped > MARGIN - 2.0, "a lease does not end before the fault does"
    run.send_signal(signal.SIGCONT)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "BROKEN" in output, output
    assert "left behind" not in output, output
    for folder in tmp_path.glob("reports/runs/*"):
        assert not docker("ps", "-aq", "--filter", f"label=chaoskit.run={folder.name}")
