"""The history on disk: what was written is read back, also after a crash."""

from __future__ import annotations

import math
import string
import threading
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import mask, secrets_in
from chaoskit.history import rows as r
from chaoskit.history.store import History, load
from chaoskit.system.processes import CUT


def sample(value: float) -> r.Sample:
    """A row."""
    return r.Sample(service="orders", name="x", at=value, value=value)


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    """All rows of all kinds, in order; kinds without rows have no file."""
    history = History(tmp_path / "run")
    rows = [sample(1), r.Log(service="orders", at=2, line="ä\n\t\"'\\"), sample(3)]
    for row in rows:
        history.add(row)
    history.close()
    again = load(tmp_path / "run")
    assert again.rows(r.Sample) == [rows[0], rows[2]]
    assert again.rows(r.Log) == [rows[1]]
    assert again.counts() == {"samples": 2, "logs": 1} == history.counts()
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"samples.jsonl", "logs.jsonl"}


def test_a_sample_that_is_no_finite_number_is_read_back(tmp_path: Path) -> None:
    """JSON has no such numbers."""
    history = History(tmp_path)
    rows = [r.Sample(service="orders", name="x", at=1, value=value) for value in (math.inf, -math.inf, math.nan, 2.0)]
    for row in rows:
        history.add(row)
    history.close()
    read = [row.value for row in load(tmp_path).rows(r.Sample)]
    assert read[:2] + read[3:] == [math.inf, -math.inf, 2.0]
    assert math.isnan(read[2])


def test_rows_can_be_followed(tmp_path: Path) -> None:
    """``since`` gives what came after an index, and copies: they do not change later."""
    history = History()
    history.add(sample(1))
    seen = history.rows(r.Sample)
    history.add(sample(2))
    assert len(seen) == 1
    assert history.since(r.Sample, 1) == [sample(2)]
    assert history.since(r.Sample, 2) == []


def test_what_was_flushed_survives_a_crash(tmp_path: Path) -> None:
    """Rows that were handed to the system can be read while the history is still open."""
    history = History(tmp_path)
    history.add(sample(1))
    history.flush()
    assert load(tmp_path).rows(r.Sample) == [sample(1)]
    history.close()


def test_a_history_has_an_end(tmp_path: Path) -> None:
    """Rows that come after the end are dropped, in memory and on disk; closing twice is fine."""
    history = History(tmp_path)
    history.add(sample(1))
    history.close()
    history.add(sample(2))
    history.flush()
    history.close()
    assert history.rows(r.Sample) == load(tmp_path).rows(r.Sample) == [sample(1)]


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_last_line_that_was_cut_is_dropped(tmp_path: Path, kept: int) -> None:
    """A process killed in mid-line leaves a piece of a row: the rows before it count."""
    whole = msgspec.json.encode(sample(1)) + b"\n"
    (tmp_path / "samples.jsonl").write_bytes(whole + whole[: kept * len(whole) // 12])
    assert load(tmp_path).rows(r.Sample) == [sample(1)]


@pytest.mark.parametrize("bad", [b"{", b'{"service": 3}', b"null", b"\xff\xfe", b"[]", b"{}"])
@pytest.mark.parametrize("last", [False, True])
def test_a_bad_line_elsewhere_is_an_error(tmp_path: Path, bad: bytes, last: bool) -> None:
    """A whole line that is no row is named with file and line: dropping it would change the verdict."""
    whole = msgspec.json.encode(sample(1)) + b"\n"
    (tmp_path / "samples.jsonl").write_bytes(whole + bad + b"\n" + (b"" if last else whole))
    with pytest.raises(BrokenError, match=r"samples\.jsonl:2: not a row of a history"):
        load(tmp_path)


def test_an_empty_folder_is_an_empty_history(tmp_path: Path) -> None:
    """Nothing was seen; that is not an error."""
    assert load(tmp_path).counts() == {}


def test_rows_from_several_threads(tmp_path: Path) -> None:
    """No row is lost or mixed with another."""
    history = History(tmp_path)

    def add(first: int) -> None:
        for number in range(first, first + 500):
            history.add(sample(number))

    threads = [threading.Thread(target=add, args=(start,)) for start in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.close()
    assert sorted(row.value for row in load(tmp_path).rows(r.Sample)) == list(range(2000))
    assert load(tmp_path).rows(r.Sample) == history.rows(r.Sample)


TEXT = st.text(string.printable + "äß☃\u2028\x00", max_size=10)
TIMES = st.floats(0, 1e5)
JSON = st.dictionaries(
    TEXT, st.one_of(st.integers(-5, 5), TEXT, st.none(), st.lists(st.booleans(), max_size=2)), max_size=3
)
BY_TYPE: dict[Any, Any] = {
    str: TEXT,
    float: TIMES,
    r.Moment: TIMES,
    r.Number: TIMES,
    int: st.integers(0, 2**50),
    bool: st.booleans(),
    int | None: st.none() | st.integers(-64, 600),
    str | None: st.none() | TEXT,
    r.Moment | None: st.none() | TIMES,
    r.Number | None: st.none() | TIMES,
    list[str]: st.lists(TEXT, max_size=2),
    dict[str, str]: st.dictionaries(TEXT, TEXT, max_size=2),
    dict[str, r.Moment]: st.dictionaries(TEXT, TIMES, max_size=2),
    dict[str, Any]: JSON,
    list[str]: st.lists(TEXT, max_size=2),
    list[dict[str, Any]]: st.lists(JSON, max_size=2),
    list[list[Any]]: st.lists(st.lists(st.integers(-5, 5) | TEXT | st.none(), max_size=2), max_size=2),
}


def values_of(type_: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    return st.sampled_from(get_args(type_)) if get_origin(type_) is Literal else BY_TYPE[type_]


def rows_of(kind: type[r.Row]) -> st.SearchStrategy[r.Row]:
    """Any row of a kind."""
    fields = {field.name: values_of(field.type) for field in msgspec.structs.fields(kind)}
    return st.builds(kind, **fields)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.one_of(*map(rows_of, r.KINDS.values())), max_size=6))
def test_any_rows_survive(tmp_path_factory: pytest.TempPathFactory, rows: list[r.Row]) -> None:
    """Whatever was seen, line ends and all: the same rows come back."""
    folder = tmp_path_factory.mktemp("run")
    history = History(folder)
    for row in rows:
        history.add(row)
    history.close()
    again = load(folder)
    for kind in r.KINDS.values():
        assert again.rows(kind) == [row for row in rows if type(row) is kind]


def told(type_: Any) -> Any:
    """A value of a field's type in which each text gives a secret away."""
    inspect = msgspec.inspect
    match type_:
        case inspect.StrType() | inspect.AnyType():
            return "password=hunter2-in-a-text"
        case inspect.UnionType():
            return told(next(each for each in type_.types if not isinstance(each, inspect.NoneType)))
        case inspect.DictType():
            return {"x": told(type_.value_type)}
        case inspect.ListType():
            return [told(type_.item_type)]
        case inspect.LiteralType():
            return type_.values[0]
        case inspect.BoolType():
            return True
    return 1


@pytest.mark.parametrize("kind", r.KINDS.values())
def test_no_field_of_any_row_gives_a_secret_away(tmp_path: Path, kind: type[r.Row]) -> None:
    """Of all that may hold text only names, ids and kinds are written as they are; a new field is masked."""
    ours = {
        "name", "op", "stream", "id", "traceparent", "idempotency_key", "method", "proxy", "client", "end", "kind",
        "target", "unit", "service", "what", "source", "fingerprint", "sop", "alert", "incident", "target_service",
        "report", "unread", "absent", "trace_id", "span_id", "parent_id",
    } - ({"name"} if kind in (r.Sample, r.Span) else set())  # fmt: skip
    fields = msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]  # every row is a struct
    row = msgspec.convert({field.name: told(field.type) for field in fields}, kind)
    history = History(tmp_path)
    history.add(row)
    history.close()
    written = msgspec.json.decode(next(tmp_path.iterdir()).read_bytes())
    assert {name for name, value in written.items() if "hunter2" in str(value)} <= ours
    assert load(tmp_path).counts() == history.counts()


def test_what_differed_in_a_secret_still_differs(tmp_path: Path) -> None:
    """Two series or paths that are told apart by a secret only, read back; one stays one."""
    history = History(tmp_path)
    for token in ("a", "b", "a"):
        history.add(r.Sample(service="orders", name=f'x{{token="{token}"}}', at=1, value=1))
    history.close()
    first, second, third = (row.name for row in load(tmp_path).rows(r.Sample))
    assert first == third != second
    assert mask(first) == mask(second) == 'x{token="***"}'


def test_a_line_that_was_cut_off_still_is(tmp_path: Path) -> None:
    """Though the secret in it ends where the line does."""
    history = History(tmp_path)
    history.add(r.Log(service="orders", at=1, line='{"token": {"a": "hunter2' + CUT))
    history.close()
    line = load(tmp_path).rows(r.Log)[0].line
    assert "hunter2" not in line
    assert line.endswith(CUT)


def test_what_an_alert_is_called_is_no_secret(tmp_path: Path) -> None:
    """A look at the rules tells by its name when each alert was evaluated, and what it asks."""
    row = r.Rules(at=1, evaluated={"StaleToken": 1}, queries={"StaleToken": "token_age > 5"}, waits={"StaleToken": 1})
    history = History(tmp_path)
    history.add(row)
    history.close()
    assert load(tmp_path).rows(r.Rules) == [row]


def test_secrets_are_not_written(tmp_path: Path) -> None:
    """What a service gave away is judged as it was, and stands in no file; read back, it still counts as given away."""
    history = History(tmp_path / "run")
    line = 'connecting to postgres://shop:hunter2hunter2@db/shop with {"api_key": "s3cret-value"}'
    history.add(r.Log(service="orders", at=1, line=line))
    history.add(
        r.Alert(name="A", state="delivered", at=1, source="prometheus", fingerprint="f", labels={"token": "abcdef"})
    )
    history.close()
    assert history.rows(r.Log)[0].line == line
    written = "".join(file.read_text() for file in (tmp_path / "run").iterdir())
    assert not [secret for secret in ("hunter2hunter2", "s3cret-value", "abcdef") if secret in written]
    again = load(tmp_path / "run").rows(r.Log)[0].line
    assert secrets_in(again) == secrets_in(line) != []
    assert mask(again) == mask(line)
