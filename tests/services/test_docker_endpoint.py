"""Where the Docker daemon is asked: as Docker's client finds it, once, here only, by SDK and tools alike."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.services.docker import daemon, endpoint
from chaoskit.services.docker.compose import tool

HERE = "unix:///run/user/1000/docker.sock"


class Docker:
    """The settings of Docker's client, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def use(self, name: str) -> None:
        """As ``docker context use``."""
        (self.folder / "config.json").write_text(json.dumps({"auths": {}, "currentContext": name}))

    def context(self, name: str, host: str) -> None:
        """As ``docker context create``."""
        folder = self.folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        said = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
        (folder / "meta.json").write_text(json.dumps(said))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Settings of its own; nothing is said and nothing remembered."""
    made = Docker(tmp_path / "docker")
    monkeypatch.setenv("DOCKER_CONFIG", str(made.folder))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_the_usual_place(docker: Docker) -> None:
    """Where nothing is said, or the context is the default one."""
    assert endpoint.endpoint() == endpoint.USUAL
    docker.use("default")
    endpoint._found.cache_clear()
    assert endpoint.endpoint() == endpoint.USUAL


def test_the_current_context(docker: Docker) -> None:
    """Is followed, as Docker's client does; one without an address means the usual place."""
    docker.use("mine")
    docker.context("mine", HERE)
    assert endpoint.endpoint() == daemon.host() == HERE
    docker.context("mine", "")
    endpoint._found.cache_clear()
    assert endpoint.endpoint() == endpoint.USUAL


def test_a_variable_comes_first(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_HOST before DOCKER_CONTEXT, that before what was chosen by ``docker context use``."""
    docker.use("far")
    docker.context("far", "ssh://me@build.example.com")
    docker.context("mine", HERE)
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    assert endpoint.endpoint() == HERE
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert endpoint.endpoint() == "unix:///elsewhere.sock"
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert endpoint.endpoint() == endpoint.USUAL


@pytest.mark.parametrize(
    "place",
    ["ssh://me@build.example.com", "tcp://build.example.com:2376", "tcp://127.0.0.1:2375", "npipe:////./pipe/docker",
     "build.example.com:2375", "fd://", "http+unix:///var/run/docker.sock"],
)  # fmt: skip
def test_another_machine_is_refused(docker: Docker, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whoever says so is named, with what to do; a port on loopback may be a tunnel."""
    docker.use("far")
    docker.context("far", place)
    with pytest.raises(BrokenError, match=r"the Docker context 'far' \(currentContext in .*config.json\) leads to .*"):
        endpoint.endpoint()
    assert "docker context use default" in daemon.refusal()
    with pytest.raises(BrokenError, match="only a Docker daemon at a Unix socket of this machine"):
        tool.resolve([docker.folder / "docker-compose.yml"])
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(BrokenError, match="set DOCKER_CONTEXT=default"):
        endpoint.endpoint()
    monkeypatch.setenv("DOCKER_HOST", place)
    with pytest.raises(BrokenError, match="unset DOCKER_HOST"):
        endpoint.endpoint()
    with daemon.at(place), pytest.raises(BrokenError, match="only a Docker daemon"):  # as a journal may say
        daemon.client()


def test_what_cannot_be_read_is_told(docker: Docker) -> None:
    """A context that is not there, and files that are no JSON: nobody guesses which daemon is meant."""
    docker.use("gone")
    with pytest.raises(BrokenError, match=r"the Docker context 'gone' .* does not exist"):
        endpoint.endpoint()
    docker.context("gone", HERE)
    (next(docker.folder.rglob("meta.json"))).write_text("{")
    with pytest.raises(BrokenError, match=r"meta\.json cannot be read"):
        endpoint.endpoint()
    (docker.folder / "config.json").write_text("{")
    with pytest.raises(BrokenError, match=r"config\.json cannot be read"):
        endpoint.endpoint()


def test_it_stays_where_it_was(docker: Docker) -> None:
    """Though another context is chosen in another terminal while the run goes on."""
    docker.use("mine")
    docker.context("mine", HERE)
    assert endpoint.endpoint() == HERE
    docker.context("far", "ssh://me@build.example.com")
    docker.use("far")
    assert endpoint.endpoint() == HERE


@pytest.mark.parametrize("name", ["docker", "docker-compose"])
def test_tools_are_told(docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The same place, whatever the context, and the .env file beside the Compose file, would have them ask."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / name
    program.write_text('#!/bin/sh\nprintf "host: \'%s\'\\ncontext: \'%s\'\\n" "$DOCKER_HOST" "$DOCKER_CONTEXT"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    docker.context("mine", HERE)
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    tool.command.cache_clear()
    try:
        told: Any = tool.resolve([tmp_path / "docker-compose.yml"])
    finally:
        tool.command.cache_clear()
    assert told == {"host": HERE, "context": ""}
