"""PostgreSQL in a Compose project: recognised by its image or variables, and read as these say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chaoskit.base.errors import BrokenError
from chaoskit.language.compose import SqlSpec
from chaoskit.services.docker.compose.rewrite import Facts

if TYPE_CHECKING:
    import psycopg

_MARKS = ("POSTGRES_INITDB_ARGS", "POSTGRES_HOST_AUTH_METHOD")


def is_postgres(facts: Facts, sql: SqlSpec) -> bool:
    """By its image's name, by the variables that nobody else has, or because somebody says how to read it."""
    told = any(mark in facts.environment for mark in _MARKS)
    return told or _image(facts) == "postgres" or bool(sql.model_fields_set)


def is_redis(facts: Facts) -> bool:
    """By its image's name."""
    return _image(facts) in ("redis", "valkey")


def url(place: str, facts: Facts, sql: SqlSpec) -> str:
    """``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``."""
    user = sql.user or facts.environment.get("POSTGRES_USER", "postgres")
    password = sql.password if sql.password is not None else facts.environment.get("POSTGRES_PASSWORD", "")
    database = sql.database or facts.environment.get("POSTGRES_DB", user)
    secret = f":{quote(password, safe='')}" if password else ""
    return f"postgresql://{quote(user, safe='')}{secret}@{place}/{quote(database, safe='')}"


def read(name: str, place: str, sql: str) -> list[list[Any]]:
    """The rows of a query. Raises BrokenError."""
    psycopg = _driver(name)
    try:
        with connect(name, place) as connection:
            connection.execute("set statement_timeout = '10s'")
            return [list(row) for row in connection.execute(sql.encode()).fetchall()]
    except psycopg.Error as error:
        raise BrokenError(f"{name}: {sql}: {error}") from error


@contextlib.contextmanager
def connect(name: str, place: str, database: str = "") -> Iterator[psycopg.Connection[Any]]:
    """A connection to ``place``, or to another database there. Raises the driver's errors."""
    other = {"dbname": database} if database else {}
    with _driver(name).connect(place, connect_timeout=5, autocommit=True, **other) as connection:
        yield connection


def _driver(name: str) -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise BrokenError(f"reading {name} needs psycopg: pip install 'chaoskit[demo]' ({error})") from error
    return psycopg


def _image(facts: Facts) -> str:
    return facts.image.rpartition("/")[2].partition(":")[0].partition("@")[0]
