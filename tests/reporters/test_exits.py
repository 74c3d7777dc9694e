"""A service that ended though nothing in the scenario acts on it is named; all that was meant is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from figures_histories import scenarios, usual
from html_folders import Folders

from chaoskit.engine.session import Result
from chaoskit.engine.verdict import Judged, Verdict
from chaoskit.expectations.base import Finding, Outcome
from chaoskit.history import rows as r
from chaoskit.reporters.allure.words import message
from chaoskit.reporters.exits import ended_unasked
from chaoskit.reporters.failure import failure
from chaoskit.reporters.html import write_page

PHASES = [
    r.Phase(name=name, started=started, ended=ended)
    for name, started, ended in (("steady", 100, 102), ("faults", 102, 106), ("recovery", 106, 108))
]
FAULT = r.Fault(
    name="slow", kind="latency", target="payments", planned_start=102, planned_end=106, started=102, injected=102.1,
    ended=106, touched=3, unit="connections",
)  # fmt: skip
RUN = r.SopRun(
    sop="mend", alert="Slow", fingerprint="f", incident="Slow-1", severity="P1", action_type="restart",
    target_service="orders", priority="high", queued=102.5, started=103,
)  # fmt: skip
DIED = r.Event(service="postgres", at=103.6, what="exited", pid=7, code=-9)
LINE = (
    "postgres ended (killed by SIGKILL) 1.6 s after the first fault began and did not come back; "
    "no fault or SOP of this scenario acts on it"
)


def event(**more: Any) -> r.Event:
    """Another event of the same process."""
    return msgspec.structs.replace(DIED, **more)


def fault(**more: Any) -> r.Fault:
    """Another fault."""
    return msgspec.structs.replace(FAULT, **more)


def sop(**more: Any) -> r.SopRun:
    """Another run of the SOP."""
    return msgspec.structs.replace(RUN, **more)


@pytest.mark.parametrize(
    ("events", "faults", "runs"),
    [
        ([DIED], [FAULT], []),
        ([DIED], [fault(target="payments | worker"), fault(target="postgres", started=104)], []),
        ([DIED], [FAULT], [RUN, *(sop(target_service="postgres", started=at) for at in (None, 105))]),
        ([event(at=101, what="started", code=None), DIED, event(at=104, pid=8, what="restarted")], [FAULT], []),
        ([event(at=99), DIED, event(at=109)], [FAULT], []),
    ],
    ids=["alone", "a fault that came later", "SOPs of others, skipped, and later", "not ready again", "in the phases"],
)  # fmt: skip
def test_named(events: list[r.Event], faults: list[r.Fault], runs: list[r.SopRun]) -> None:
    """How, when, and that nothing here did it."""
    assert ended_unasked(PHASES, faults, events, runs) == [LINE]


@pytest.mark.parametrize(
    ("events", "faults", "runs"),
    [
        ([DIED], [FAULT, fault(kind="kill", target="postgres")], []),
        ([DIED], [fault(kind="partition", target="orders | postgres, payments")], []),
        ([event(what="killed"), DIED], [FAULT], []),
        ([DIED], [FAULT], [sop(target_service="postgres")]),
        ([DIED], [FAULT], [sop(steps=[{"action": "restart", "target": "postgres"}])]),
        ([DIED], [FAULT], [sop(runner="http://127.0.0.1:9")]),
        ([event(at=99.9)], [FAULT], []),
        ([event(at=108.1)], [FAULT], []),
        ([event(what="restarted")], [FAULT], []),
    ],
    ids=["fault", "partition", "signal", "SOP", "step", "platform", "before", "behind", "no exit"],
)
def test_not_accused(events: list[r.Event], faults: list[r.Fault], runs: list[r.SopRun]) -> None:
    """What a fault or an SOP may have done, and what the engine does before and after the phases."""
    assert ended_unasked(PHASES, faults, events, runs) == []


def test_what_else_is_told() -> None:
    """Whether it came back, how often it ended, before the first fault, without any, and of many the first three."""
    back = [DIED, event(at=103.7, pid=8, what="restarted"), event(at=104.1, pid=8, what="ready")]
    assert "and was back after 500ms;" in ended_unasked(PHASES, [FAULT], back, [])[0]
    again = [*back, event(at=105, pid=8, code=1)]
    assert "(killed by SIGKILL) and 1 more time 1.6 s after" in ended_unasked(PHASES, [FAULT], again, [])[0]
    assert " and did not come back;" in ended_unasked(PHASES, [FAULT], again, [])[0]
    early = ended_unasked(PHASES, [FAULT], [event(at=101.5, code=3)], [])[0]
    assert early.startswith("postgres ended (exit status 3) 0.5 s before the first fault began and")
    assert ended_unasked(PHASES, [], [DIED], [])[0].startswith("postgres ended (killed by SIGKILL) and did not")
    many = [event(service=f"s{number}") for number in range(5)]
    lines = ended_unasked(PHASES, [FAULT], many, [])
    assert [line.partition(" ")[0] for line in lines[:3]] == ["s0", "s1", "s2"]
    assert lines[3:] == ["(so did 2 more services: events.jsonl)"]


@pytest.mark.parametrize("outcome", [Outcome.VIOLATED, Outcome.VACUOUS, Outcome.BROKEN])
def test_said_high_up_whatever_the_verdict(tmp_path: Path, outcome: Outcome) -> None:
    """In the terminal and in Allure's message, above all findings."""
    (scenario,) = scenarios(tmp_path)
    made = usual().event("stub", 0.5, "exited", code=-9)
    finding = Judged(Finding("during.ask.p95", outcome, "< 1s", "2s", 50), 3)
    result = Result(scenario, tmp_path, made.history, Verdict(outcome, "why", [finding]), None, 5.0, 7)
    line = "stub ended (killed by SIGKILL) 0.5 s after the first fault began and did not come back;"
    lines = failure(result).splitlines()
    assert lines[1 if outcome is Outcome.VIOLATED else 2].startswith(line)
    assert message(result, []).splitlines()[1].startswith(line)


def test_on_the_page(tmp_path: Path) -> None:
    """In the coloured box, masked rows or not; not where the scenario held."""
    folders = Folders(tmp_path)
    rows = {"phases": PHASES, "faults": [FAULT], "events": [DIED]}
    files = {
        f"{name}.jsonl": "".join(msgspec.json.encode(row).decode() + "\n" for row in many)
        for name, many in rows.items()
    }
    folders.add("died", "violated", files=files)
    folders.add("fine", "held", files=files)
    write_page(folders.recorded, folders.page, reports=tmp_path)
    text = re.sub(r"\s+", " ", folders.page.read_text(encoding="utf-8"))
    assert text.count(LINE) == 2, "in the list at the top, and in the scenario's own box"
