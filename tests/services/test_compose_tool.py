"""How the Compose tool is found: real programs on PATH, that answer or do not."""

from __future__ import annotations

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.services.docker.compose import tool


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH with nothing but what a test puts there; nothing is remembered."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tool.command.cache_clear()
    yield tmp_path
    tool.command.cache_clear()


def program(folder, name, script):
    """An executable."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_version_two_is_taken_first(path):
    """The plug-in of docker before the program of its own."""
    docker = program(path, "docker", "exit 0")
    program(path, "docker-compose", "exit 0")
    assert tool.command() == (docker, "compose")


def test_version_one_where_docker_has_no_plugin(path):
    """Without the plug-in docker says so with its status."""
    program(path, "docker", "exit 1")
    single = program(path, "docker-compose", "exit 0")
    assert tool.command() == (single,)


def test_neither(path):
    """How to install it."""
    with pytest.raises(BrokenError, match="install docker-compose-plugin"):
        tool.command()


def test_a_docker_that_does_not_answer(path, monkeypatch):
    """One clear error, no traceback of subprocess."""
    monkeypatch.setattr(tool, "ANSWER", 0.2)
    program(path, "docker", "exec /bin/sleep 30")
    with pytest.raises(BrokenError, match=r"docker compose version.* no answer within 0\.2 s"):
        tool.command()
