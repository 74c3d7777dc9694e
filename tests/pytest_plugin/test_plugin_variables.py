"""Environment variables that a run depends on are part of the command that runs it again."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from chaoskit.language.loader import load_environment
from chaoskit.language.model import Environment
from chaoskit.pytest_plugin.reproduce import reproduce
from chaoskit.pytest_plugin.variables import variables

ENVIRON = {
    "PATH": "/bin",
    "CHAOSKIT_RUN_ID": "1",
    "CHAOSKIT_FAILPOINTS_SEED": "7",
    "GOFAIL_FAILPOINTS": "orders/charge=sleep(10); x",
    "TOXIPROXY_AUTH_TOKEN": "hunter2",
    "DOCKER_HOST": "unix:///run/docker.sock",
    "TAG": "v1",
    "DB_URL": "postgres://shop:hunter2@localhost/shop",
    "UNUSED": "x",
}


@pytest.fixture
def process(tmp_path: Path) -> Environment:
    """An environment without Compose."""
    file = tmp_path / "small.yaml"
    file.write_text("environment: small\nservices: {stub: {provider: noop}}\n", encoding="utf-8")
    return load_environment(file)


@pytest.fixture
def compose(tmp_path: Path) -> Environment:
    """A Compose file with variables; a doubled dollar is none."""
    web = "{image: 'web:${TAG:-v0}', command: 'echo $$UNUSED', environment: {DB: $DB_URL}, ports: ['80']}"
    text = f"services: {{web: {web}}}"
    (tmp_path / "docker-compose.yml").write_text(text, encoding="utf-8")
    file = tmp_path / "composed.yaml"
    file.write_text("environment: composed\ncompose: docker-compose.yml\n", encoding="utf-8")
    return load_environment(file)


def test_what_services_and_chaoskit_ask_for(process: Environment) -> None:
    """Not what chaoskit sets itself, nor what nobody reads. A secret's value is left out."""
    plain, secret = variables(process, docker=False, environ=ENVIRON)
    assert plain == ["CHAOSKIT_FAILPOINTS_SEED=7", "GOFAIL_FAILPOINTS='orders/charge=sleep(10); x'"]
    assert secret == ["TOXIPROXY_AUTH_TOKEN"]


def test_what_a_compose_file_asks_for(compose: Environment) -> None:
    """What Compose puts into its text, and where Docker is."""
    plain, secret = variables(compose, docker=True, environ=ENVIRON)
    assert plain[0] == "CHAOSKIT_FAILPOINTS_SEED=7"
    assert plain[-1] == "TAG=v1"
    assert "DOCKER_HOST=unix:///run/docker.sock" in plain
    assert secret == ["DB_URL", "TOXIPROXY_AUTH_TOKEN"]


def test_the_command(pytestconfig: pytest.Config) -> None:
    """A shell takes it: variables before it, secrets named in a comment behind it."""
    command = reproduce(pytestconfig, "a.chaos.yaml::a", True, 5, ["GOFAIL_FAILPOINTS='a b'"], ["API_TOKEN"])
    words = shlex.split(command, comments=True)
    assert words[:4] == ["GOFAIL_FAILPOINTS=a b", "pytest", "--chaos", "--chaos-controls"]
    assert words[-1] == "a.chaos.yaml::a"
    assert command.endswith("a.chaos.yaml::a  # was run with API_TOKEN=***")


def test_a_run_tells_them(project: Any) -> None:
    """In the terminal; a secret stays one."""
    project.write(one=project.edit(('p90: "< 2s"', 'p90: "< 20ms"')))
    env = {"GOFAIL_FAILPOINTS": "a=sleep(10)", "TOXIPROXY_AUTH_TOKEN": "hunter2"}
    done = project.run("--chaos", "--chaos-seed=3", "-p", "no:cacheprovider", "scenarios", env=env)
    line = "  GOFAIL_FAILPOINTS='a=sleep(10)' pytest --chaos --chaos-seed=3 scenarios/one.chaos.yaml::one"
    assert re.search(rf"^{re.escape(line)}  # was run with TOXIPROXY_AUTH_TOKEN=\*\*\*$", done.out, re.MULTILINE), (
        done.out
    )
    assert "hunter2" not in done.out
