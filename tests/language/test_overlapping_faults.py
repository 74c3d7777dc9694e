"""Faults that do not compose are refused at load, with both lines; all others may overlap."""

from __future__ import annotations

from typing import Any

import pytest

FAULTS = """\
    - slow-db: {latency: {on: db, delay: 800ms, jitter: 100ms}, at: 0s, for: 6s}
    - hung:
        pause: {service: orders}
        at: 2s
        for: 1s
"""
SLEEP = "sleep: {service: orders, at: place, delay: 10ms}"


def faulty(desk: Any, first: str, second: str, windows: str = "0s 2s 1s 3s") -> tuple[str, int]:
    """The scenario with two faults, and the line of the first."""
    at, length, later, its_length = windows.split()
    lines = [
        f"    - one: {{{first}, at: {at}, for: {length}}}",
        f"    - two: {{{second}, at: {later}, for: {its_length}}}",
    ]
    text = desk.edit(FAULTS, "\n".join(lines) + "\n")
    return text, text.splitlines().index(lines[0]) + 1


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("clock: {service: orders, ahead: 1h}", "clock: {service: orders, behind: 1h}", "can live at one time only"),
        ("stop: {service: orders}", "restart: {service: orders}", "there is nothing to restart"),
        ("hang: {service: orders, at: place}", SLEEP, "what hangs at place would go on too early"),
        ('failpoint: {service: orders, at: place, terms: "3*off->panic"}', SLEEP, "what is left of the counts"),
        ('failpoint: {service: orders, at: place, terms: "50%hang"}', SLEEP, "would go on too early"),
        ("disconnect: {service: orders}", "netem: {on: orders, loss: 1%}", "comes back without what was set there"),
        ("partition: {between: [[orders], [db]]}", "disconnect: {service: db}", "db is taken off its networks"),
    ],
)
def test_refused(desk: Any, first: str, second: str, why: str) -> None:
    """One message, at the later of the two, which names the line of the other and when it may begin."""
    text, line = faulty(desk, first, second)
    (problem,) = desk.problems(text)
    kinds = [fault.partition(":")[0] for fault in (first, second)]
    assert problem.line == line + 1
    assert f"two ({kinds[1]}) may not begin while one ({kinds[0]}, line {line}) lasts" in str(problem)
    assert why in str(problem)
    assert "at: 2s, or later" in str(problem)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("stop: {service: orders}", "stop: {service: orders}"),
        ("restart: {service: orders}", "stop: {service: orders}"),
        ("clock: {service: orders, ahead: 1h}", "stop: {service: orders}"),
        ("clock: {service: orders, ahead: 1h}", "restart: {service: orders}"),
        (SLEEP, "hang: {service: orders, at: place}"),
        ("hang: {service: orders, at: place}", SLEEP.replace("at: place", "at: other")),
        ('failpoint: {service: orders, at: place, terms: "50%panic"}', SLEEP),
        ("disconnect: {service: orders}", "disconnect: {service: orders}"),
        ("disconnect: {service: orders}", "netem: {on: db, loss: 1%}"),
        ("cpu: {service: orders, quota: 10%}", "cpu: {service: orders, quota: 20%}"),
        ("down: {on: db}", "down: {on: db}"),
    ],
)
def test_may_overlap(desk: Any, first: str, second: str) -> None:
    """Everything else, and those kinds on different targets."""
    text, _ = faulty(desk, first, second)
    assert len(desk.load(text)[0].faults) == 2


def test_one_after_the_other(desk: Any) -> None:
    """A window ends before the next one that begins at that moment, in whatever order they are written."""
    clocks = ("clock: {service: orders, ahead: 1h}", "clock: {service: orders, ahead: 2h}")
    assert len(desk.load(faulty(desk, *clocks, "0s 2s 2s 1s")[0])[0].faults) == 2
    text, line = faulty(desk, *clocks, "2s 2s 0s 3s")
    (problem,) = desk.problems(text)
    assert problem.line == line
    assert f"one (clock) may not begin while two (clock, line {line + 1}) lasts" in str(problem)
