"""The tables, and how a file of an earlier version becomes one of this version. ``PRAGMA user_version`` tells which."""

from __future__ import annotations

import contextlib
import sqlite3

from chaoskit.base.errors import ChaosError

# Each entry leads from the version of its index to the next; what has been released is never edited, only followed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            started REAL NOT NULL,      -- Unix time
            wall REAL NOT NULL,         -- seconds from the first scenario's start to the last one's end
            score REAL,                 -- NULL: nothing was run
            revision TEXT NOT NULL,     -- git commit, or empty
            branch TEXT NOT NULL,
            folders TEXT NOT NULL       -- JSON list; several with xdist
        )
        """,
        "CREATE INDEX runs_by_start ON runs (started)",
        """
        CREATE TABLE scenarios (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            key TEXT NOT NULL,          -- pytest's node id
            control INTEGER NOT NULL,
            severity TEXT NOT NULL,
            outcome TEXT NOT NULL,
            recovery REAL,              -- seconds
            data TEXT NOT NULL,         -- JSON: Recorded, without the rows behind its findings
            PRIMARY KEY (run, key)
        )
        """,
        "CREATE INDEX scenarios_by_key ON scenarios (key)",
    ),
    # What the gate said of the run (passed, blocked; empty: it was not asked), and the CI job's page.
    (
        "ALTER TABLE runs ADD COLUMN gate TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN url TEXT NOT NULL DEFAULT ''",
    ),
)
VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the file; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_schema(connection: sqlite3.Connection) -> None:
    """That the tables are ours: a view or a trigger in their place would be a program that we run.

    Raises ValueError.
    """
    ours = sqlite3.connect(":memory:", isolation_level=None)
    with contextlib.closing(ours):
        migrate(ours, "")
        wanted = dict(ours.execute("SELECT name, sql FROM sqlite_master").fetchall())
    found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    for kind, name, sql in found:
        if kind not in ("table", "index") or sql != wanted.get(name, sql) or str(sql).startswith("CREATE VIRTUAL"):
            raise ValueError(f"the {kind} {name} is not ours")
    if missing := wanted.keys() - {name for _, name, _ in found}:
        raise ValueError(f"{min(missing)} is missing")


def migrate(connection: sqlite3.Connection, file: object) -> None:
    """Bring the file to :data:`VERSION`, all or nothing; other processes wait.

    Raises ChaosError for a file that a newer chaoskit has written.
    """
    if version_of(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = version_of(connection)  # another process may have been faster
        if found > VERSION:
            raise ChaosError(
                f"{file} was written by a newer chaoskit (version {found} of the schema, this one knows {VERSION}): "
                "upgrade chaoskit, or give another --reports folder"
            )
        for step in MIGRATIONS[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
