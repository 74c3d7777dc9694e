"""Scenarios on Docker: the same verdicts, proxies that stand before the services by name, a daemon that is lost."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

import pytest

from chaoskit.engine.session import Session
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.expectations.base import Outcome
from chaoskit.history import rows as r
from chaoskit.scenario.environments import load_environment
from chaoskit.scenario.loader import load as load_scenarios
from chaoskit.services.docker import daemon

REFUSAL = daemon.refusal()
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"needs a Docker daemon: {REFUSAL}")

ASK = """
import socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = sorted({each[4][0] for each in socket.getaddrinfo(name, 1, type=socket.SOCK_STREAM)})
    except OSError:
        found[name] = []
print(found)
"""

TWO_DATABASES = """
environment: two
services:
  one: {provider: postgres, ready: {within: 60s}}
  two: {provider: postgres, ready: {within: 60s}}
  stub:
    provider: http_stub
    ready: {within: 60s}
    args: {routes: [{path: /ok, json: {answer: 42}}]}
  app:
    image: python:3.11-slim
    command: python3 -m http.server 8000 --bind 0.0.0.0
    port: 8000
    ready: {http: /, within: 60s}
    env: {DATABASE_URL: "{{ one.url }}", STUB_URL: "{{ stub.direct_url }}"}
"""


@pytest.fixture
def session(tmp_path):
    """A session on Docker that is closed in the end, with nothing left on the daemon."""
    session = Session(tmp_path / "reports", seed=7, runtime="docker")
    yield session
    session.close()
    mine = {"label": f"chaoskit.run={session.id}"}
    assert daemon.client().containers.list(all=True, filters=mine) == []
    assert daemon.client().networks.list(filters=mine) == []


def test_held_and_violated_as_on_processes(project, session):
    """The small scenario is held, and with a bound that the fault breaks it is violated."""
    held = session.run(*load_scenarios(project()))
    assert held.verdict.outcome is Outcome.HELD, held.verdict.reason
    (fault,) = held.history.of(r.Fault)
    assert fault.touched > 0
    assert {row.service for row in held.history.of(r.Sample)} >= {"postgres", "redis", "stub"}
    exchanges = held.history.of(r.Exchange)
    requests = held.history.of(r.Request)
    assert {row.id for row in exchanges} == {row.id for row in requests}
    # The proxy's container and this machine have one clock: an exchange lies within its request.
    by_id = {row.id: row for row in requests}
    assert all(by_id[row.id].sent <= row.started <= row.ended <= by_id[row.id].ended for row in exchanges)

    violated = session.run(*load_scenarios(project(delay="400ms")))
    assert violated.verdict.outcome is Outcome.VIOLATED, violated.verdict.reason

    facts = json.loads((held.folder / "run.json").read_text())
    assert facts["runtime"] == "docker"
    assert facts["docker"] == daemon.version()


def test_names_lead_to_the_proxies(tmp_path, session):
    """Each service's name is its proxy's alone, NAME-direct its own; two databases with one port are both proxied."""
    (tmp_path / "two.yaml").write_text(TWO_DATABASES)
    live, _ = session.open(load_environment(tmp_path / "two.yaml"))
    inside = live.addresses(inside=True)
    assert inside["one"]["url"] == "postgresql://postgres@one:5432/shop"
    assert inside["two"]["direct_url"] == "postgresql://postgres@two-direct:5432/shop"
    app = live.services["app"].container
    names = ["one", "two", "app", "one-direct", "two-direct"]
    status, told = app.exec(["python3", "-c", ASK, *names])
    assert status == 0
    found = eval(told)
    assert all(len(places) == 1 for places in found.values()), found
    assert found["one"] != found["two"]
    assert found["one"] != found["one-direct"]
    status, env = app.exec(["env"])
    assert "DATABASE_URL=postgresql://postgres@one:5432/shop" in env.splitlines()
    for name in ("one", "two", "stub", "app"):
        before = live.toxiproxy.counters()[name].opened
        socket.create_connection(live.proxied(name), timeout=5).close()
        deadline = time.monotonic() + 5
        while live.toxiproxy.counters()[name].opened == before:
            assert time.monotonic() < deadline
    assert sum("toxiproxy" in each.name for each in daemon.client().containers.list(
        filters={"label": f"chaoskit.run={session.id}"})) == 2  # fmt: skip


def test_a_change_of_a_service_is_a_new_container_at_the_same_address(tmp_path, session):
    """As a control does it: another environment variable, and back."""
    (tmp_path / "two.yaml").write_text(TWO_DATABASES)
    environment = load_environment(tmp_path / "two.yaml")
    live, _ = session.open(environment)
    first = live.services["app"].container.id
    live.prepare(environment)
    assert live.services["app"].container.id == first
    spec = environment.services["app"]
    other = spec.model_copy(update={"env": {**spec.env, "WORD": "x"}})
    address = live.addresses()["app"]
    environment.services["app"] = other
    live.prepare(environment)
    assert live.services["app"].container.id != first
    assert live.addresses()["app"] == address
    assert "WORD=x" in live.services["app"].container.exec(["env"])[1].splitlines()


def test_a_command_without_an_image_is_told(tmp_path, session):
    """Before anything is started."""
    (tmp_path / "no.yaml").write_text("environment: no\nservices: {app: {command: sleep 60}}\n")
    with pytest.raises(BrokenError, match="app has only a command: .* say image: or build:"):
        session.open(load_environment(tmp_path / "no.yaml"))


@pytest.mark.parametrize("engine", ["binary", "http://127.0.0.1:8474"])
def test_a_toxiproxy_that_containers_cannot_reach(tmp_path, engine):
    """It is refused, with what is legal."""
    with pytest.raises(ChaosError, match="legal with the runtime docker: auto, embedded, docker"):
        Session(tmp_path, runtime="docker", toxiproxy=engine)


class Between:
    """A socket in front of the daemon's that can be taken away, as when the daemon ends."""

    def __init__(self, path, target):
        self._target = target
        self._open = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            outer = socket.socket(socket.AF_UNIX)
            outer.connect(self._target)
            self._open += [inner, outer]
            for one, other in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def lose(self):
        """From now on nobody answers, and all that was open is closed."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for each in self._open:
            each.close()


def test_a_daemon_that_is_lost_is_broken_within_seconds(tmp_path, project, monkeypatch):
    """In mid-run: no hang, and a message that names the daemon. What is left goes when a daemon answers again."""
    place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    between = Between(tmp_path / "d.sock", place.removeprefix("unix://"))
    own = daemon.client()
    monkeypatch.setattr(daemon, "_client", None)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/d.sock")
    session = Session(tmp_path / "reports", seed=7, runtime="docker")
    session.open(load_scenarios(project())[0].environment)
    lost = []

    def cut(progress):
        if not lost and progress.phase == "faults":
            lost.append(time.monotonic())
            between.lose()

    result = session.run(*load_scenarios(project(length="30s")), on_progress=cut)
    assert result.verdict.outcome is Outcome.BROKEN
    assert "the Docker daemon was lost during the run" in result.verdict.reason
    assert time.monotonic() - lost[0] < 10
    with pytest.raises(BrokenError, match="no Docker daemon answers"):
        session.close()
    daemon.client().close()
    monkeypatch.setattr(daemon, "_client", own)
    assert own.containers.list(filters={"label": f"chaoskit.run={session.id}"})
    session.journal.undo_all()
    assert own.containers.list(all=True, filters={"label": f"chaoskit.run={session.id}"}) == []
    assert own.networks.list(filters={"label": f"chaoskit.run={session.id}"}) == []
    session.journal.close()
