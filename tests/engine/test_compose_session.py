"""A team's own Compose file as the environment, on every Compose tool that is here: names, life, faults, an end."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.environments import changed, load_environment
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios
from chaoskit.language.model import ServiceChange
from chaoskit.services.docker import daemon
from chaoskit.services.docker.compose import tool


def _tools() -> dict[str, tuple[str, ...]]:
    found = {}
    if single := shutil.which("docker-compose"):
        found["v1"] = (single,)
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        found["v2"] = (docker, "compose")
    return found


TOOLS = _tools()
REFUSAL = daemon.refusal() or ("" if TOOLS else tool.INSTALL)
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"needs a Docker daemon and the Compose tool: {REFUSAL}")

COMPOSE = """
version: "3.8"
services:
  cache:
    image: redis:7
    container_name: team-cache
    hostname: cache
    restart: always
    networks: {back: {aliases: [store]}}
    ports: ["6379:6379"]
  setup:
    image: python:3.11-slim
    command: ["python3", "-c", "open('/data/made', 'a').write('once '); print('set up')"]
    volumes: [data:/data]
    networks: [back]
  app:
    image: python:3.11-slim
    command: python3 -u -m http.server 8000 --directory /data
    environment: {WORD: "a$$b", MODE: "${MODE:-plain}"}
    volumes: [data:/data]
    expose: ["8000"]
    ports: ["8000:8000"]
    networks: [front, back]
    healthcheck:
      test: ["CMD", "python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/made')"]
      interval: 1s
      timeout: 5s
      retries: 30
    depends_on:
      cache: {condition: service_started}
      setup: {condition: service_completed_successfully}
  client:
    image: python:3.11-slim
    command: python3 -m http.server 9000
    networks: [front]
    depends_on:
      app: {condition: service_healthy}
  debugger:
    image: not-there-at-all
    profiles: [debug]
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
"""

ENVIRONMENT = """
environment: team
compose: docker-compose.yml
proxy: [cache, app]
services:
  app: {protocol: http}
  client: {port: 9000}
"""

SCENARIO = """
scenario: The application is slow
environment: team
traffic:
  ask: {request: "GET {{ app.url }}/made", rate: 40/s}
steady_state:
  ask: {success_rate: ">= 90%"}
timeline:
  steady: 1s
  faults:
    - slow: {latency: {on: app, delay: 100ms}, at: 0s, for: 1s}
  recovery: 10s
expect:
  during: {ask: {p50: "BOUND"}}
"""

LOOK = """
import socket, sys
for name in sys.argv[1:]:
    try:
        print(name, *sorted({each[4][0] for each in socket.getaddrinfo(name, 1, type=socket.SOCK_STREAM)}))
    except OSError:
        print(name)
"""

PING = """
import socket
with socket.create_connection(("cache", 6379), timeout=5) as one:
    one.sendall(b"PING\\r\\n")
    print(one.recv(100).decode())
"""


@pytest.fixture
def team(tmp_path):
    """A project with a Compose file; gives the environment's file."""
    (tmp_path / "pyproject.toml").write_text("")
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "docker-compose.yml").write_text(COMPOSE)
    (folder / "team.yaml").write_text(ENVIRONMENT)
    return folder / "team.yaml"


@pytest.fixture
def session(tmp_path):
    """A session that is closed in the end, with nothing left on the daemon."""
    session = Session(tmp_path / "reports", seed=7)
    yield session
    session.close()
    assert left(session.id) == []


@pytest.fixture(params=["v1", "v2"])
def each_tool(request, monkeypatch):
    """Both Compose tools, where they are."""
    if request.param not in TOOLS:
        pytest.skip(f"no Compose {request.param} here")
    monkeypatch.setattr(tool, "command", lambda: TOOLS[request.param])


def left(run: str) -> list[str]:
    """What is there of a run."""
    docker = daemon.client()
    mine = {"label": f"chaoskit.run={run}"}
    kinds = (docker.containers.list(all=True, filters=mine, ignore_removed=True), docker.networks.list(filters=mine))
    return [one.name for kind in (*kinds, docker.volumes.list(filters=mine)) for one in kind]


def started(team, session):
    """The running environment."""
    live, _ = session.open(load_environment(team))
    return live


def inside(live, service, *words):
    """The output of a program in the container of a service."""
    status, told = live.services[service].container.exec(["python3", "-c", *words])
    assert status == 0, told
    return told


def test_names_volumes_and_ports(team, session, each_tool):
    """The proxies have all names of their services and the services none; nothing listens beyond our own gateway."""
    live = started(team, session)
    names = ["cache", "store", "team-cache", "app", "cache-direct", "app-direct", "client"]
    seen = {line.split()[0]: line.split()[1:] for line in inside(live, "app", LOOK, *names).splitlines()}
    assert len(seen["cache"]) == 1
    assert seen["cache"] == seen["store"] == seen["team-cache"]
    assert len(seen["cache-direct"]) == 1
    assert seen["cache-direct"] != seen["cache"]
    assert len(seen["app-direct"]) == 1
    assert not set(seen["app"]) & set(seen["app-direct"])
    assert len(seen["client"]) == 1
    # Networks still part: the client shares none with the cache.
    there = inside(live, "client", LOOK, "app", "cache", "cache-direct").splitlines()
    assert [len(line.split()) for line in there] == [2, 1, 1]

    before = live.toxiproxy.counters()["cache"].opened
    assert "PONG" in inside(live, "app", PING)
    assert live.toxiproxy.counters()["cache"].opened == before + 1
    assert "WORD=a$b" in live.services["app"].container.exec(["env"])[1].splitlines()
    assert live.services["app"].container.exec(["cat", "/data/made"]) == (0, "once ")
    assert (live.services["setup"].alive(), live.services["setup"].pid) == (True, None)

    docker = daemon.client()
    ours = docker.containers.list(filters={"label": f"chaoskit.run={session.id}"})
    bound = [each for one in ours for ports in one.ports.values() for each in ports or ()]
    assert bound
    assert {each["HostIp"] for each in bound} == {live.services["app"].host}
    assert not [one for one in docker.images.list() if session.id in str(one.tags)]


def test_its_life(team, session, each_tool):
    """Killed it comes again as its restart: says, restarted it keeps its data, with other variables it is another."""
    environment = load_environment(team)
    live = started(team, session)
    seen: list[r.Event | r.Log] = []
    for service in live.services.values():
        service.emit = seen.append
    app, cache = live.services["app"], live.services["cache"]

    old = cache.pid
    assert cache.kill()
    ready_anew = lambda: cache.alive() and cache.pid != old and cache.ready()  # noqa: E731
    wait_for(ready_anew, what="the cache to be restarted", limit=20, last_seen=cache.check)
    assert "PONG" in inside(live, "app", PING)

    address = (app.host, app.port)
    app.container.exec(["sh", "-c", "echo x > /tmp/mark; echo y > /data/mark"])
    app.restart()
    assert app.container.exec(["cat", "/tmp/mark"]) == (0, "x\n")
    assert app.pause()
    assert app.container.inspect()["State"]["Paused"]
    live.heal()
    wait_for(app.ready, what="the application", limit=20, last_seen=app.check)

    live.prepare(changed(environment, {"app": ServiceChange(env={"WORD": "c$d", "CACHE": "{{ cache.url }}"})}))
    variables = live.services["app"].container.exec(["env"])[1].splitlines()
    assert {"WORD=c$d", "MODE=plain", "CACHE=redis://cache:6379/0"} <= set(variables)
    assert live.services["app"].container.exec(["cat", "/tmp/mark"])[0] != 0
    assert live.services["app"].container.exec(["cat", "/data/mark"]) == (0, "y\n")
    assert (live.services["app"].host, live.services["app"].port) == address
    assert live.services["cache"] is cache
    told = {(row.service, row.what) for row in seen if isinstance(row, r.Event)}
    assert {("cache", "killed"), ("cache", "exited"), ("app", "restarted"), ("app", "paused")} <= told
    # One that nobody restarts is started before the next scenario, and a run gone wrong starts all anew.
    live.services["client"].kill()
    live.prepare(environment)
    live.needs_restart = True
    live.prepare(environment)
    assert all(service.alive() for service in live.services.values())
    assert live.services["app"].container.exec(["cat", "/data/made"]) == (0, "once once ")
    # With isolation: fresh the volumes are new, too.
    fresh, _ = session.open(environment, fresh=True)
    assert fresh.services["app"].container.exec(["cat", "/data/made"]) == (0, "once ")


def test_verdicts(team, session, tmp_path):
    """Held and violated as anywhere; logs are in the history; it can be judged again without the Compose file."""
    from chaoskit.engine.run_folder import rejudge

    scenario = tmp_path / "slow.chaos.yaml"
    scenario.write_text(SCENARIO.replace("BOUND", ">= 100ms"))
    held = session.run(*load_scenarios(scenario))
    assert held.verdict.outcome is Outcome.HELD, held.verdict.reason
    (fault,) = held.history.rows(r.Fault)
    assert fault.touched > 0
    assert any("GET /made" in row.line for row in held.history.rows(r.Log) if row.service == "app")
    assert json.loads((held.folder / "run.json").read_text())["runtime"] == "docker"

    scenario.write_text(SCENARIO.replace("BOUND", "< 50ms"))
    violated = session.run(*load_scenarios(scenario))
    assert violated.verdict.outcome is Outcome.VIOLATED, violated.verdict.reason

    (team.parent / "docker-compose.yml").unlink()
    _, verdict, _ = rejudge(held.folder)
    assert verdict.outcome is Outcome.HELD


def test_container_faults_on_several_networks(team, session):
    """Disconnected from all of its networks, and back on all of them under the names that it had."""
    from chaoskit.faults._container import disconnected

    live = started(team, session)
    app = live.services["app"].container
    before = {net: set(its["Aliases"]) for net, its in app.inspect()["NetworkSettings"]["Networks"].items()}
    assert len(before) == 2
    with disconnected(session.journal, app):
        assert app.inspect()["NetworkSettings"]["Networks"] == {}
    after = {net: set(its["Aliases"]) for net, its in app.inspect()["NetworkSettings"]["Networks"].items()}
    assert {net: names | {app.id[:12]} for net, names in after.items()} == {
        net: names | {app.id[:12]} for net, names in before.items()
    }
    wait_for(live.services["app"].ready, what="the application", limit=20, last_seen=live.services["app"].check)
    with socket.create_connection(live.proxied("app"), timeout=5) as one:
        one.sendall(b"GET /made HTTP/1.0\r\n\r\n")
        assert b"200" in one.recv(100)


def test_built_from_several_files(team, tmp_path, each_tool):
    """A build, an external network that a second file makes the run's own, and a second port of a proxied service."""
    (team.parent / "Dockerfile").write_text(
        "FROM python:3.11-slim\nEXPOSE 8000 8001\n"
        'CMD ["sh", "-c", "python3 -m http.server 8001 & exec python3 -m http.server 8000"]\n'
    )
    (team.parent / "docker-compose.yml").write_text(
        "services: {app: {build: {context: .}, networks: [shared]}}\nnetworks: {shared: {external: true}}\n"
    )
    (team.parent / "more.yml").write_text("networks: {shared: {external: false}}\n")
    team.write_text("environment: Built Team\ncompose: [docker-compose.yml, more.yml]\nproxy: [app]\n")
    told: list[str] = []
    session = Session(tmp_path / "reports", note=told.append)
    try:
        live = started(team, session)
        ask = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"
        assert inside(live, "app", ask, "http://app:8000/") == "200\n"
        assert inside(live, "app", ask, "http://app:8001/") == "200\n"
        assert live.toxiproxy.counters()["app"].opened == 1
        assert any(line.startswith("building app with ") for line in told)
    finally:
        session.close()
        daemon.client().images.remove("chaoskit-built-built-team-app", force=True)
    assert left(session.id) == []


def test_two_side_by_side(team, tmp_path):
    """Two runs of one file meet nowhere, though it fixes ports and container names; each ends alone."""
    sessions = [Session(tmp_path / f"reports-{name}", label=name) for name in "ab"]
    with contextlib.ExitStack() as stack:
        for session in sessions:
            stack.callback(session.close)
        threads = [threading.Thread(target=started, args=(team, session)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first, second = (started(team, session) for session in sessions)
        first.services["cache"].kill()
        assert "PONG" in inside(second, "app", PING)
        sessions[0].close()
        assert left(sessions[0].id) == []
        assert "PONG" in inside(second, "app", PING)
        assert all(service.alive() for service in second.services.values())
    assert left(sessions[1].id) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("image: redis:7", "image: redis:7\n    imagen: x", r"(?s)docker-compose.yml cannot be used; .*imagen"),
        ("volumes: {data: {}}", "volumes: {data: {external: true}}", r"volume data is external.*external: false"),
        ("depends_on:\n      app: ", "depends_on:\n      ap: ", r"(?s)docker-compose.yml cannot be used; .*\bap\b"),
        ("networks: [front]\n", "network_mode: host\n", "client says network_mode: host"),
        ("image: redis:7", "image: chaoskit/not-there:1", r"chaoskit/not-there:1 is not on this machine"),
        ("print('set up')", "raise SystemExit('no luck')", r"(?s)setup is a job, and failed: exit status 1.*no luck"),
    ],
)
def test_a_file_that_cannot_be_run(team, session, old, new, says, each_tool):
    """It is told in the Compose tool's own words, or in ours with what to do; what was made is gone."""
    assert old in COMPOSE
    (team.parent / "docker-compose.yml").write_text(COMPOSE.replace(old, new))
    with pytest.raises(ChaosError, match=says):
        started(team, session)
    assert left(session.id) == []


def test_a_host_beyond_that_only_compose_knows_of(team, session, each_tool):
    """What ``extends`` brings is looked at as the tool reads it, before anything is made."""
    base = "services:\n  base: {image: redis:7, environment: {DATABASE_URL: 'postgres://db.prod.example.com/app'}}\n"
    (team.parent / "base.yml").write_text(base)
    text = COMPOSE.replace("image: redis:7", "extends: {file: base.yml, service: base}")
    assert text != COMPOSE
    (team.parent / "docker-compose.yml").write_text(text)
    with pytest.raises(BrokenError, match=r"DATABASE_URL of cache leads to db\.prod\.example\.com .*--chaos-allow db"):
        started(team, session)
    assert left(session.id) == []


def test_a_port_that_nobody_knows(team, session):
    """It must be said for a proxied service; one that is not proxied needs none."""
    team.write_text(ENVIRONMENT.replace("[cache, app]", "[cache, app, client]").replace("{port: 9000}", "{}"))
    with pytest.raises(BrokenError, match=r"client is to be proxied, .* say services: \{client: \{port: NUMBER\}\}"):
        started(team, session)


def test_no_compose_tool(team, session, monkeypatch, tmp_path):
    """What is missing, and how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tool.command.cache_clear()
    try:
        with pytest.raises(BrokenError, match=r"neither `docker compose` nor `docker-compose` is there: install"):
            started(team, session)
    finally:
        tool.command.cache_clear()
