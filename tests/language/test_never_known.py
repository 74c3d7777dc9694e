"""What no run of a scenario could ever tell is told at load, with what would do."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.language.loader import load

RECOVERY = "  recovery: {within: 5s}\n"
HUNG = "        pause: {service: orders}\n        at: 2s\n        for: 1s\n"
AFTER = '  after:\n    place: {success_rate: ">= 99%"}\n'


def struck(arguments: str, length: str) -> tuple[str, str]:
    """Another fault in place of the pause."""
    return HUNG, f"        kill: {{service: orders, {arguments}}}\n        at: 2s\n        for: {length}\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (RECOVERY, RECOVERY + AFTER, "after:", "the timeline has no phase 'after'; legal: timeline: {after: 5s}"),
        (RECOVERY, RECOVERY + "  responses: {of: place, phase: after, count: '> 0'}\n", "responses:",
            "no phase 'after'"),
        (RECOVERY, RECOVERY + "  logs:\n    - {service: orders, phase: after, text: x, count: 1}\n", "- {service",
            "no phase 'after'"),
        (RECOVERY, "  recovery: {within: 40s}\n", "recovery: {w", "within: 40s is never seen: 15s after the last fault "
            "are watched; legal: timeline: {recovery: 40s} or longer, within: 15s or less"),
        (*struck("times: 50, every: 3s", "7s"), "kill:", "hung (kill): a window of 7s has room for 3 strikes, one "
            "every 3s, not for 50; legal: for: longer than 147s, times: 3"),
        (*struck("times: 3, every: 3s", "6s"), "kill:", "has room for 2 strikes"),
        (*struck("every: 3s", "3s"), "kill:", "has room for 1 strike, one every 3s, not for 2; legal: for: longer"),
        (*struck("times: 3, every: 3s", "7s"), None, ""),
        (*struck("times: 1, every: 30s", "1s"), None, ""),
        (*struck("every: 3s", "7s"), None, ""),
    ],
)  # fmt: skip
def test_told_with_its_line(desk: Any, old: str, new: str, line: str | None, says: str) -> None:
    """One message each, or none for what can just be known."""
    text = desk.edit(old, new)
    if line is None:
        assert desk.load(text)
        return
    (problem,) = desk.problems(text)
    assert text.splitlines()[problem.line - 1].strip().startswith(line)
    assert says in str(problem)


def test_the_time_after_counts_as_watched(desk: Any) -> None:
    """A recovery that comes in the phase after is seen there."""
    text = desk.edit("  recovery: 15s\n", "  recovery: 15s\n  after: 10s\n")
    assert desk.load(desk.edit("within: 5s}", "within: 25s}", text))
    (problem,) = desk.problems(desk.edit("within: 5s}", "within: 26s}", text))
    assert "25s after the last fault are watched" in str(problem)


@pytest.mark.parametrize(
    "asked", ["breaker: {on: orders, opens_within: 1s}", "retries: {on: orders, attempts: '<= 3'}"]
)
def test_nobody_sees_the_calls_at_a_closed_door(desk: Any, asked: str) -> None:
    """Also where another fault lets calls through: what is judged there would stand for both."""
    text = desk.edit(RECOVERY, RECOVERY + f"  {asked}\n")
    assert desk.load(text)
    text = desk.edit(HUNG, "        down: {on: orders}\n        at: 7s\n        for: 2s\n", text)
    (problem,) = desk.problems(text)
    assert "hung: while orders is down no call comes as far as its proxy" in str(problem)
    assert "legal: blackhole, http, latency, refuse, reset, timeout" in str(problem)
    assert text.splitlines()[problem.line - 1].strip() == "down: {on: orders}"
    assert desk.load(desk.edit("down: {on: orders}", "down: {on: db}", text))


def test_a_fault_without_a_length_is_one_mistake(desk: Any) -> None:
    """No length is made up for it, which would be too short for a breaker."""
    text = desk.edit(RECOVERY, RECOVERY + "  breaker: {on: orders, opens_within: 2s, probes_every: 1s ± 30%}\n")
    (problem,) = desk.problems(desk.edit("        for: 1s\n", "", text))
    assert "'for' is missing: how long the fault lasts" in str(problem)


def test_what_has_run_is_judged_as_far_as_it_goes(desk: Any) -> None:
    """A recorded scenario from before these rules can still be read."""
    desk.file.write_text(desk.edit(RECOVERY, AFTER), encoding="utf-8")
    (desk.folder / "environment.yaml").write_text(desk.environment, encoding="utf-8")
    assert load(desk.file, recorded=desk.folder)
