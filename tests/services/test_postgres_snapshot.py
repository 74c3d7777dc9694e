"""What a PostgreSQL server held is there again, exactly, beneath the sessions that are open."""

from __future__ import annotations

import random
import time

import psycopg
import pytest

from chaoskit.base.errors import BrokenError, NotRestorable
from chaoskit.services import postgres_snapshot
from chaoskit.services.postgres_snapshot import PostgresSnapshot

SCHEMA = r"""
create schema "Other One";
create table schema_migrations (version int);
create table users (id int generated always as identity primary key, boss int references users, name text,
    at timestamptz, raw bytea, upper text generated always as (upper(name)) stored);
create table "Other One"."Order Lines" (id serial primary key, who int not null references users on delete cascade,
    price numeric, ratio float8, tags text[], doc jsonb, took interval);
create table audit (line text);
create function note() returns trigger language plpgsql as
    $$ begin insert into public.audit values (tg_op || ' ' || tg_table_name); return null; end $$;
create trigger noted after insert or update or delete on users for each statement execute function note();
create trigger emptied after truncate on users for each statement execute function note();
create sequence numbers start 5 increment 3 cache 10;
create table gone_column (a int, dropped int, b text default 'b');
alter table gone_column drop column dropped;
create table nothing ();
insert into schema_migrations values (1), (2);
insert into users (boss, name, at, raw) values
    (null, 'Ada', '2026-01-02 03:04:05.678901+02', '\x00ff'), (1, E'tab\tline\nback\\slash', 'infinity', null);
insert into "Other One"."Order Lines" (who, price, ratio, tags, doc, took) values
    (1, 1.10, 0.1, '{a,"b,c"}', '{"a": [1, null]}', '1 month -2 days 00:00:03.5'),
    (2, 'NaN', '-infinity', null, null, null);
insert into gone_column (a) values (1);
insert into nothing default values;
"""

TABLES = ["schema_migrations", "users", '"Other One"."Order Lines"', "audit", "gone_column", "nothing"]


@pytest.fixture
def server(bench):
    """An empty one."""
    service = bench.make("db", provider="postgres", args={"keep": ["kept", "app.kept_too"]})
    service.start()
    return service


def execute(service, sql, database=""):
    """Run statements as a service would."""
    with psycopg.connect(service.url(), autocommit=True, **({"dbname": database} if database else {})) as connection:
        connection.execute(sql)


def content(service, tables=TABLES):
    """All rows as text, and all sequences, as a client sees them."""
    rows = {table: sorted(map(str, service.read(f"select t::text from {table} t"))) for table in tables}
    names = [
        name for (name,) in service.read("select oid::regclass::text from pg_class where relkind = 'S' order by 1")
    ]
    return rows, {name: service.read(f"select last_value, is_called from {name}") for name in names}


def test_all_that_was_there_is_there_again(server):
    """Rows of every type, keys that are drawn, sequences; triggers and foreign keys take no part. Often."""
    execute(server, SCHEMA)
    was, snapshot = content(server), server.snapshot()
    for statements in (
        "insert into users (name) select 'more' from generate_series(1, 300); select nextval('numbers')",
        "update users set name = 'x' where id = 1; delete from gone_column; select setval('users_id_seq', 77)",
        "delete from users",
        "truncate users, schema_migrations cascade",
        'insert into "Other One"."Order Lines" (who) values (2); insert into nothing default values',
        "select nextval('numbers'); insert into audit values ('by hand'); update gone_column set b = null",
        "",
    ):
        execute(server, statements)
        server.restore(snapshot)
        assert content(server) == was, statements
        assert server.snapshot() == snapshot
    execute(server, "insert into users (name) values ('next')")
    assert server.read("select id, upper from users where name = 'next'") == [[3, "NEXT"]]


def test_other_rows_in_the_same_places(server):
    """As many of them, where the old ones lay."""
    execute(server, "create table t (n int); insert into t values (1), (2)")
    was, snapshot = content(server, ["t"]), server.snapshot()
    places = server.read("select ctid::text from t")
    execute(server, "delete from t")
    execute(server, "vacuum t")
    execute(server, "insert into t values (3), (4)")
    assert server.read("select ctid::text from t") == places
    server.restore(snapshot)
    assert content(server, ["t"]) == was


def test_whatever_is_done_is_undone(server):
    """Random statements on tables that refer to each other, in a circle too; some fail, which is as good."""
    execute(
        server,
        "create table a (id int primary key, b int); create table b (id int primary key, a int references a);"
        "create table c (id int references b primary key); create table kept (id int references a);"
        "create table d (id int primary key, c int references c on delete set null);"
        "alter table a add foreign key (b) references b deferrable initially deferred;"
        "begin; insert into a select n, n from generate_series(1, 9) n;"
        "insert into b select n, n from generate_series(1, 9) n; commit;"
        " insert into c select n from generate_series(1, 5) n; insert into d values (1, 1), (2, null)",
    )
    tables = ["a", "b", "c", "d"]
    was, snapshot = content(server, tables), server.snapshot()
    draw = random.Random(12)
    for _ in range(40):
        statements = [
            draw.choice(
                [
                    "delete from {t} where id = {n}",
                    "insert into {t} (id) values ({n})",
                    "update {t} set id = id where id > {n}",
                    "truncate {t} cascade",
                    "truncate {t}",
                ]
            ).format(t=draw.choice(tables), n=draw.randint(1, 12))
            for _ in range(draw.randint(1, 5))
        ]
        with psycopg.connect(server.url(), autocommit=True) as connection:
            for statement in statements:
                try:
                    connection.execute(statement)
                except psycopg.Error:
                    continue
        server.restore(snapshot)
        assert content(server, tables) == was, statements


def test_sessions_and_prepared_statements_stay(server):
    """A pool keeps its connections; what a session has drawn in advance from a sequence is thrown away."""
    execute(server, SCHEMA)
    snapshot = server.snapshot()
    with psycopg.connect(server.url(), autocommit=True, prepare_threshold=0) as session:
        who = session.execute("select pg_backend_pid()").fetchone()
        count = "select count(*) from users where id > %s"
        assert session.execute(count, [0]).fetchone() == (2,)
        drawn = session.execute("select nextval('numbers')").fetchone()
        session.execute("insert into users (name) values ('x')")
        server.restore(snapshot)
        assert session.execute(count, [0]).fetchone() == (2,)
        assert session.execute("select nextval('numbers')").fetchone() == drawn
        assert session.execute("select pg_backend_pid()").fetchone() == who


def test_what_nobody_wrote_to_is_left_alone(server):
    """No lock is taken on it, so that a long query of a service is in nobody's way, and its file stays."""
    execute(server, SCHEMA)
    snapshot = server.snapshot()
    file = server.read("select pg_relation_filenode('users')")
    execute(server, "insert into schema_migrations values (3)")
    with psycopg.connect(server.url()) as session:
        session.execute("lock table users in access exclusive mode")
        session.execute("lock table gone_column in row exclusive mode")
        session.rollback()
        session.execute("select * from users")
        server.restore(snapshot)
    assert server.read("select version from schema_migrations") == [[1], [2]]
    assert server.read("select pg_relation_filenode('users')") == file


def test_a_locked_table_is_told(server):
    """A session left over by a service holds it; nobody waits for ever."""
    execute(server, SCHEMA)
    snapshot = server.snapshot()
    execute(server, "delete from audit")
    with psycopg.connect(server.url()) as session:
        session.execute("lock table audit")
        session.execute("insert into audit values ('x')")
        with pytest.raises(BrokenError, match=r"db: its rows could not be brought back: .*lock timeout"):
            server.restore(snapshot)


def test_tables_to_keep(server):
    """By name, or by schema and name; with what refers to them, what they refer to, and their own numbers."""
    execute(
        server,
        "create schema app; create table parent (id int primary key);"
        "create table kept (id serial, p int references parent);"
        "create table app.kept_too (n int); create table kept_too (n int); insert into parent values (1), (2)",
    )
    snapshot = server.snapshot()
    execute(
        server,
        "insert into kept (p) values (1); insert into app.kept_too values (1); insert into kept_too values (1);"
        "insert into parent values (3); delete from parent where id = 2; alter table kept add column more int;"
        "drop table app.kept_too; create table app.kept_too (n text)",
    )
    server.restore(snapshot)
    assert server.read("select id from parent order by 1") == [[1], [2]]
    assert server.read("select id, p from kept") == [[1, 1]]
    assert server.read("select n from kept_too") == []
    execute(server, "insert into kept (p) values (2)")
    assert server.read("select max(id) from kept") == [[2]]


def test_partitions_and_inheritance(server):
    """Each part by itself, also where something refers to the whole."""
    execute(
        server,
        "create table events (id int, day int, primary key (id, day)) partition by list (day);"
        "create table events_1 partition of events for values in (1);"
        "create table events_2 partition of events for values in (2) partition by range (id);"
        "create table events_2a partition of events_2 for values from (0) to (100);"
        "create table notes (id int, day int, foreign key (id, day) references events) partition by list (day);"
        "create table notes_1 partition of notes for values in (1, 2);"
        "create table parent (n int); create table child (m int) inherits (parent);"
        "insert into events values (1, 1), (2, 2); insert into notes values (1, 1), (2, 2);"
        "create table logs (id int primary key) partition by range (id);"
        "create table logs_1 partition of logs for values from (0) to (10);"
        "create table logs_2 partition of logs for values from (10) to (20);"
        "create table marks (id int references logs);"
        "insert into logs values (1), (11); insert into marks values (1), (11);"
        "insert into parent values (1); insert into child values (2, 2)",
    )
    tables = ["events", "notes", "logs", "marks", "only parent", "child"]
    was, snapshot = content(server, tables), server.snapshot()
    for statements in (
        "insert into events values (3, 1), (4, 2); update parent set n = 9",
        "delete from notes; delete from events where day = 2; truncate parent",
        "truncate events cascade",
        "insert into logs values (2)",
        "delete from marks where id = 1; delete from logs where id = 1",
        "truncate logs cascade",
        "truncate child; insert into notes values (1, 1)",
    ):
        execute(server, statements)
        server.restore(snapshot)
        assert content(server, tables) == was, statements


def test_all_databases_of_the_server(server):
    """Those that a service made before it was ready too; one that came later is another schema."""
    execute(server, "create database more")
    execute(server, "create table t (n int); insert into t values (1)", "more")
    snapshot = server.snapshot()
    execute(server, "insert into t values (2)", "more")
    server.restore(snapshot)
    with psycopg.connect(server.url(), dbname="more") as connection:
        assert connection.execute("select n from t").fetchall() == [(1,)]
    execute(server, "create database later")
    with pytest.raises(NotRestorable, match="database later is new"):
        server.restore(snapshot)


CHANGES = [
    ("create table late (n int)", "schema than when the services were ready: table public.late is new; column"),
    ("alter table users add column more int", "column public.users.more integer f is new"),
    ("alter table audit alter line set not null", "line text t is new"),
    ("drop table audit cascade", "table public.audit is gone"),
    ("alter table audit rename to log", "table public.log is new"),
    ("create index late on users (name)", "CREATE INDEX late"),
    ("alter table audit add constraint c check (line <> '')", "constraint c of public.audit"),
    ("create view late as select 1", "view public.late"),
    ("create type late as enum ('a')", "type public.late value a"),
    ("create or replace function note() returns trigger language plpgsql as 'begin end'", "function public.note"),
    ("alter table users disable trigger noted", "noted"),
    ("alter sequence numbers increment 4", "limits of sequence public.numbers"),
    ("create schema late", "schema late is new"),
    ("create sequence late", "sequence public.late is new"),
    ("refresh materialized view seen", "materialized view public.seen was refreshed"),
]


def test_another_schema_is_told(server):
    """Rows alone do not bring that back; nothing is tried."""
    for statement, told in CHANGES:
        execute(server, 'drop schema if exists "Other One", late, public cascade; create schema public')
        execute(server, f"{SCHEMA}; create materialized view seen as select count(*) from users")
        snapshot = server.snapshot()
        execute(server, f"insert into users (name) values ('x'); {statement}")
        with pytest.raises(NotRestorable, match="db") as raised:
            server.restore(snapshot)
        assert told in str(raised.value)
        assert len(server.read("select id from users")) == 3


def test_what_is_made_again_as_it_was_is_no_other_schema(server):
    """Migrations at each start of a service do that."""
    execute(server, SCHEMA)
    was, snapshot = content(server), server.snapshot()
    execute(
        server,
        "drop table audit; create table audit (line text); drop trigger noted on users;"
        "create trigger noted after insert or update or delete on users for each statement execute function note();"
        "create temp table mine (n int); analyze",
    )
    execute(server, "vacuum full")
    server.restore(snapshot)
    assert content(server) == was


def test_a_killed_server_gives_back_what_is_not_logged(server):
    """Recovery empties unlogged tables."""
    execute(server, "create unlogged table cache (n int); insert into cache values (1)")
    snapshot = server.snapshot()
    server.kill()
    server.start()
    assert server.read("select n from cache") == []
    server.restore(snapshot)
    assert server.read("select n from cache") == [[1]]


def test_too_much_is_told(server, monkeypatch):
    """With the largest tables, and what to do."""
    monkeypatch.setattr(postgres_snapshot, "SNAPSHOT_LIMIT", 1_000_000)
    execute(
        server,
        "create table small (n int); create table huge as select n, repeat('x', 100) from generate_series(1, 20000) n;"
        "create table kept as select * from huge; insert into small values (1)",
    )
    with pytest.raises(
        BrokenError, match=r"(?s)db holds more than 1MB .* of shop: public\.huge .*MB, public\.small .*keep"
    ):
        server.snapshot()
    execute(server, "delete from huge where n > 5000")
    snapshot = server.snapshot()
    execute(server, "delete from huge")
    server.restore(snapshot)
    assert server.read("select count(*) from huge") == [[5000]]


def test_it_takes_a_superuser(server):
    """Another user is told, before anything is rehearsed."""
    execute(server, "create role app login password 'app'")
    place = f"host={server.host} port={server.port} user=app password=app"
    with pytest.raises(BrokenError, match=r"db: what it holds could not be noted: .*superuser.*reset: none"):
        PostgresSnapshot.take("db", lambda name: psycopg.connect(place, dbname=name or "shop", autocommit=True), [])


def test_it_is_quick(server):
    """Many scenarios are run: little data, and little that was written, costs little time (60 ms when idle)."""
    for number in range(30):
        execute(
            server, f"create table t{number} (id serial primary key, n text); insert into t{number} (n) values ('a')"
        )
    snapshot = server.snapshot()
    took = []
    for _ in range(5):
        for number in range(6):
            execute(server, f"insert into t{number} (n) select 'x' from generate_series(1, 500)")
        before = time.monotonic()
        server.restore(snapshot)
        took.append(time.monotonic() - before)
    assert min(took) < 0.5, took


def test_reset_none(bench):
    """Data stays for those who want it."""
    service = bench.make("db", provider="postgres", args={"reset": "none"})
    service.start()
    assert service.snapshot() is None
