"""A small project: PostgreSQL, Redis and a scripted HTTP service; one scenario that can be made short or long."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

ENVIRONMENT = """
environment: small
services:
  postgres: {provider: postgres}
  redis: {provider: redis}
  stub:
    provider: http_stub
    args:
      routes: [{path: /ok, json: {answer: 42}}]
"""

SCENARIO = """
scenario: The stub answers in time while it is slow
environment: small
traffic:
  ask:
    request: GET {{{{ stub.url }}}}/ok
    rate: 50/s
steady_state:
  ask: {{success_rate: ">= 95%", p90: "< 200ms"}}
timeline:
  steady: 1s
  faults:
    - slow: {{latency: {{on: stub, delay: {delay}}}, at: 0s, for: {length}}}
  recovery: 5s
expect:
  during:
    ask: {{p90: "{bound}"}}
"""


@pytest.fixture
def project(tmp_path: Path):
    """Writes the project's files; gives a function that (re)writes the scenario."""
    (tmp_path / "pyproject.toml").write_text("")
    environments = tmp_path / "scenarios" / "environments"
    environments.mkdir(parents=True)
    (environments / "small.yaml").write_text(ENVIRONMENT)

    def write(*, delay: str = "50ms", length: str = "1s", bound: str = "< 200ms") -> Path:
        file = tmp_path / "scenarios" / "slow.chaos.yaml"
        file.write_text(SCENARIO.format(delay=delay, length=length, bound=bound))
        return file

    write()
    return write


@pytest.fixture
def processes_of():
    """A function: pids of all processes that name a folder in their command line or environment."""

    def find(folder: Path) -> set[int]:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            for part in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    if str(folder).encode() in (process / part).read_bytes():
                        found.add(int(process.name))
        return found

    return find


@pytest.fixture
def guardians_of():
    """A function: pids of the guardians of runs in a folder."""

    def find(folder: Path) -> set[int]:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command, environ = ((process / part).read_bytes().decode() for part in ("cmdline", "environ"))
                if "chaoskit.system.guardian" in command and f"CHAOSKIT_PIDFILE={folder}" in environ:
                    found.add(int(process.name))
        return found

    return find
