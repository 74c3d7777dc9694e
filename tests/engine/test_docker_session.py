"""Scenarios on Docker: the same verdicts, proxies that stand before the services by name, the original Toxiproxy."""

from __future__ import annotations

import json
import socket

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.environments import load_environment
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios
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


STUB_ONLY = """
environment: small
services:
  stub: {provider: http_stub, ready: {within: 60s}, args: {routes: [{path: /ok, json: {answer: 42}}]}}
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
    (fault,) = held.history.rows(r.Fault)
    assert fault.touched > 0
    assert {row.service for row in held.history.rows(r.Sample)} >= {"postgres", "redis", "stub"}
    exchanges = held.history.rows(r.Exchange)
    requests = held.history.rows(r.Request)
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
    one, two = (live.services[name].password for name in ("one", "two"))
    assert inside["one"]["url"] == f"postgresql://postgres:{one}@one:5432/shop"
    assert inside["two"]["direct_url"] == f"postgresql://postgres:{two}@two-direct:5432/shop"
    app = live.services["app"].container
    names = ["one", "two", "app", "one-direct", "two-direct"]
    status, told = app.exec(["python3", "-c", ASK, *names])
    assert status == 0
    found = eval(told)
    assert all(len(places) == 1 for places in found.values()), found
    assert found["one"] != found["two"]
    assert found["one"] != found["one-direct"]
    status, env = app.exec(["env"])
    assert f"DATABASE_URL=postgresql://postgres:{one}@one:5432/shop" in env.splitlines()
    for name in ("one", "two", "stub", "app"):
        before = live.toxiproxy.counters()[name].opened
        socket.create_connection(live.proxied(name), timeout=5).close()
        wait_for(
            lambda name=name, before=before: live.toxiproxy.counters()[name].opened > before,
            what=f"a connection to {name}", limit=5,
        )  # fmt: skip
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
    with pytest.raises(BrokenError, match=r"app has only a command: .* say image: or build:"):
        session.open(load_environment(tmp_path / "no.yaml"))


def test_the_original_toxiproxy(tmp_path, project):
    """It injects, behind our tap, in containers too; the verdict and what was observed are the same."""
    scenario = project()
    (tmp_path / "scenarios/environments/small.yaml").write_text(STUB_ONLY)
    session = Session(tmp_path / "reports", seed=7, runtime="docker", toxiproxy="docker")
    try:
        result = session.run(*load_scenarios(scenario))
        assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
        assert json.loads((result.folder / "run.json").read_text())["toxiproxy"].startswith("docker ")
        (fault,) = result.history.rows(r.Fault)
        assert fault.touched > 0
        requests = result.history.rows(r.Request)
        assert {row.id for row in result.history.rows(r.Exchange)} == {row.id for row in requests}
        delayed = [each.ended - each.sent for each in requests if fault.injected < each.sent < fault.planned_end - 0.1]
        assert min(delayed) > 0.05
    finally:
        session.close()
    mine = {"label": f"chaoskit.run={session.id}"}
    assert daemon.client().containers.list(all=True, filters=mine) == []


@pytest.mark.parametrize("engine", ["binary", "http://127.0.0.1:8474"])
def test_a_toxiproxy_that_containers_cannot_reach(tmp_path, engine):
    """It is refused, with what is legal."""
    with pytest.raises(ChaosError, match="legal with the runtime docker: auto, embedded, docker"):
        Session(tmp_path, runtime="docker", toxiproxy=engine)
