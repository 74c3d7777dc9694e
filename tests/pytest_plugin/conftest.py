"""A small project with two HTTP services of its own, and pytest as a process of its own in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = '''\
"""Answers every GET with 200."""
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


print("listening, password=hunter2", flush=True)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

ENVIRONMENT = """\
environment: small
services:
  front: {command: python server.py, cwd: ../.., protocol: http, ready: {http: /}}
  idle: {command: python server.py, cwd: ../.., protocol: http, ready: {http: /}}
"""

SCENARIO = """\
scenario: The front answers in time while it is slow
case: C7
severity: critical
owner: team
tags: [latency, two words]
environment: small
control:
  with: {front: {env: {PROTECTION: none}}}
  violates: [during.get.p90]
traffic:
  get: {request: "GET {{ front.url }}/", rate: 50/s, timeout: 1s}
steady_state:
  get: {success_rate: ">= 90%", p90: "< 500ms"}
timeline:
  steady: 1s
  faults:
    - slow: {latency: {on: front, delay: 60ms}, at: 0s, for: 1s}
  recovery: 5s
expect:
  during:
    get: {p90: "< 2s"}
"""


LIMIT = 900
"""Seconds after which a run is given up: five scenarios, each at most three times, on a machine that others use."""


@dataclass(frozen=True)
class Outcome:
    """What a run of pytest gave."""

    status: int
    out: str
    folder: Path


class Project:
    """A folder with scenarios in which pytest can be run."""

    scenario = SCENARIO

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenarios = folder / "scenarios"
        (self.scenarios / "environments").mkdir(parents=True)
        (self.scenarios / "environments" / "small.yaml").write_text(ENVIRONMENT, encoding="utf-8")
        (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\nfilterwarnings = ['error']\n")
        (folder / "server.py").write_text(SERVER, encoding="utf-8")

    def write(self, **files: str) -> None:
        """Scenario files by name."""
        for name, text in files.items():
            (self.scenarios / f"{name}.chaos.yaml").write_text(text, encoding="utf-8")

    def edit(self, *changes: tuple[str, str]) -> str:
        """The scenario with pieces, each of which must stand in it once, replaced."""
        text = SCENARIO
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        return text

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Pytest in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Pytest to its end."""
        with self.start(*arguments, env=env) as process:  # closes its pipe, too, when it takes too long
            try:
                out, _ = process.communicate(timeout=LIMIT)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return Outcome(process.returncode, out, self.folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Makes projects for runs that several tests look at."""
    return lambda name: Project(tmp_path_factory.mktemp(name))
