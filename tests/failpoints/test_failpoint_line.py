"""A failpoint as a line in the code."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import timeit

import pytest

from chaoskit import failpoints
from chaoskit.base.clock import wait_for
from chaoskit.failpoints import (
    BadTerms,
    DisabledFailpoint,
    Panic,
    UnknownFailpoint,
    afailpoint,
    disable,
    enable,
    failpoint,
    hits,
    register,
)
from chaoskit.failpoints.points import POINTS


def outcome(name: str) -> object:
    """What one evaluation does: the value returned, 'panic', or None."""
    try:
        hit = failpoint(name)
    except Panic:
        return "panic"
    return None if hit is None else hit.value


def test_inactive_does_nothing_and_registers() -> None:
    """The first evaluation makes the name known."""
    assert failpoint("orders/charge") is None
    assert POINTS.listing() == {"orders/charge": ""}


def test_unknown_names_are_refused() -> None:
    """A name that no code has is an error, as in gofail."""
    with pytest.raises(UnknownFailpoint, match="failpoint does not exist"):
        enable("orders/charge", "panic")


def test_bad_terms_change_nothing() -> None:
    """A refused text leaves the failpoint as it was."""
    enable(register("a"), "return(1)")
    with pytest.raises(BadTerms, match="at character 1 of 'pnic'"):
        enable("a", "pnic")
    assert outcome("a") == 1


@pytest.mark.parametrize(
    ("terms", "outcomes"),
    [
        ("off", [None, None]),
        ('return("x")', ["x", "x", "x"]),
        ('2*return("x")->1*panic', ["x", "x", "panic", None, None]),
        ('1*return("x")->return("y")', ["x", "y", "y"]),
        ("2*off->return(1)", [None, None, 1, 1]),
        ("0*panic->return(1)", [1, 1]),
        ("0.0%panic->return(1)", [1] * 20),
        ("100.0%panic", ["panic"] * 20),
        ("2*0.0%panic->return(1)", [1, 1, 1]),
    ],
)
def test_chains_and_counts_are_exact(terms: str, outcomes: list[object]) -> None:
    """The first term that allows acts, as often as its count says."""
    enable(register("a"), terms)
    assert [outcome("a") for _ in outcomes] == outcomes


def test_hits_count_the_terms_that_were_chosen() -> None:
    """As in gofail: exhausted terms count no more, ``off`` counts, a new setting starts at 0."""
    enable(register("a"), "2*return(1)->1*off")
    for _ in range(5):
        failpoint("a")
    assert hits("a") == 3
    enable("a", "off")
    assert hits("a") == 0
    disable("a")
    with pytest.raises(DisabledFailpoint):
        hits("a")
    with pytest.raises(DisabledFailpoint):
        disable("a")


def test_counts_are_exact_among_threads() -> None:
    """Eight threads together get as many hits as the count allows."""
    enable(register("a"), "1000*return(1)")
    got: list[int] = []

    def work() -> None:
        got.append(sum(outcome("a") == 1 for _ in range(500)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1000
    assert hits("a") == 1000


def test_percentages_repeat_with_a_seed() -> None:
    """The same seed gives a failpoint the same sequence; another name another one."""

    def sequence(name: str, seed: str | None) -> list[object]:
        POINTS.seed = seed
        enable(register(name), "50.0%return(1)")
        return [outcome(name) for _ in range(64)]

    first = sequence("a", "7")
    assert 10 < first.count(1) < 54
    assert sequence("a", "7") == first
    assert sequence("a", "8") != first
    assert sequence("b", "7") != first
    assert sequence("a", None) != sequence("a", None)


def test_panic_texts_are_gofails() -> None:
    """The value of the term, or the failpoint's name."""
    enable(register("a/b"), '1*panic("boom")->1*panic(3)->panic')
    for text in ("boom", "3", "a/b"):
        with pytest.raises(RuntimeError, match=f"^failpoint panic: {text}$"):
            failpoint("a/b")


def test_returned_values_are_fresh() -> None:
    """Code may change what it was given without changing the next answer."""
    enable(register("a"), 'return({"list": [1]})')
    for _ in range(2):
        hit = failpoint("a")
        assert hit is not None
        assert hit.value == {"list": [1]}
        hit.value["list"].append(2)


def test_print_says_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    """gofail's text on standard output."""
    enable(register("a"), "print")
    failpoint("a")
    assert capsys.readouterr().out == "failpoint print: a\n"


def test_break_enters_the_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breakpoint() is set to, is called."""
    calls: list[int] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: calls.append(1))
    enable(register("a"), "break")
    failpoint("a")
    assert calls == [1]


def test_sleep_blocks_the_thread() -> None:
    """Milliseconds or a duration, never less."""
    enable(register("a"), '1*sleep(30)->sleep("30ms")')
    for _ in range(2):
        start = time.monotonic()
        assert failpoint("a") is None
        assert time.monotonic() - start >= 0.03


@pytest.mark.parametrize("lift", ["disable", "replace"])
def test_hang_lasts_until_it_is_lifted(lift: str) -> None:
    """Every thread that hangs goes on when the failpoint is switched off or set anew."""
    enable(register("a"), "hang")
    threads = [threading.Thread(target=failpoint, args=("a",), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: hits("a") == 3, what="three hits", limit=10)
    assert all(thread.is_alive() for thread in threads)
    if lift == "disable":
        disable("a")
    else:
        enable("a", "off")
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_async_sleep_and_hang_leave_the_loop_running() -> None:
    """While one coroutine hangs and another sleeps, the loop serves others; lifting wakes the coroutine."""
    enable(register("hang"), "hang")
    enable(register("sleep"), "sleep(50)")

    async def scene() -> None:
        hanging = [asyncio.create_task(afailpoint("hang")) for _ in range(2)]
        start = time.monotonic()
        ticks = 0
        sleeping = asyncio.create_task(afailpoint("sleep"))
        while not sleeping.done():
            ticks += 1
            await asyncio.sleep(0.001)
        assert ticks > 3
        assert time.monotonic() - start >= 0.049
        assert not any(task.done() for task in hanging)
        hanging[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging[0]
        await asyncio.to_thread(disable, "hang")
        assert await asyncio.wait_for(hanging[1], 10) is None

    asyncio.run(scene())


def test_a_hang_whose_loop_was_closed_is_lifted_too() -> None:
    """A coroutine that nobody runs any more does not get in the way of switching the failpoint off."""
    enable(register("a"), "hang")
    loop = asyncio.new_event_loop()
    coroutine = afailpoint("a")

    async def start() -> None:
        coroutine.send(None)  # one step by hand: no task that would complain of its end

    loop.run_until_complete(start())
    loop.close()
    disable("a")
    coroutine.close()
    assert failpoint("a") is None


def test_async_return_and_panic() -> None:
    """What does not wait is the same in coroutines."""
    enable(register("a"), "1*return(5)->panic")

    async def scene() -> object:
        hit = await afailpoint("a")
        assert hit is not None
        with pytest.raises(Panic):
            await afailpoint("a")
        assert await afailpoint("inactive") is None
        return hit.value

    assert asyncio.run(scene()) == 5


def test_inactive_costs_next_to_nothing() -> None:
    """A call with nothing active: well under a microsecond (about 60 ns; the bound is for loaded machines)."""
    failpoint("a")
    best = min(timeit.repeat(lambda: failpoint("a"), number=20_000, repeat=7)) / 20_000
    assert best < 1e-6


def test_import_is_light() -> None:
    """Importing it brings in nothing else of chaoskit, and nothing that takes long."""
    code = "import sys; before = set(sys.modules); import chaoskit.failpoints; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(run.stdout.split())
    assert "chaoskit.failpoints" in loaded
    assert not loaded & {"asyncio", "http.server", "json", "random", "re", "socket", "threading", "typing"}
    assert {n for n in loaded if n.startswith("chaoskit") and "failpoints" not in n} == {"chaoskit"}


def test_all_is_exported() -> None:
    """Each public name exists."""
    assert all(hasattr(failpoints, name) for name in failpoints.__all__)
