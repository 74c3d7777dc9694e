"""Operations that call an async function in place of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.history.rows import Request
from chaoskit.traffic.generator import TrafficGenerator, spawn_worker
from chaoskit.traffic.spec import Fallback, Operation, Stream

SOURCE = """
import asyncio

async def work(kind, request_id):
    print("this must not end up among the rows")
    if kind == "slow":
        await asyncio.sleep(10)
    if kind == "refused":
        raise ConnectionRefusedError(111, "Connection refused")
    if kind == "bug":
        raise KeyError("price")
    return {"kind": kind, "id": request_id}

def blocking():
    pass
"""

Call = Callable[..., Request]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """``call(kind)`` runs one operation in a project folder that holds ``jobs.py``."""
    (tmp_path / "jobs.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    rows: list[Any] = []
    with TrafficGenerator(rows.append, spawn_worker) as generator:

        def call(kind: str, **given: Any) -> Request:
            rows.clear()
            made = Operation(name="job", **{"python": "jobs:work", "json": {"kind": kind}, **given})
            generator.begin(1, [made], {})
            generator.stream(Stream(id="s", op="job", start=now(), count=1))
            wait_for(lambda: rows, what="the row", limit=10, last_seen=lambda: str(generator.check()))
            generator.end()
            row: Request = rows[0]
            return row

        yield call


def test_a_call_that_returns_is_ok(call: Call) -> None:
    """Its value is the body and can be matched as JSON; it was given the request's id."""
    row = call("good", ok_json={"kind": "good"}, fallback=Fallback(json={"kind": "good"}))
    assert (row.ok, row.fallback, row.error, row.status) == (True, True, None, None)
    assert row.body == f'{{"kind":"good","id":"{row.id}"}}'
    assert (row.method, row.path) == ("CALL", "jobs:work")
    assert not call("other", ok_json={"kind": "good"}).ok


@pytest.mark.parametrize(
    ("kind", "error"), [("slow", "timeout"), ("refused", "refused"), ("bug", "other: KeyError: 'price'")]
)
def test_what_a_call_raises_is_its_error(call: Call, kind: str, error: str) -> None:
    """Network errors have the words of HTTP requests, others their type and text."""
    row = call(kind, timeout=0.2)
    assert (row.ok, row.error) == (False, error)


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("jobs.work", "module:async_function"),
        ("jobs:nothing", "nothing"),
        ("nojobs:work", "nojobs"),
        ("jobs:blocking", "async"),
    ],
)
def test_functions_that_cannot_be_called_are_refused(call: Call, python: str, reason: str) -> None:
    """Found when the session begins."""
    with pytest.raises(BrokenError, match=reason):
        call("good", python=python)
