"""Whether what the service acknowledged is really there.

``ledger: {writes: place-order, read: {sql: select request_id from orders, on: postgres}}``

After the last phase the data is read back, directly and not through a proxy, and compared by key with what the
clients were told:

* **lost**: the write was acknowledged, its key is not there, or not as often as it was promised to different writes;
* **duplicated**: the key of a write stands there more than once, or two keys that answers to one write gave;
* **unexpected**: the write was refused (an answer came, and it was no acknowledgement) and its key is there all
  the same, or a key is there that no client ever sent. A write without an answer may have happened or not: where the
  key stands in the answer, each such write may have made one key that nobody knows of.

Copies of a request are one write, and so is what is sent again with the same correlation id or the same header
``idempotency-key``. An acknowledged write whose answer carries no key cannot be looked for: then nothing has held.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import Any, Literal

import msgspec
from pydantic import Field, model_validator

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.base.json_values import ABSENT
from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._body import UNKNOWN, value
from chaoskit.expectations._evidence import first_few, vacuous, with_unit
from chaoskit.expectations._fields import NONE, Count, Statuses, at_least_one, listed
from chaoskit.expectations._secrets import in_sight, is_same
from chaoskit.history import rows as r
from chaoskit.history.calm import Calm
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import CollectContext, Expectation, Finding, Outcome, check
from chaoskit.language.source import YamlPath
from chaoskit.language.types import Database, Duration, JsonPath, Model, OperationName, problem
from chaoskit.language.view import View

LONGER = 2
"""How many times ``within`` is waited at most while others keep it from passing undisturbed."""

POLL = 0.1
"""Seconds between two reads while deferred work is waited for."""

UNSENT = ("refused", "unsent")
"""Errors of requests that did not come to the service."""

LISTED = 1000
"""Keys that a finding names, in the order of the requests: which writes were lost is for somebody to mend."""


class Acknowledged(Model):
    """Which answers promise that the write will last, by status."""

    status: Statuses


class Key(Model):
    """Where an answer carries the key of what was written: a response header or a dotted path in the JSON body.

    Different writes are to get different keys, but for those to one path with PUT or PATCH; where the key is
    ``shared``, any may get the same (the number of a cart that each adds something to).
    """

    header: str | None = None
    json_: JsonPath | None = Field(None, alias="json")
    shared: bool = False

    _asked = model_validator(mode="after")(at_least_one("header", "json_"))

    @model_validator(mode="after")
    def _one(self) -> Key:
        if self.header is not None and self.json_ is not None:
            raise problem("the key stands in a header or in the body, not in both", ["header", "json"])
        return self


class Query(Model):
    """What to read, and on which service, a PostgreSQL server. The first column is the key."""

    sql: str = Field(min_length=1)
    on: Database


class Invariant(Model):
    """A query and its answer: a value (one row, one column), a list of values (one column), or a list of rows."""

    sql: str = Field(min_length=1)
    on: Database | None = None
    equals: Any


class Ledger(Expectation):
    """Bounds on what the data holds of the requests of operation ``writes``.

    ``acknowledged`` says which answers count as a promise (default: those that are ``ok``), ``key`` where the key
    is: the request's correlation ``id``, or a ``header`` or ``json`` path of the answer. ``within`` is how long
    deferred work may take after the last phase: reading goes on until nothing is lost, every invariant holds, and
    no row has changed for ``quiet``, so that duplicates which come late are seen.
    """

    writes: OperationName
    acknowledged: Acknowledged | None = None
    key: Literal["id"] | Key = "id"
    read: Query
    lost: Count = NONE
    duplicated: Count = NONE
    unexpected: Count | None = None
    within: Duration = 5.0
    quiet: Duration = 1.0
    invariants: list[Invariant] = []

    def notes(self) -> Iterable[tuple[str, str]]:
        """The key, where it stands in the answer's JSON."""
        return [(self.writes, self.key.json_)] if isinstance(self.key, Key) and self.key.json_ is not None else []

    def collect(self, reader: CollectContext, view: View) -> Iterable[r.Read]:
        """The rows of every query, read until they satisfy and are quiet, or the time is over."""
        latest: list[r.Read] = []
        began = changed = now()
        changing = False

        def settled() -> bool:
            nonlocal changed, changing
            before, latest[:] = _contents(latest), [_read(reader, on, sql) for on, sql in self._queries()]
            if before and before != _contents(latest):
                changed = now()
            if any(read.error is not None for read in latest) or not self._satisfied(latest, view):
                changing = False
                return over(self.within)  # what is still missing is for the judge to say
            changing = now() - changed < self.quiet
            return not changing or over(self.within + self.quiet)  # what else would have come nobody knows

        def over(seconds: float) -> bool:
            moment = now()
            free = Calm.of(view.history.rows(r.Host)).free(began, moment)
            return any(each.length >= seconds for each in free) or moment - began >= LONGER * seconds

        wait_for(settled, what="acknowledged writes", limit=inf, every=POLL)
        return [msgspec.structs.replace(read, changing=True) for read in latest] if changing else latest

    def judge(self, view: View) -> Iterator[Finding]:
        """``ledger.OPERATION.lost``, ``.duplicated``, ``.unexpected`` and ``.invariants.N``."""
        reads = {row.name: row for row in view.history.rows(r.Read)}
        yield from self._judge_rows(view, reads.get(_name(self.read.on, self.read.sql)))
        for number, invariant in enumerate(self.invariants):
            path: YamlPath = ("invariants", number)
            key, expected = f"ledger.{self.writes}.invariants.{number}", f"{invariant.equals!r}"
            read = reads.get(_name(invariant.on or self.read.on, invariant.sql))
            if read is None or read.error is not None:
                yield _broken(key, expected, invariant.sql, read, path)
                continue
            value = _value(read.rows)
            outcome = Outcome.HELD if is_same(value, invariant.equals) else Outcome.VIOLATED
            if self._may_come(read, view):
                outcome = Outcome.VACUOUS
            yield Finding(key, outcome, expected, repr(value), len(read.rows), path, worst=invariant.sql)

    def _judge_rows(self, view: View, read: r.Read | None) -> Iterator[Finding]:
        bounds: list[tuple[str, Bound]] = [("lost", self.lost), ("duplicated", self.duplicated)]
        if self.unexpected is not None:
            bounds.append(("unexpected", self.unexpected))
        for name, bound in bounds:
            yield self._judge_keys(name, bound, view, read)

    def _judge_keys(self, name: str, bound: Bound, view: View, read: r.Read | None) -> Finding:
        requests = view.requests(self.writes)
        id_, path = f"ledger.{self.writes}.{name}", (name,)
        if read is None or read.error is not None:
            return _broken(id_, str(bound), self.read.sql, read, path)
        promised = [row for row in requests if self._acknowledges(row)]
        if not promised:
            why = f"no acknowledged write of {counted(len(requests), 'requests')}"
            return vacuous(id_, str(bound), why, path, len(requests), certain=view.had_time())
        keyless = [row for row in promised if self._key(row) is None]
        found = self._found(name, requests, read)
        writes = self._told(promised)
        if name == "lost" and self._may_come(read, view):
            return vacuous(id_, str(bound), "others took the time in which it may come", path, len(promised))
        finding = check(
            id_, bound, len(found), len(promised) - len(keyless), path=path,
            worst=f"{counted(len(read.rows), 'rows')} for {writes}", rows=found[:LISTED],
        )  # fmt: skip
        if finding.outcome is Outcome.VIOLATED:
            return with_unit(finding, lambda text: f"{text} {name} of {writes}")
        if cut := [row for row in requests if self._cut(row) and (name == "unexpected" or self._acknowledges(row))]:
            why = f"of {counted(len(cut), 'answers')} the part in which the key may stand is not known"
            return replace(vacuous(id_, str(bound), why, path, finding.samples, certain=True), rows=first_few(cut))
        if keyless:
            why = f"{len(keyless)} of {len(promised)} acknowledged writes have no key to look for"
            told = vacuous(id_, str(bound), why, path, finding.samples, certain=True)
            return replace(told, rows=first_few(keyless))
        if read.changing:
            why = f"rows still changed {format_duration(self.within)} after the last phase; give within more"
            return vacuous(id_, str(bound), why, path, finding.samples)
        return with_unit(finding, lambda text: f"{text} {name} of {writes}")

    def _told(self, promised: list[r.Request]) -> str:
        """How many writes were acknowledged, and by how many answers where there are copies."""
        writes = len({self._write(row) for row in promised})
        answers = f" ({len(promised)} answers)" if writes < len(promised) else ""
        return f"{writes} acknowledged writes{answers}"

    def _found(self, name: str, requests: list[r.Request], read: r.Read) -> list[str]:
        """What is lost, duplicated or unexpected: each time the key, with what is known of it."""
        there = Counter(str(in_sight(row[0])) for row in read.rows if row)
        sent: dict[str, list[r.Request]] = {}
        for request in requests:
            if (key := self._key(request)) is not None:
                sent.setdefault(key, []).append(request)
        if name == "lost":
            return [line for key, rows in sent.items() for line in self._lost(key, rows, there[key])]
        if name == "duplicated":
            return [
                *(f"{key} ({there[key]} times)" for key in sent if there[key] > 1),
                *self._twice({key: rows for key, rows in sent.items() if key in there}),
            ]
        refused = [
            f"{key} (was refused with {rows[0].status})"
            for key, rows in sent.items()
            if key in there and all(row.error is None and not self._acknowledges(row) for row in rows)
        ]
        strangers = [key for key in there if key not in sent][self._unknown(requests) :]
        why = "was never sent" if self.key == "id" else "stands in no answer"
        return refused + [f"{key} ({why})" for key in strangers]

    def _lost(self, key: str, rows: list[r.Request], there: int) -> Iterator[str]:
        """The writes that were promised ``key`` beyond the times that it is ``there``."""
        writes = {self._write(row): row for row in reversed(rows) if self._acknowledges(row)}
        for row in [*reversed(writes.values())][there:]:
            several = f" to {row.id}, one of {len(writes)} writes with this key" if len(writes) > 1 else ""
            yield f"{key} (answered {row.status}{several})"

    def _twice(self, there: Mapping[str, list[r.Request]]) -> Iterator[str]:
        """The further keys that are ``there`` of a request, or of one idempotency key."""
        made: dict[str, list[str]] = {}
        for key, rows in there.items():
            for request in {row.idempotency_key or f"{row.stream} {row.seq}" for row in rows}:
                made.setdefault(request, []).append(key)
        return (f"{key} (and {first}, for the same request)" for first, *others in made.values() for key in others)

    def _write(self, request: r.Request) -> str:
        """Which write a request asks for: the same for all that ask for one."""
        if isinstance(self.key, Key):
            if self.key.shared and (key := self._key(request)) is not None:
                return key
            if request.method in ("PUT", "PATCH"):
                return request.path
        return request.idempotency_key or request.id or f"{request.stream} {request.seq}"

    def _may_come(self, read: r.Read, view: View) -> bool:
        """Whether the machine could be why something was not there yet: it was in the way of the last of ``within``."""
        end = max((phase.end for phase in view.phases.values()), default=read.at)
        given = min(self.within, read.at - end)
        return view.in_doubt and all(free.length < given for free in view.calm.free(end, read.at))

    def _unknown(self, requests: list[r.Request]) -> int:
        """How many keys may be there that nobody was told."""
        return sum(
            self._key(row) is None
            and (
                self._acknowledges(row)
                or self._cut(row)
                or (row.error is not None and row.error.partition(":")[0] not in UNSENT)
            )
            for row in requests
        )

    def _acknowledges(self, request: r.Request) -> bool:
        if self.acknowledged is None:
            return request.ok
        return request.status in listed(self.acknowledged.status)

    def _key(self, request: r.Request) -> str | None:
        if self.key == "id":
            return request.id or None
        assert isinstance(self.key, Key)
        if self.key.header is not None:
            return in_sight(request.headers.get(self.key.header.lower()))
        found = in_sight(value(request, self.key.json_ or ""))
        return None if found is ABSENT or found is UNKNOWN or found is None else str(found)

    def _cut(self, request: r.Request) -> bool:
        """Whether the key may stand in the part of the answer that the history does not have."""
        json_ = self.key.json_ if isinstance(self.key, Key) else None
        return json_ is not None and value(request, json_) is UNKNOWN

    def _queries(self) -> list[tuple[str, str]]:
        return [
            (self.read.on, self.read.sql),
            *((invariant.on or self.read.on, invariant.sql) for invariant in self.invariants),
        ]

    def _satisfied(self, reads: list[r.Read], view: View) -> bool:
        lost = self._found("lost", view.requests(self.writes), reads[0])
        pairs = zip(reads[1:], self.invariants, strict=True)
        return not lost and all(is_same(_value(read.rows), invariant.equals) for read, invariant in pairs)


def _contents(reads: list[r.Read]) -> list[list[str]]:
    """What was read, whatever the order of the rows; to be compared."""
    return [sorted(map(repr, read.rows)) for read in reads]


def _name(on: str, sql: str) -> str:
    """What a read is called in the history: a recorded run can be judged again as long as its query is the same."""
    return f"{on}: {sql}"


def _read(reader: CollectContext, on: str, sql: str) -> r.Read:
    try:
        rows = reader.sql(on, sql)
    except BrokenError as error:
        return r.Read(name=_name(on, sql), at=now(), rows=[], error=str(error))
    return r.Read(name=_name(on, sql), at=now(), rows=[[_plain(value) for value in row] for row in rows])


def _plain(value: Any) -> Any:
    """A value as the history's file gives it back, so that a judge sees the same today and next year."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def _value(rows: list[list[Any]]) -> Any:
    """One row of one column as a value, one column as a list of values, else the rows."""
    if any(len(row) != 1 for row in rows):
        return rows
    return rows[0][0] if len(rows) == 1 else [row[0] for row in rows]


def _broken(id: str, expected: str, sql: str, read: r.Read | None, path: YamlPath) -> Finding:
    """Of data that was not there to judge. The query is told apart from why it failed: it may be long."""
    why = str(read.error).replace(f"{sql}: ", "", 1) if read is not None else "the history holds no such read"
    if "\n" not in sql.strip():
        why = re.sub(r"\nLINE 1: .*", "", why)  # PostgreSQL shows the line of the query, which stands below whole
    return Finding(id, Outcome.BROKEN, expected, f"not judged: {why}", 0, path, worst=" ".join(sql.split()))
