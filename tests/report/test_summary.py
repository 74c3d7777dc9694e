"""The short facts of a result, and the table at the end of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from results_made import HELD, VIOLATED, Make, maker, silent

from chaoskit.engine.session import Result
from chaoskit.history import rows as r
from chaoskit.judge.verdict import Judged
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.report import summary
from chaoskit.report.failure import failure
from chaoskit.report.terminal import table


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes results without running anything."""
    monkeypatch.chdir(tmp_path)
    return maker(tmp_path)


def test_facts_of_a_result(make: Make) -> None:
    """Plain data: it travels from xdist's workers."""
    facts = summary.of(make(Outcome.VIOLATED, HELD, VIOLATED))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["outcome"] == "violated"
    assert not facts["passed"]
    assert facts["worst"] == "during.ask.p95"
    assert facts["evidence"] == ["3 connections"]
    assert (facts["case"], facts["severity"], facts["seed"], facts["requests"]) == ("C1", "critical", 7, 350)


@pytest.mark.parametrize(
    ("outcome", "control", "word", "passed"),
    [
        (Outcome.HELD, None, "held", True),
        (Outcome.VIOLATED, None, "violated", False),
        (Outcome.VACUOUS, None, "vacuous", False),
        (Outcome.INCONCLUSIVE, None, "inconclusive", False),
        (Outcome.INCONCLUSIVE, False, "inconclusive", False),
        (Outcome.BROKEN, None, "broken", False),
        (Outcome.VIOLATED, True, "caught", True),
        (Outcome.HELD, False, "not caught", False),
        (Outcome.VACUOUS, False, "not caught", False),
        (Outcome.BROKEN, False, "broken", False),
    ],
)
def test_the_word_for_an_outcome(make: Make, outcome: Outcome, control: bool | None, word: str, passed: bool) -> None:
    """Only held scenarios and caught controls pass."""
    facts = summary.of(make(outcome, control=control))
    assert (facts["outcome"], facts["passed"]) == (word, passed)


def test_the_first_finding_is_a_cause(make: Make) -> None:
    """Not what follows from it, though that stands in an earlier line; so in the one line for pytest's summary."""
    (cause,) = silent()
    earlier = Judged(Finding("sop.times", Outcome.VIOLATED, ">= 1", "0", 0, because=cause.finding.id), 3)
    facts = summary.of(make(Outcome.VIOLATED, earlier, cause))
    assert facts["worst"] == cause.finding.id
    assert facts["headline"] == "alerts.X.fires_within: expected fires within 5s, seen never fired"


def test_a_cure_by_an_sop_is_told_as_such(make: Make) -> None:
    """0s after the fault's end says nothing about it."""
    result = make(Outcome.VIOLATED, VIOLATED, recovery=0.0, sop_recovery=4.2)
    assert "steady state held again: by SOP, 4.2s after the first fault began, which was still active;" in failure(
        result
    )
    assert "SOP 4.2s" in next(iter(_rows_of([result])))


def test_alerts_and_sops_are_counted(make: Make) -> None:
    """By name, over all scenarios; nothing is said where there were none."""
    rows = [
        r.Alert(name=name, state="firing", at=at, source="rules", fingerprint=f"{name}{at}")
        for name, at in (("Slow", 1), ("Down", 2), ("Down", 3))
    ]
    run = r.SopRun(
        sop="mend", alert="Slow", fingerprint="f", incident="Slow-1", severity="P1", action_type="restart",
        target_service="stub", priority="high", queued=1.0, started=1.1,
    )  # fmt: skip
    skipped = msgspec.structs.replace(run, started=None, outcome="skipped")
    facts = {**summary.of(make(Outcome.HELD, HELD, rows=[*rows, run, skipped])), "nodeid": "a::b", "reproduce": ""}
    lines = list(table([facts, facts], Path("nowhere"), []))
    assert "alerts fired: 6 (Down 4×, Slow 2×)" in lines
    assert "SOPs run: 2 (mend 2×)" in lines
    quiet = {**summary.of(make(Outcome.HELD, HELD)), "nodeid": "a::b", "reproduce": ""}
    lines = list(table([quiet], Path("nowhere"), []))
    assert not any("alerts" in line or "SOP" in line for line in lines)
    assert "1 of 1 scenario held; 350 requests" in lines


def _rows_of(results: list[Result]) -> list[str]:
    facts = [{**summary.of(each), "nodeid": "a.chaos.yaml::b", "reproduce": ""} for each in results]
    return list(table(facts, Path("nowhere"), [], width=120))[1 : 1 + len(facts)]


def test_secrets_in_a_reason_are_masked(make: Make) -> None:
    """A service's last lines may hold anything."""
    result = make(Outcome.BROKEN, reason="last lines: redis://:hunter2@localhost")
    assert "hunter2" not in failure(result) + str(summary.of(result))


def summaries(make: Make) -> list[dict[str, Any]]:
    """Of a scenario that held, its control, one that was violated and one that broke."""

    def of(nodeid: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        again = f"pytest --chaos --chaos-seed=7 --chaos-toxiproxy=binary {nodeid}"
        return {**summary.of(make(*arguments, **more)), "nodeid": nodeid, "reproduce": again}

    return [
        of("b.chaos.yaml::slow", Outcome.VIOLATED, VIOLATED, recovery=None),
        of("a.chaos.yaml::fine", Outcome.HELD, HELD),
        of("a.chaos.yaml::fine--control", Outcome.VIOLATED, VIOLATED, control=True),
        of("c.chaos.yaml::off", Outcome.BROKEN, reason="stub ended: exit status 1\n  its last lines", recovery=None),
    ]


def test_the_table(make: Make) -> None:
    """A row each, sorted; counts, score, the command for each that failed; where the reports are; what was swept."""
    for path in ("runs/1/made-up", "reports/allure-results"):
        Path(path).mkdir(parents=True)
    Path("reports/chaoskit.html").touch()
    assert list(table(summaries(make), Path("reports").absolute(), ["process 17"], width=100)) == [
        "scenario       verdict   recovery  evidence       worst finding",
        "fine           held      500ms     3 connections",
        "fine--control  caught    500ms     3 connections  during.ask.p95",
        "slow           violated  -         3 connections  during.ask.p95",
        "off            broken    -         3 connections  stub ended: exit status 1",
        "",
        "1 of 3 scenarios held, 1 of 1 control caught; 1400 requests",
        "stability score: 33.3 of 100",
        "run one again:",
        "  pytest --chaos --chaos-seed=7 --chaos-toxiproxy=binary b.chaos.yaml::slow",
        "  pytest --chaos --chaos-seed=7 --chaos-toxiproxy=binary c.chaos.yaml::off",
        "page: reports/chaoskit.html",
        "Allure results: reports/allure-results   (chaoskit report makes a site of them)",
        "histories: runs/1",
        "swept from an earlier run: process 17",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(make: Make, width: int) -> None:
    """Whatever the width: no line of the table is longer, every verdict is whole, what failed is told below."""
    facts = summaries(make)
    facts[0]["nodeid"] = f"b.chaos.yaml::{'a-very-long-name-' * 6}"
    facts[0]["evidence"] = ["119 connections", "40 packets", "3 restarts", "1000 hits"]
    lines = list(table(facts, Path("nowhere"), [], width=width))
    rows = lines[: lines.index("")]
    assert all(len(row) <= width for row in rows)
    for word in ("held", "caught", "violated", "broken", "during.ask.p95", "stub ended: exit status 1"):
        assert any(word in row for row in rows), word


def test_colours_are_only_added(make: Make) -> None:
    """The verdicts are painted, and only they; the columns stay where they were."""
    plain = list(table(summaries(make), Path("nowhere"), []))
    painted = list(table(summaries(make), Path("nowhere"), [], paint=lambda text, colour: f"<{colour}>{text}</>"))
    assert [re.sub(r"</?(?:green|red|yellow|purple)?>", "", line) for line in painted] == plain
    assert sum("<green>held " in line or "<green>caught " in line for line in painted) == 2
    assert sum("<red>violated" in line or "<yellow>broken" in line for line in painted) == 2


def test_many_failures(make: Make) -> None:
    """Five commands; the page has the others."""
    facts = [{**summaries(make)[0], "nodeid": f"b.chaos.yaml::slow-{number}"} for number in range(8)]
    lines = list(table(facts, Path("nowhere"), []))
    assert sum(line.startswith("  pytest --chaos") for line in lines) == 5
    assert "  (and 3 more; the page has a command for each)" in lines
