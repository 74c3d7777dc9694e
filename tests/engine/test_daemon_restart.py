"""A Docker daemon that ends in mid-run: the run is broken, soon, and what it left is swept once there is a daemon."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from chaoskit.base.clock import wait_for

IMAGES = ("redis:7", "python:3.11-slim")

ENVIRONMENT = """
environment: small
services:
  redis: {provider: redis}
  stub: {provider: http_stub, args: {routes: [{path: /ok, json: {}}]}}
"""

SCENARIO = """
scenario: Slow
environment: small
traffic:
  ask: {request: "GET {{ stub.url }}/ok", rate: 100/s}
steady_state:
  ask: {success_rate: ">= 50%"}
timeline:
  steady: 500ms
  faults:
    - slow: {latency: {on: stub, delay: 20ms}, at: 0s, for: 90s}
  recovery: 5s
expect:
  recovery: {within: 5s}
"""


class Daemon:
    """A dockerd of our own, beside the machine's: with its own data, networks and socket."""

    def __init__(self, folder):
        self.folder = folder
        self.host = f"unix://{folder}/sock"
        self._process = None
        self._space = f"chaoskit-test-{os.getpid()}"
        # Its networks are in a network namespace: on the machine's it would remove docker0 when it starts.
        self.inside = ["nsenter", f"--net=/run/netns/{self._space}"]

    def start(self):
        """Start it if it does not run, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        folder = self.folder
        if not Path("/run/netns", self._space).exists():
            subprocess.run(["ip", "netns", "add", self._space], check=True)
            subprocess.run([*self.inside, "ip", "link", "set", "lo", "up"], check=True)
        command = [*self.inside, "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "--host", self.host, "--bridge", "none", "--iptables=false"]
        command += ["--default-address-pool", "base=10.213.0.0/16,size=24"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(
            lambda: self._process.poll() is not None or self.docker("version", check=False).returncode == 0,
            what="the daemon to answer", limit=60, every=0.1,
        )  # fmt: skip
        if self._process.poll() is not None:
            pytest.skip(f"no second Docker daemon can be started here: {(folder / 'log').read_text()[-300:]}")

    def stop(self):
        """End it, and the containers that it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def remove_networks(self):
        """With the namespace they are in."""
        subprocess.run(["ip", "netns", "delete", self._space], check=False)

    def docker(self, *arguments, check=True, **rest):
        """The docker command, of this daemon."""
        command = ["docker", "--host", self.host, *arguments]
        return subprocess.run(command, check=check, capture_output=True, timeout=300, **rest)

    def left(self):
        """What it has of ours."""
        found = self.docker("ps", "-aq", "--filter", "label=chaoskit.run").stdout.split()
        found += self.docker("network", "ls", "-q", "--filter", "label=chaoskit.run").stdout.split()
        return found + self.docker("volume", "ls", "-q", "--filter", "label=chaoskit.run").stdout.split()


@pytest.fixture(scope="module")
def daemon():
    """It has the images that the machine's own daemon has."""
    if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("ip"):
        pytest.skip("a second Docker daemon needs root, dockerd and ip (iproute2)")
    folder = Path(tempfile.mkdtemp(prefix="chaoskit-dockerd-"))  # a socket's path must be short
    made = Daemon(folder)
    try:
        images = subprocess.run(["docker", "save", *IMAGES], capture_output=True, timeout=300, check=False)
        if images.returncode:
            pytest.skip(f"no images {', '.join(IMAGES)}: {images.stderr.decode().strip()}")
        made.start()
        made.docker("load", input=images.stdout)
        yield made
    finally:
        made.stop()
        made.remove_networks()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def running(daemon, tmp_path):
    """pytest with a scenario of a long fault, in mid-fault; and the environment that it has."""
    environments = tmp_path / "scenarios" / "environments"
    environments.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    (environments / "small.yaml").write_text(ENVIRONMENT)
    (tmp_path / "scenarios" / "slow.chaos.yaml").write_text(SCENARIO)
    daemon.start()  # a test that failed may have left it down
    environ = {**os.environ, "DOCKER_HOST": daemon.host}
    command = [*daemon.inside, sys.executable, "-m", "pytest", "--chaos", "scenarios", "--chaos-runtime=docker"]
    command += ["-p", "no:cacheprovider"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        try:
            phases = tmp_path / "reports" / "runs"
            wait_for(
                lambda: run.poll() is not None or list(phases.glob("*/slow/phases.jsonl")),
                what="the fault", limit=90, every=0.1,
            )  # fmt: skip
            assert run.poll() is None, run.stdout.read()
            yield run, environ
        finally:
            run.kill()


@pytest.mark.parametrize("fate", ["restarted", "gone"])
def test_a_daemon_that_ends(daemon, running, tmp_path, fate):
    """Broken, with the reason, long before the fault's end; nothing stays on the daemon that comes back."""
    run, environ = running
    assert daemon.left()
    began = time.monotonic()
    daemon.stop()
    if fate == "restarted":
        daemon.start()
    output, _ = run.communicate(timeout=80)
    assert time.monotonic() - began < 80
    assert run.returncode == 1, output
    assert "BROKEN" in output, output
    # A daemon that is told to end stops its containers before it goes: either may be noticed first.
    assert re.search("the Docker daemon was lost|the container .*-toxiproxy-0 ended with", output), output
    assert "Traceback" not in output
    assert ("something was left behind" in output) is (fate == "gone"), output
    if fate == "gone":
        daemon.start()
    clean = [sys.executable, "-c", "from chaoskit.cli import main; raise SystemExit(main(['clean']))"]
    swept = subprocess.run(clean, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=True)
    assert "could not be undone" not in swept.stdout
    assert daemon.left() == [], swept.stdout
    assert not list(tmp_path.glob("reports/runs/*/*.journal"))
