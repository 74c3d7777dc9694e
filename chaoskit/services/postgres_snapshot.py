"""What a PostgreSQL server holds, taken once and brought back in place: rows and sequences, beneath open sessions.

Clients keep their connections and prepared statements: no table, database or session of theirs is ended. Only tables
with another content are written. What rows alone cannot bring back (another schema) is told, and not tried.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaoskit.base.errors import BrokenError, NotRestorable
from chaoskit.base.units import format_size
from chaoskit.services.base import SNAPSHOT_LIMIT

if TYPE_CHECKING:
    import psycopg

    Connect = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]
    """Gives a connection to a database of the server; its name may be empty, for the one that services use."""

_CHANGES_TOLD = 3

_DATABASES = "select datname from pg_database where datallowconn and not datistemplate order by 1"

# Text looks the same whatever a role or database of the team's says.
_SETTINGS = """
set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; set local bytea_output = 'hex';
set local extra_float_digits = 1; set local synchronize_seqscans = off; set local statement_timeout = '60s';
set local lock_timeout = '3s'; set local session_replication_role = replica
"""

_MINE = """
with mine as (
    select c.*, n.nspname, format('%%I.%%I', n.nspname, c.relname) as its from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
    and not c.relname = any(%(keep)s) and not n.nspname || '.' || c.relname = any(%(keep)s)
    and not exists (
        select from pg_depend d join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace
        where c.relkind = 'S' and d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
        and d.refclassid = 'pg_class'::regclass
        and (t.relname = any(%(keep)s) or tn.nspname || '.' || t.relname = any(%(keep)s))
    )
)
"""
"""Relations but those to keep and their sequences."""

# By names and definitions, not by oids: what is made again as it was is no change.
_SCHEMA = f"""{_MINE}
, kinds (relkind, kind) as (values
    ('r'::"char", 'table'), ('p', 'table'), ('f', 'foreign table'), ('v', 'view'), ('m', 'materialized view'),
    ('S', 'sequence'))
select 1, kind || ' ' || its || case when relkind in ('v', 'm') then ' ' || pg_get_viewdef(mine.oid) else '' end
    from mine join kinds using (relkind)
union all select 2, format('column %%s.%%I %%s %%s %%s %%s%%s', its, attname, format_type(atttypid, atttypmod),
        attnotnull, pg_get_expr(adbin, adrelid), attidentity, attgenerated)
    from mine join pg_attribute on attrelid = mine.oid left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where relkind in ('r', 'p', 'f') and attnum > 0 and not attisdropped
union all select 3, format('constraint %%I of %%s %%s', conname, its, pg_get_constraintdef(k.oid))
    from mine join pg_constraint k on conrelid = mine.oid
union all select 3, pg_get_indexdef(indexrelid) from mine join pg_index on indrelid = mine.oid
union all select 3, pg_get_triggerdef(t.oid) || ' ' || tgenabled::text from mine join pg_trigger t on tgrelid = mine.oid
    where not tgisinternal
union all select 3, format('limits of sequence %%s %%s', its,
        (seqtypid, seqstart, seqincrement, seqmax, seqmin, seqcycle))
    from mine join pg_sequence on seqrelid = mine.oid
union all select 0, format('schema %%I', nspname) from pg_namespace where nspname !~ '^pg_'
union all select 0, format('extension %%I %%s', extname, extversion) from pg_extension
union all select 3, format('type %%I.%%I value %%s %%s', nspname, typname, enumlabel,
        rank() over (partition by enumtypid order by enumsortorder))
    from pg_enum join pg_type t on t.oid = enumtypid join pg_namespace n on n.oid = typnamespace
union all select 3, format('function %%I.%%I(%%s) %%s', nspname, proname, pg_get_function_identity_arguments(p.oid),
        md5(prosrc))
    from pg_proc p join pg_namespace n on n.oid = pronamespace
    where nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_(toast|temp)'
order by 1, 2
"""  # noqa: S608  # one text of ours in another

_TABLES = f"""{_MINE}
select its, relkind::text, string_agg(quote_ident(attname), ', ' order by attnum) filter (where attgenerated = ''),
    pg_table_size(mine.oid)
from mine left join pg_attribute on attrelid = mine.oid and attnum > 0 and not attisdropped
where relkind in ('r', 'm') group by 1, 2, mine.oid order by 1
"""  # noqa: S608  # one text of ours in another

_SEQUENCES = f"{_MINE} select its from mine where relkind = 'S' order by 1"  # noqa: S608  # the same

# What refers to partitions has a constraint for each of them, too.
_REFERRERS = """
select format('%%I.%%I', n.nspname, c.relname), format('%%I.%%I', rn.nspname, r.relname)
from pg_constraint k join pg_class c on c.oid = confrelid join pg_namespace n on n.oid = c.relnamespace
join pg_class r on r.oid = conrelid join pg_namespace rn on rn.oid = r.relnamespace where contype = 'f'
"""

Fingerprint = tuple[int, Any]
"""Of a table's content: how many versions of rows can be seen, and a sum over their places and transactions.

A version never changes: who writes makes another one.
"""


@dataclass
class _Table:
    columns: str
    rows: bytes
    fingerprint: Fingerprint


@dataclass
class _Database:
    schema: Sequence[str]
    tables: Mapping[str, _Table]
    views: Mapping[str, Fingerprint]
    sequences: Mapping[str, tuple[int, bool]]


class PostgresSnapshot:
    """All databases of a server at one moment, but for the tables to ``keep`` (``table`` or ``schema.table``).

    Equal to another when nothing was written between the two. It is held in memory, so its size is limited.
    Not in it: large objects, roles, settings, and what foreign tables lead to.
    """

    def __init__(self, databases: Mapping[str, _Database], keep: Sequence[str]) -> None:
        self._databases = databases
        self._keep = keep

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PostgresSnapshot) and self._marks() == other._marks()

    __hash__ = None  # type: ignore[assignment]  # restoring changes what it compares by

    @classmethod
    def take(cls, name: str, connect: Connect, keep: Sequence[str]) -> PostgresSnapshot:
        """What the server of the service ``name`` holds.

        Raises BrokenError when that is more than 64 MB, or the user may not do what it takes to bring it back.
        """
        with _told(name, "what it holds could not be noted"):
            left = SNAPSHOT_LIMIT
            found = {}
            for database in _databases(connect):
                found[database], left = _take(name, connect, database, keep, left)
            return cls(found, keep)

    def restore(self, name: str, connect: Connect) -> None:
        """Bring it back, in one transaction for each database.

        Raises NotRestorable when rows are not all that has changed; BrokenError when a table is locked for 3 s.
        """
        with _told(name, "its rows could not be brought back"):
            _refuse_changes(name, self._databases, _databases(connect), "database ")
            for database, was in self._databases.items():
                with _transaction(connect, database) as connection:
                    _restore(name, connection, was, self._keep)

    def _marks(self) -> Any:
        return {
            name: (its.schema, {key: table.fingerprint for key, table in its.tables.items()}, its.views, its.sequences)
            for name, its in self._databases.items()
        }


@contextlib.contextmanager
def _told(name: str, what: str) -> Iterator[None]:
    """Translate errors of the driver."""
    import psycopg  # what connects has found it

    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise BrokenError(
            f"{name}: {what}: {' '.join(str(error).split())}; it takes a superuser, so that triggers and foreign keys "
            "wait meanwhile: name one, or say reset: none"
        ) from error
    except psycopg.Error as error:
        raise BrokenError(f"{name}: {what}: {error}") from error


@contextlib.contextmanager
def _transaction(connect: Connect, database: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database) as connection, connection.transaction():
        connection.execute(_SETTINGS)
        yield connection


def _databases(connect: Connect) -> list[str]:
    with connect("") as connection:
        return [name for (name,) in connection.execute(_DATABASES)]


def _take(name: str, connect: Connect, database: str, keep: Sequence[str], left: int) -> tuple[_Database, int]:
    """A database, and how many bytes of the limit are left after it."""
    with _transaction(connect, database) as connection:
        connection.execute("set transaction isolation level repeatable read")
        found = connection.execute(_TABLES, {"keep": keep}).fetchall()
        marks = _fingerprints(connection, [its for its, *_ in found])
        tables = {}
        for its, kind, columns, _ in found:
            if kind == "r":
                rows = _copy(connection, its, columns, left)
                if rows is None:
                    raise BrokenError(_too_much(name, database, [(its, size) for its, _, _, size in found]))
                left -= len(rows)
                tables[its] = _Table(columns or "", rows, marks[its])
        views = {its: marks[its] for its, kind, *_ in found if kind == "m"}
        return _Database(_schema(connection, keep), tables, views, _sequences(connection, keep)), left


def _copy(connection: psycopg.Connection[Any], table: str, columns: str | None, limit: int) -> bytes | None:
    """All rows of a table; None when they are more than ``limit`` bytes."""
    pieces, size = [], 0
    with connection.cursor() as cursor, cursor.copy(_sql(f"copy {table}{_listed(columns)} to stdout")) as copy:
        for piece in copy:
            size += len(piece)
            if size > limit:
                return None
            pieces.append(bytes(piece))
    return b"".join(pieces)


def _too_much(name: str, database: str, sizes: Sequence[tuple[str, int]]) -> str:
    largest = sorted(sizes, key=lambda one: -one[1])[:_CHANGES_TOLD]
    told = ", ".join(f"{its} {format_size(size)}" for its, size in largest)
    return (
        f"{name} holds more than {format_size(SNAPSHOT_LIMIT)} when its services are ready, and so much is not brought "
        f"back between scenarios; the largest tables of {database}: {told}. Name under keep: the tables that may stay "
        "as a scenario leaves them, or say reset: none"
    )


def _restore(name: str, connection: psycopg.Connection[Any], was: _Database, keep: Sequence[str]) -> None:
    _refuse_changes(name, was.schema, _schema(connection, keep))
    marks = _fingerprints(connection, [*was.tables, *was.views])
    if stale := [its for its, mark in was.views.items() if marks[its] != mark]:
        raise NotRestorable(f"{name}: the materialized view {stale[0]} was refreshed since the services were ready")
    changed = {its for its, table in was.tables.items() if marks[its] != table.fingerprint}
    if changed:
        _write(connection, was.tables, changed)
    for its, value in _sequences(connection, keep).items():
        if value != was.sequences[its]:
            # It starts again first: sessions throw away values that they hold in advance (CACHE) only then.
            connection.execute(_sql(f"alter sequence {its} restart"))
            connection.execute("select setval(%s::regclass, %s, %s)", [its, *was.sequences[its]])


def _write(connection: psycopg.Connection[Any], tables: Mapping[str, _Table], changed: Collection[str]) -> None:
    """Empty the tables and fill them.

    What is referred to can be truncated only together with all that refers to it; where that may not be, its rows are
    deleted.
    """
    referrers: dict[str, set[str]] = {}
    deleted = set()
    for its, referrer in connection.execute(_REFERRERS, {}):
        referrers.setdefault(its, set()).add(referrer)
        if referrer not in tables:  # one to keep, or the whole of some partitions, which could not be truncated alone
            deleted.add(its)
    while more := {its for its, those in referrers.items() if those & deleted} - deleted:
        deleted |= more
    whole = set(changed)
    while more := {one for its in whole - deleted for one in referrers.get(its, ())} - whole:
        whole |= more
    if truncated := sorted(whole - deleted):
        connection.execute(_sql(f"truncate only {', only '.join(truncated)}"))
    for its in sorted(whole & deleted):
        connection.execute(_sql(f"delete from only {its}"))  # noqa: S608  # a quoted name
    with connection.cursor() as cursor:
        for its in sorted(whole):
            if tables[its].rows:
                with cursor.copy(_sql(f"copy {its}{_listed(tables[its].columns)} from stdin")) as copy:
                    copy.write(tables[its].rows)
    for its, mark in _fingerprints(connection, sorted(whole)).items():
        tables[its].fingerprint = mark


def _refuse_changes(name: str, was: Collection[str], now: Collection[str], kind: str = "") -> None:
    """Raises NotRestorable with what is new and what is gone."""
    known, found = set(was), set(now)
    told = [f"{kind}{one} is new" for one in now if one not in known]
    told += [f"{kind}{one} is gone" for one in was if one not in found]
    if told:
        more = f" and {len(told) - _CHANGES_TOLD} more" if len(told) > _CHANGES_TOLD else ""
        shown = "; ".join(textwrap.shorten(one, 120) for one in told[:_CHANGES_TOLD])
        raise NotRestorable(f"{name} has another schema than when the services were ready: {shown}{more}")


def _schema(connection: psycopg.Connection[Any], keep: Sequence[str]) -> list[str]:
    return [line for _, line in connection.execute(_SCHEMA, {"keep": keep})]


def _fingerprints(connection: psycopg.Connection[Any], tables: Sequence[str]) -> dict[str, Fingerprint]:
    if not tables:
        return {}
    mark = "count(*), sum(hashtextextended(ctid::text || xmin::text, 0))"
    each = [f"select {number}, {mark} from only {its}" for number, its in enumerate(tables)]  # noqa: S608  # quoted names
    return {
        tables[number]: (count, total) for number, count, total in connection.execute(_sql(" union all ".join(each)))
    }


def _sequences(connection: psycopg.Connection[Any], keep: Sequence[str]) -> dict[str, tuple[int, bool]]:
    names = [its for (its,) in connection.execute(_SEQUENCES, {"keep": keep})]
    if not names:
        return {}
    each = [f"select {number}, last_value, is_called from {its}" for number, its in enumerate(names)]  # noqa: S608
    return {
        names[number]: (last, called) for number, last, called in connection.execute(_sql(" union all ".join(each)))
    }


def _listed(columns: str | None) -> str:
    return f" ({columns})" if columns else ""


def _sql(text: str) -> bytes:
    """As it is: what a team calls its tables is no template."""
    return text.encode()
