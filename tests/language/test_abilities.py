"""What a service of the environment can never give is told at load, with the reason and what would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.language.loader import load

RECOVERY = "  recovery: {within: 5s}\n"
RETRIES = "retries: {on: %s, attempts: '<= 3'}"
BREAKER = "breaker: {on: %s, opens_within: 500ms}"
LEDGER = "ledger: {writes: place, read: {sql: select 1, on: %s}}"
PROXIED = "no proxy stands in front of orders: nobody sees the calls; legal: proxy: true of a service"
REDIS = "on: db speaks Redis' protocol, and only HTTP is read on the way to a service"


def expecting(desk: Any, expected: str) -> str:
    """The scenario that expects this, too."""
    return str(desk.edit(RECOVERY, f"{RECOVERY}  {expected}\n"))


@pytest.mark.parametrize(
    ("expected", "old", "new", "says"),
    [
        (RETRIES % "db", "", "", REDIS),
        (BREAKER % "db", "", "", REDIS),
        (RETRIES % "orders", "", "", None),
        (RETRIES % "orders", "protocol: http", "proxy: false", PROXIED),
        (BREAKER % "orders", "protocol: http", "protocol: tcp", "on: nothing says that orders speaks HTTP, and "),
        (BREAKER % "orders", "protocol: http\n    ready: {http: /healthz,", "ready: {tcp: true,",
            "legal: protocol: http of the service"),
        (RETRIES % "orders", "    protocol: http\n", "", None),
        (LEDGER % "db", "", "", "on: db is no database that can be read with SQL"),
        (LEDGER % "orders", "provider: redis", "provider: postgres", "database that can be read with SQL; legal: db"),
        (LEDGER % "db", "provider: redis", "provider: postgres", None),
        ("ledger: {writes: place, read: {sql: select 1, on: db}, invariants: [{sql: select 1, on: orders, equals: 1}]}",
            "provider: redis", "provider: postgres", "on: orders is no database"),
        ("resources: {orders: {open_filez: returns}}", "", "",
            "open_filez: orders gives no metrics, only what its process shows; legal: open_files, threads, memory, "
            "cpu, pid, metrics: /metrics of the service; did you mean 'open_files'?"),
        ("resources: {orders: {open_files: returns}}", "", "", None),
        ("resources: {orders: {open_filez: returns}}", "protocol: http", "metrics: /metrics", None),
    ],
)  # fmt: skip
def test_told_with_its_line(desk: Any, expected: str, old: str, new: str, says: str | None) -> None:
    """One message, or none for what may well be."""
    desk.environment_file.write_text(desk.environment.replace(old, new), encoding="utf-8")
    text = expecting(desk, expected)
    if says is None:
        assert desk.load(text)
        return
    (problem,) = desk.problems(text)
    assert text.splitlines()[problem.line - 1] == f"  {expected}"
    assert says in str(problem)


def test_single_requests_of_what_is_no_http(desk: Any) -> None:
    """The fault ``http`` acts on requests, which a database has none of."""
    slow = "latency: {on: db, delay: 800ms, jitter: 100ms}"
    (problem,) = desk.problems(desk.edit(slow, "http: {on: db, status: 503}"))
    assert str(problem) == f"orders.chaos.yaml:31: {REDIS}"
    assert desk.load(desk.edit(slow, "http: {on: orders, status: 503}"))


@pytest.mark.parametrize("asked", [RETRIES % "db", LEDGER % "db", "resources: {orders: {x: returns}}"])
def test_what_has_run_is_judged_as_far_as_it_goes(desk: Any, asked: str) -> None:
    """A recorded scenario from before these rules can still be read."""
    text = expecting(desk, asked).replace("success_rate: ", "error_rate: '< 200%', success_rate: ")
    desk.file.write_text(text, encoding="utf-8")
    (desk.folder / "environment.yaml").write_text(desk.environment, encoding="utf-8")
    assert load(desk.file, recorded=desk.folder)


@pytest.mark.parametrize(
    ("bound", "legal"),
    [
        (">= 990%", False), ("> 100%", False), ("< 0%", False), ("<= 150%", False), ("= -1%", False),
        ("50%..150%", False), ("99% ± 5%", True), ("= 100%", True),
        ("0%..5%", True),
    ],
)  # fmt: skip
def test_a_share_of_all(desk: Any, bound: str, legal: bool) -> None:
    """Wherever a share is bounded; the spread of pauses is none, and may be more."""
    steady = ('  place: {success_rate: ">= 99%", p95', f'  place: {{success_rate: "{bound}", p95')
    during = ('success_rate: ">= 99%", p99', f'fallback_rate: "{bound}", p99')
    shares = [
        desk.edit(*steady),
        desk.edit(*during),
        expecting(desk, f'responses: {{of: place, share: "{bound}"}}'),
        expecting(desk, f'traces: {{of: place, hops: [orders], share: "{bound}"}}'),
    ]
    for text in shares:
        if legal:
            assert desk.load(text)
        else:
            (problem,) = desk.problems(text)
            assert f"{bound!r}: a share lies between 0% and 100%; legal: >= 99%" in str(problem)
    assert desk.load(expecting(desk, 'retries: {on: orders, backoff: {jitter: "100%..160%"}}'))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('success_rate: ">= 99%", p99', 'success_rate: ">= 0%", p99', "can never fail: nothing lies beyond it"),
        ('success_rate: ">= 99%", p99', 'error_rate: "<= 100%", p99', "can never fail: nothing lies beyond it"),
        ('success_rate: ">= 99%", p99', 'p50: ">= 0s", p99', "can never fail: nothing lies beyond it"),
        ('success_rate: ">= 99%", p99', 'p50: "< 0s", p99', "it is never below 0"),
        ('success_rate: ">= 99%", p99', 'p50: "1s ± 1e309%", p99', "1e309% is not a finite spread"),
        ('success_rate: ">= 99%", p99', 'throughput: ">= 0/s", p99', "can never fail: nothing lies beyond it"),
        ('success_rate: ">= 99%", p99', 'requests: ">= -5", p99', "it is never below 0"),
        ('success_rate: ">= 99%", p99', 'requests: "= 1.5", p99', "can never hold: a count is whole"),
    ],
)
def test_a_bound_that_decides_nothing(desk: Any, old: str, new: str, told: str) -> None:
    """What can never fail, or never hold, is a slip; what has run is judged by it all the same."""
    (problem,) = desk.problems(desk.edit(old, new))
    assert told in str(problem)
    desk.file.write_text(desk.edit(old, new), encoding="utf-8")
    (desk.folder / "environment.yaml").write_text(desk.environment, encoding="utf-8")
    if "spread" not in told:
        assert load(desk.file, recorded=desk.folder)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("responses: {of: place, status: []}", "at least 1 item"),
        ('responses: {of: place, count: "= -1"}', "it is never below 0"),
        ('logs: {service: orders, count: ">= 0"}', "can never fail"),
        ('retries: {on: orders, attempts: ">= 0"}', "can never fail"),
    ],
)
def test_what_is_asked_for_can_come_out_either_way(desk: Any, asked: str, told: str) -> None:
    """Counts and lists, wherever they stand."""
    assert told in str(desk.problems(expecting(desk, asked)))


def test_nothing_lasts_for_ever(desk: Any) -> None:
    """A slip in a unit, or in an exponent."""
    assert "is longer than a week" in str(desk.problems(desk.edit("for: 6s", "for: 1e300s")))


def test_a_folder_that_is_not_there(desk: Any, tmp_path: Path) -> None:
    """Told where the environment names it, unless a container has it."""
    command = "command: python -m shop.orders"
    text = desk.edit(command, f"{command}\n    cwd: ../shop", desk.environment)
    desk.environment_file.write_text(text, encoding="utf-8")
    (problem,) = desk.problems()
    assert str(problem) == "environments/shop.yaml:9: cwd: there is no folder shop; it starts from this file's"
    desk.environment_file.write_text(text.replace(command, f"{command}\n    image: shop:1"), encoding="utf-8")
    assert desk.load()
    desk.environment_file.write_text(text, encoding="utf-8")
    (tmp_path / "shop").mkdir()
    assert desk.load()
