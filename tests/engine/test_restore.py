"""Between scenarios an environment holds exactly what it held when its services were ready; before the first, too."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
import redis

from chaoskit.base.errors import BrokenError
from chaoskit.engine.session import Session
from chaoskit.judge.verdict import Outcome
from chaoskit.language.environments import changed, load_environment
from chaoskit.language.loader import load as load_scenarios
from chaoskit.language.model import ServiceChange
from chaoskit.services import postgres_snapshot

SERVICE = '''
"""Migrates as every tool does, with a table of its own; then answers. SEED is one more row that it makes at a start."""
import http.server, os, pathlib, threading, time
import psycopg

def migrate():
    time.sleep(float(os.environ.get("LATE", "0")))
    with psycopg.connect(os.environ["DB"]) as db:
        db.execute("create table if not exists schema_migrations (version int)")
        if not db.execute("select from schema_migrations").fetchall():
            db.execute("create table accounts (id int primary key, name text)")
            db.execute("insert into accounts values (1, 'seeded')")
            db.execute("insert into schema_migrations values (1)")
        if "SEED" in os.environ:
            db.execute("insert into accounts values (%s, 'more') on conflict do nothing", [os.environ["SEED"]])
        if "MORE" in os.environ:
            db.execute("create table if not exists more (n int)")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def do_POST(self):
        with psycopg.connect(os.environ["DB"]) as db:
            db.execute("insert into accounts values (99, 'told to forget')")
        pathlib.Path("asked").open("a").write(self.path)
        self.do_GET()
    def log_message(self, *_): pass

if "LATE" in os.environ:
    threading.Thread(target=migrate).start()
else:
    migrate()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

ENVIRONMENT = """
environment: bank
services:
  postgres: {provider: postgres, args: {database: bank}}
  redis: {provider: redis}
  web:
    command: [python, service.py]
    protocol: http
    restart: on-failure
    env: {DB: "{{ postgres.url }}"}
"""

SCENARIO = """
scenario: A service that migrates its schema at start comes back after a kill
environment: bank
traffic: {get: {request: "GET {{ web.url }}/", rate: 20/s}}
steady_state: {get: {success_rate: ">= 95%"}}
timeline:
  steady: 1s
  faults: [{k: {kill: {service: web}, at: 0s, for: 1s}}]
  recovery: 5s
"""

SEEDED = [(1, "seeded")]


@pytest.fixture
def environment(tmp_path):
    """Its file, loaded."""
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "bank.yaml").write_text(ENVIRONMENT)
    return load_environment(tmp_path / "bank.yaml")


@pytest.fixture
def notes():
    """What the session told."""
    return []


@pytest.fixture
def session(tmp_path, notes):
    """Ended after the test."""
    made = Session(tmp_path / "reports", runtime="process", note=notes.append)
    yield made
    made.close()


@contextlib.contextmanager
def database(live):
    """A connection of the test's own."""
    with psycopg.connect(live.service("postgres").url(), autocommit=True) as connection:
        yield connection


def accounts(live):
    """What is in the table that was migrated; the migration tool's own must be as it was, too."""
    with database(live) as connection:
        assert connection.execute("select version from schema_migrations").fetchall() == [(1,)]
        return connection.execute("select id, name from accounts order by 1").fetchall()


def spoil(live):
    """As a scenario does."""
    with database(live) as connection:
        connection.execute("update accounts set name = 'spoilt'; insert into accounts values (7, 'new')")
    with redis.Redis.from_url(live.service("redis").url()) as client:
        client.set("left", "over")


def test_a_service_that_migrates_comes_back_in_every_scenario(tmp_path, environment, session):
    """A kill makes it migrate again: its tool must find what it wrote. The second scenario finds what the first did."""
    file = tmp_path / "a.chaos.yaml"
    file.write_text(SCENARIO)
    (tmp_path / "environments").mkdir()
    environment.source.file.rename(tmp_path / "environments" / "bank.yaml")
    (tmp_path / "environments" / "service.py").symlink_to(tmp_path / "service.py")
    (scenario,) = load_scenarios(file)
    for _ in range(2):
        result = session.run(scenario)
        assert result.verdict.outcome is Outcome.HELD, result.verdict
        live, _ = session.open(scenario.environment)
        assert accounts(live) == SEEDED
        spoil(live)


def test_first_and_between(environment, session, notes):
    """Nothing is emptied before the first scenario; then all comes back, and nothing is started for it."""
    live, _, started = session.prepare(environment, environment)
    assert started
    assert accounts(live) == SEEDED
    pids = {name: service.pid for name, service in live.services.items()}
    for _ in range(2):
        spoil(live)
        assert session.prepare(environment, environment)[2] is False
        assert accounts(live) == SEEDED
        with redis.Redis.from_url(live.service("redis").url()) as client:
            assert client.dbsize() == 0
    assert {name: service.pid for name, service in live.services.items()} == pids
    assert notes == []


def test_reset_requests_come_between_scenarios_and_before_the_data(environment, session, tmp_path):
    """What a service writes because it is told to forget is not there afterwards; before the first it is not told."""
    environment.source.file.write_text(
        ENVIRONMENT.replace("protocol: http", "protocol: http\n    reset: [POST /reset]")
    )
    environment = load_environment(environment.source.file)
    live, _, _ = session.prepare(environment, environment)
    assert not (tmp_path / "asked").exists()
    session.prepare(environment, environment)
    assert (tmp_path / "asked").read_text() == "/reset"
    assert accounts(live) == SEEDED


def test_after_a_scenario_that_failed(environment, session):
    """The service is started anew, on what was there first."""
    live, _, _ = session.prepare(environment, environment)
    pid = live.service("web").pid
    spoil(live)
    session.mark_for_restart(environment)
    assert session.prepare(environment, environment)[2] is True
    assert live.service("web").pid != pid
    assert accounts(live) == SEEDED
    spoil(live)
    session.prepare(environment, environment)
    assert accounts(live) == SEEDED


def test_what_a_changed_service_prepares_is_its_own(environment, session, notes):
    """It stays while the service does, and is gone with it."""
    more = changed(environment, {"web": ServiceChange(env={"SEED": "2"})})
    live, _, _ = session.prepare(environment, more)
    assert accounts(live) == [*SEEDED, (2, "more")]
    spoil(live)
    session.prepare(environment, more)
    assert accounts(live) == [*SEEDED, (2, "more")]
    spoil(live)
    session.prepare(environment, environment)
    assert accounts(live) == SEEDED
    session.prepare(environment, more)
    assert accounts(live) == [*SEEDED, (2, "more")]
    assert notes == []


def test_another_schema_starts_the_environment_anew(environment, session, notes):
    """Rows alone would not bring back what was there; that is told."""
    first, _, _ = session.prepare(environment, environment)
    with database(first) as connection:
        connection.execute("create table late (n int)")
    second, _, started = session.prepare(environment, environment)
    assert second is not first
    assert started
    assert accounts(second) == SEEDED
    assert notes == [
        "bank is started anew: postgres has another schema than when the services were ready: "
        "table public.late is new; column public.late.n integer f is new"
    ]


def test_a_changed_service_with_another_schema(environment, session, notes):
    """Its tables are its own, too."""
    more = changed(environment, {"web": ServiceChange(env={"MORE": "1"})})
    live, _, _ = session.prepare(environment, more)
    session.prepare(environment, more)
    assert notes == []
    live, _, _ = session.prepare(environment, environment)
    assert "table public.more is new" in notes[0]
    with database(live) as connection:
        assert connection.execute("select to_regclass('more')::text").fetchone() == (None,)
    assert accounts(live) == SEEDED


def test_a_changed_store_is_filled_anew(environment, session):
    """It and the services start with nothing; so it is on the way back. What others hold is as it was first."""
    other = changed(
        environment, {"postgres": ServiceChange(args={"max_connections": 30}), "web": ServiceChange(env={"SEED": "2"})}
    )
    live, _, _ = session.prepare(environment, environment)
    spoil(live)
    session.prepare(environment, other)
    assert accounts(live) == [*SEEDED, (2, "more")]
    spoil(live)
    session.prepare(environment, changed(environment, {"postgres": ServiceChange(args={"max_connections": 30})}))
    live, _ = session.open(environment)
    assert accounts(live) == SEEDED


def test_a_store_that_died(environment, session):
    """What it lost, or kept, is again what was there first."""
    live, _, _ = session.prepare(environment, environment)
    spoil(live)
    live.service("redis").kill()
    live.service("postgres").kill()
    assert session.prepare(environment, environment)[2] is True
    assert accounts(live) == SEEDED
    assert live.service("redis").alive()


def test_what_is_prepared_behind_an_open_port(environment, session, notes):
    """Ready says little: what is written shortly after belongs to what was there."""
    late = environment.source.file
    late.write_text(ENVIRONMENT.replace("env: {", 'env: {LATE: "0.2", '))
    environment = load_environment(late)
    for _ in range(2):
        live, _, _ = session.prepare(environment, environment)
        assert accounts(live) == SEEDED
        spoil(live)
    assert notes == []


def test_too_much_is_broken(environment, session, monkeypatch):
    """At the start, with what to do; nothing is left running."""
    monkeypatch.setattr(postgres_snapshot, "SNAPSHOT_LIMIT", 10)
    with pytest.raises(BrokenError, match=r"postgres holds more than 10B when its services are ready.*keep"):
        session.prepare(environment, environment)
    with pytest.raises(BrokenError, match="could not be started before: postgres holds more"):
        session.prepare(environment, environment)
