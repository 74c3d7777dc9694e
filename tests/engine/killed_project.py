"""A project whose runs are killed, all that they may leave, and things beside them that are not theirs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from chaoskit.faults._host_capabilities import lacking

ENVIRONMENT = """
environment: kills
services:
  postgres: {provider: postgres}
  redis: {provider: redis}
  stub: {provider: http_stub, args: {routes: [{path: /ok, json: {}}]}}
  worker:
    restart: always
    ready: {http: /}
"""

AS_PROCESS = """
    command: [python, -m, chaoskit.failpoints.agent, worker.py]
    cwd: ..
    failpoints: true
"""

AS_CONTAINER = """
    image: python:3.11-slim
    command: [python, -m, http.server, "8000"]
    port: 8000
"""

WORKER = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from chaoskit.failpoints import failpoint, register
register("work")
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        failpoint("work")
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *words): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever(0.02)
"""

SCENARIO = """
scenario: A little of everything
environment: kills
traffic:
  ask: {request: "GET {{ stub.url }}/ok", rate: 100/s}
  work: {request: "GET {{ worker.url }}/", rate: 20/s}
steady_state:
  ask: {success_rate: ">= 50%"}
timeline:
  steady: 600ms
  recovery: 5s
  faults:
    - slow: {latency: {on: stub, delay: 20ms}, at: 0s, for: 800ms}
    - full: {pool_exhaustion: {on: postgres, hold: 5}, at: 0s, for: 800ms}
    - hung: {pause: {service: redis}, at: 100ms, for: 500ms}
    - gone: {down: {on: stub}, at: 500ms, for: 200ms}
    - dead: {kill: {service: worker}, at: 600ms, for: 200ms}
"""

OF_PROCESSES = """
    - late: {sleep: {service: worker, at: work, delay: 10ms}, at: 0s, for: 400ms}
    - few: {open_files: {service: postgres, spare: 5}, at: 0s, for: 800ms}
"""

OF_CONTAINERS = """
    - away: {disconnect: {service: redis}, at: 0s, for: 800ms}
    - weak: {cpu: {service: worker, quota: 50%}, at: 0s, for: 800ms}
"""

OF_ROOT = """
    - lost: {packet_loss: {on: postgres, loss: 20%}, at: 0s, for: 800ms}
    - busy: {stress: {service: worker, cpu: 1, nice: 19}, at: 200ms, for: 400ms}
"""


def scenario_for(runtime):
    """What this machine can do, on a runtime."""
    faults = OF_PROCESSES if runtime == "process" else OF_CONTAINERS
    if lacking("root", "iptables") is None:
        faults += OF_ROOT
    return SCENARIO.rstrip() + faults.rstrip().replace("\n\n", "\n") + "\nexpect:\n  recovery: {within: 5s}\n"


class Processes:
    """Whom a process belongs to is in its environment, which all descendants of a run have; but some write over
    theirs (Redis does), and are known by the folder in which they run."""

    def __init__(self, mark):
        self.mark = f"BELONGS_TO={mark}"
        self.folder = f"{mark}/"

    def find(self, part=""):
        """Command lines of those that run, by pid."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                marked = self.mark.encode() in (process / "environ").read_bytes().split(b"\0")
                if marked or str((process / "cwd").readlink()).startswith(self.folder):
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                    if part in command:
                        found[int(process.name)] = command
        return found


class Project:
    """A project with one scenario, and everything that a run of it may leave."""

    def __init__(self, folder, runtime):
        self.folder = folder
        self.runtime = runtime
        self.reports = folder / "reports"
        self.temporary = folder / "tmp"
        self.state = folder / "state"
        self.processes = Processes(folder)
        self.runs = set()
        environments = folder / "scenarios" / "environments"
        environments.mkdir(parents=True)
        self.temporary.mkdir()
        (folder / "pyproject.toml").write_text("")
        how = AS_PROCESS if runtime == "process" else AS_CONTAINER
        (environments / "kills.yaml").write_text(ENVIRONMENT.rstrip() + how)
        (folder / "scenarios" / "worker.py").write_text(WORKER)
        (folder / "scenarios" / "all.chaos.yaml").write_text(scenario_for(runtime))
        own = {"BELONGS_TO": str(folder), "TMPDIR": str(self.temporary), "XDG_STATE_HOME": str(self.state)}
        self.environ = {**os.environ, **own}

    def start(self):
        """Start pytest."""
        command = [sys.executable, "-m", "pytest", "--chaos", "scenarios", "-p", "no:cacheprovider"]
        if self.runtime != "process":
            command.append(f"--chaos-runtime={self.runtime}")
        with (self.folder / "output").open("w") as output:
            return subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=output, stderr=output)

    def run(self):
        """A run that nobody kills, whatever its verdict on a busy machine; gives its length in seconds."""
        began = time.monotonic()
        status = self.start().wait(120)
        output = (self.folder / "output").read_text()
        assert status in (0, 1), output
        assert "fault dead (kill on worker)" in output or status == 0, output
        return time.monotonic() - began

    def clean(self):
        """``chaoskit clean``; gives what it said."""
        done = subprocess.run(
            [sys.executable, "-c", "from chaoskit.cli import main; raise SystemExit(main(['clean']))"],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "could not be undone" not in done.stdout, done.stdout
        return done.stdout + done.stderr

    def left(self):
        """What is left of all runs, in words."""
        found = [f"process {pid}: {command}" for pid, command in self.processes.find().items()]
        for pattern in ("environment-*", "*.journal", ".*.journal.*", "*.pid"):
            found += [str(path) for path in self.reports.glob(f"runs/*/{pattern}")]
        # The lock file of the ports is one for the user, and stays.
        found += [str(path) for path in self.temporary.iterdir() if not path.name.startswith("chaoskit-ports-")]
        found += [str(path) for path in self.state.rglob("*") if path.is_file()]
        self.runs |= {path.name for path in self.reports.glob("runs/*")}
        if self.runtime == "docker":
            found += self._docker()
        for pid in {run.split("-")[2] for run in self.runs}:
            groups = os.walk("/sys/fs/cgroup")  # unlike glob it passes over a group that vanishes
            found += [f"{place}/{name}" for place, names, _ in groups for name in names if f"chaoskit-{pid}-" in name]
            if lacking("root", "iptables") is None:
                found += re.findall(rf"^:CHAOSKIT-{pid}-\S+", _iptables(), re.MULTILINE)
        return [text for text in found if LOOKALIKE not in text]

    def _docker(self):
        found = []
        for kind in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
            for run in self.runs:
                listed = docker(*kind, "--filter", f"label=chaoskit.run={run}").split()
                found += [f"docker {kind[0]} {name} of run {run}" for name in listed]
        return found


def _iptables():
    return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True, timeout=60).stdout


def docker(*arguments):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


LOOKALIKE = "not-ours"

LIVING = """
import pathlib, sys
from chaoskit.system.journal import Journal
from chaoskit.system.processes import start_process
run = pathlib.Path(sys.argv[1])
journal = Journal.of_run(run.name, run)
journal.make_folder(run / "environment-0-kills")
pidfile = run / "environment-0-kills" / "1.pid"
start_process(["sleep", "86400"], name="redis", journal=journal, pidfile=pidfile, on_line=lambda *_: None)
print("up", flush=True)
sys.stdin.read()
journal.undo_all()
journal.close()
"""


class Lookalikes:
    """Things beside the runs that could be taken for theirs: another living run, processes, folders, containers."""

    def __init__(self, project):
        self.project = project
        run = project.reports / "runs" / f"20300101-000000-1-{LOOKALIKE}"
        environ = {**os.environ, "XDG_STATE_HOME": str(project.state), "CHAOSKIT_RUN_ID": run.name}
        self.living = subprocess.Popen(
            [sys.executable, "-c", LIVING, str(run)], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.living.stdout.readline() == b"up\n"
        environ["CHAOSKIT_PIDFILE"] = str(run / "environment-0-kills" / "toxiproxy" / "toxiproxy-embedded.pid")
        command = [sys.executable, "-m", "chaoskit.toxiproxy.server", "-host", "127.0.0.1", "-port", "0"]
        self.server = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.folders = [project.temporary / f"chaoskit-{LOOKALIKE}", run / "environment-0-kills"]
        self.folders[0].mkdir()
        self.containers = project.runtime == "docker"
        if self.containers:
            owner = f"chaoskit.owner={os.getpid()}:1"
            labels = ("--label", f"chaoskit.run={run.name}", "--label", owner)
            self.name = f"chaoskit-{LOOKALIKE}-{os.getpid()}"
            docker("network", "create", *labels, self.name)
            docker("volume", "create", *labels, self.name)
            docker("run", "-d", "--name", self.name, "--network", self.name, *labels, "redis:7")

    def touched(self):
        """What happened to them, in words."""
        found = []
        if self.living.poll() is not None:
            found.append("the other run was ended")
        if self.server.poll() is not None:
            found.append("somebody's Toxiproxy was ended")
        for folder in self.folders:
            if not folder.is_dir():
                found.append(f"{folder} was removed")
        text = (self.folders[1] / "1.pid").read_text().split()[0] if self.folders[1].is_dir() else "0"
        if not Path(f"/proc/{text}/cmdline").exists():
            found.append("the other run's service was ended")
        if self.containers:
            inspected = docker("inspect", "-f", "{{.State.Running}}", self.name)
            if inspected.strip() != "true":
                found.append("somebody's container was ended")
        return found

    def end(self):
        """End them."""
        self.living.communicate(timeout=30)
        self.server.kill()
        self.server.wait()
        if self.containers:
            docker("rm", "-fv", self.name)
            docker("network", "rm", self.name)
            docker("volume", "rm", self.name)
