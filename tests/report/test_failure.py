"""The text of a failure: what failed, what else explains it, what to do, and where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from html_folders import Folders, fault, finding
from results_made import FAULT, HELD, VIOLATED, Make, maker, silent

from chaoskit.history import rows as r
from chaoskit.judge.verdict import Judged
from chaoskit.language.expectation import Finding, Outcome, too_few
from chaoskit.report import summary
from chaoskit.report.allure.words import message
from chaoskit.report.failure import failure
from chaoskit.report.html import write_page


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes results without running anything."""
    monkeypatch.chdir(tmp_path)
    return maker(tmp_path)


def test_the_text_of_a_failure(make: Make) -> None:
    """Source line, expected, seen, samples, worst, rows, evidence, seed, and how to judge again. Secrets masked."""
    assert failure(make(Outcome.VIOLATED, HELD, VIOLATED)).splitlines() == [
        "VIOLATED: Made up",
        "",
        "made-up.chaos.yaml:10: VIOLATED during.ask.p95",
        '    | ask: {p95: "< 500ms"}',
        "    expected  < 500ms",
        "    seen      812ms",
        "    samples   100",
        "    worst     worst second: 1s at +1.0 s",
        "    rows      a, b",
        "",
        "fault slow (noop on stub): +0.0 s to +2.0 s (12.3ms to inject), touched 3 connections: toxic=x, password=***",
        "(times such as +1.0 s count from the start of the first fault)",
        "steady state held again: after 500ms;  requests: 350;  seed: 7",
        f"history: {Path.cwd()}/runs/1/made-up   (judge it again: chaoskit judge {Path.cwd()}/runs/1/made-up)",
    ]


def test_the_reason_comes_first_where_no_finding_has_it(make: Make) -> None:
    """Broken and vacuous say why; a control that was not caught names the line of the control."""
    assert failure(make(Outcome.BROKEN, reason="no port")).splitlines()[:2] == [
        "BROKEN: Made up",
        "no port",
    ]
    text = failure(make(Outcome.HELD, control=False)).splitlines()
    assert text[:2] == ["CONTROL NOT CAUGHT: Made up", "made-up.chaos.yaml:1: why it was not"]


@pytest.mark.parametrize(("outcome", "said"), [(Outcome.INCONCLUSIVE, "INCONCLUSIVE"), (Outcome.BROKEN, "BROKEN")])
def test_a_control_that_says_nothing_is_called_so(make: Make, outcome: Outcome, said: str) -> None:
    """And not one that was not caught: in the terminal, in JUnit, in Allure, and in the table's word."""
    result = make(outcome, control=False)
    assert failure(result).splitlines()[:2] == [f"{said}: Made up", "made-up.chaos.yaml:1: why it was not"]
    assert message(result, []).startswith(f"{said}: why it was not")
    assert summary.of(result)["outcome"].upper() == said


def test_which_attempt_it_was(make: Make) -> None:
    """Said where no reason stands that says it."""
    before = [{"outcome": "inconclusive", "why": "others took 1.9 of 2 processors"}]
    assert failure(make(Outcome.VIOLATED, VIOLATED, meta={"attempts": before})).splitlines()[:2] == [
        "VIOLATED: Made up", "at the 2nd attempt; the 1st was inconclusive: others took 1.9 of 2 processors",
    ]  # fmt: skip


def test_the_page_leads_to_the_attempts(tmp_path: Path) -> None:
    """Each with what it came to and why; a folder that is gone is no link."""
    folders = Folders(tmp_path)
    before = [{"outcome": "inconclusive", "why": "others took <b>it</b>"}, {"outcome": "broken", "why": "late"}]
    folders.add("again", "violated", attempts=before, files={"attempt-1/run.json": "{}"})
    write_page(folders.recorded, folders.page, reports=tmp_path)
    text = folders.page.read_text(encoding="utf-8")
    assert (
        'Run 3 times; this is the last. <a href="./runs/20260101-100000-1/again/attempt-1/">attempt-1</a> was '
        "inconclusive: others took &lt;b&gt;it&lt;/b&gt;; attempt-2 was broken: late"
    ) in text


def test_what_follows_from_a_finding_is_one_line_under_it(make: Make) -> None:
    """Once for each cause; another finding stands by itself."""
    result = make(Outcome.VIOLATED, VIOLATED, *silent("alerts.X.resolves_within", "sop.times"))
    lines = failure(result).splitlines()
    assert [line for line in lines if line.startswith("made-up.chaos.yaml:")] == [
        "made-up.chaos.yaml:7: VIOLATED alerts.X.fires_within",
        "made-up.chaos.yaml:10: VIOLATED during.ask.p95",
    ]
    below = lines[lines.index("made-up.chaos.yaml:7: VIOLATED alerts.X.fires_within") :]
    assert below[5] == "    also      alerts.X.resolves_within, sop.times (for the same reason)"


def test_a_long_failure_is_bounded(make: Make) -> None:
    """Of findings, rows, facts and names the first few, none too long; how many more there are, and where."""
    many = [
        Judged(Finding(f"during.ask.{n}", Outcome.VIOLATED, "a", "b", 1, rows=("x" * 400,) * 9), 10) for n in range(11)
    ]
    evidence = {"header": f"token={'s' * 300}", **{f"fact{n}": n for n in range(1, 20)}}
    fault = msgspec.structs.replace(FAULT, touched=1, evidence=evidence)
    lines = failure(make(Outcome.VIOLATED, *many, faults=[fault])).splitlines()
    assert sum(": VIOLATED during" in line for line in lines) == 8
    assert "(and 3 findings more in verdict.json)" in lines
    rows = next(line for line in lines if line.startswith("    rows"))
    assert rows.endswith("… (and 4 more in verdict.json)")
    assert len(rows) < 5 * 125 + 60
    told = next(line for line in lines if line.startswith("fault slow"))
    assert told.endswith("touched 1 connection: header=token=***, fact1=1, fact2=2, fact3=3, fact4=4, fact5=5 "
                         "(and 14 more in faults.jsonl)")  # fmt: skip


def test_broken_says_where_the_history_is(make: Make) -> None:
    """Whoever looks for the reason needs the logs; and it can be judged again."""
    folder = f"{Path.cwd()}/runs/1/made-up"
    last = failure(make(Outcome.BROKEN, reason="no port")).splitlines()[-1]
    assert last == f"history: {folder}   (judge it again: chaoskit judge {folder})"


def test_broken_says_how_far_it_came(make: Make) -> None:
    """The last phase that ended; nothing where the run came to its end."""
    phases = [r.Phase(name=name, started=0, ended=1) for name in ("steady", "faults")]
    closed = r.Schedule(at=0, planned=1, sent=1, lag_p50=0, lag_p99=0, lag_max=0)
    told = [
        failure(make(Outcome.BROKEN, reason="no port", rows=rows)).splitlines()[2]
        for rows in ([], phases, [*phases, closed])
    ]
    assert told == ["broke in the first phase", "broke after the phase faults", ""]


def test_an_expectation_that_could_not_be_evaluated_is_no_broken_run(make: Make) -> None:
    """So in the terminal and in Allure; with the line to look at, which is that of the finding where no query is."""
    unread = Finding("during.ask.p95", Outcome.BROKEN, "= 0", "no such table", 0, ("expect", "during", "ask", "p95"))
    result = make(
        Outcome.BROKEN, Judged(unread, 10), reason="no such table", rows=[r.Phase(name="a", started=0, ended=1)]
    )
    said = [
        "the run itself came to its end, but this could not be evaluated: it says nothing about the service",
        "what to do: look at what during.ask.p95 asks for, and of whom (query, key, name), at made-up.chaos.yaml:10",
    ]
    assert failure(result).splitlines()[2:4] == said
    assert message(result, []).splitlines()[1:3] == said
    assert "broke" not in failure(result)


def test_nor_on_the_page(tmp_path: Path) -> None:
    """What was injected stands there instead of after which phase it broke."""
    folders = Folders(tmp_path)
    folders.add("unread", "broken", findings=[finding("ledger.ask.lost", "broken")], faults=[fault()])
    folders.add("no-start", "broken")
    write_page(folders.recorded, folders.page, reports=tmp_path)
    text = folders.page.read_text(encoding="utf-8")
    assert text.count("The run itself came to its end, but this could not be evaluated; this says nothing") == 2
    assert text.count("Broke before the first request") == 2, "both times of the other"
    assert "Injected: slow (latency on stub)" in text


def test_of_evidence_only_what_was_counted_is_shown(make: Make) -> None:
    """Not how the fault was set, not zeros, and nothing of Python's; the finding does not repeat it."""
    evidence = {
        "type": "latency", "attributes": {"latency": 500}, "toxic": {"connections": 4, "cut": 0}, "back": None,
        "strikes": [{"pid": 1}, {"pid": 2}], "at": "place", "pids": [3, 4], "gone": True,
    }  # fmt: skip
    rows = tuple(f"{key}={value}" for key, value in evidence.items())
    vacuous = Judged(Finding("fault.slow", Outcome.VACUOUS, "acts", "0 connections", 0, (), "", rows), 8)
    text = failure(make(Outcome.VACUOUS, vacuous, faults=[msgspec.structs.replace(FAULT, evidence=evidence)]))
    assert "touched 3 connections: toxic.connections=4, strikes=2, pids=[3, 4], gone=true\n" in text
    assert "{'" not in text
    silent = msgspec.structs.replace(FAULT, touched=0, evidence={"type": "latency", "toxic": {"cut": 0}})
    assert "touched 0 connections\n" in failure(make(Outcome.VACUOUS, faults=[silent]))


def test_each_fault_tells_when_it_acted(make: Make) -> None:
    """From the start of the first one, which need not be the first in the list; said once."""
    later = msgspec.structs.replace(FAULT, name="later", started=3.0, injected=3.0, ended=4.5)
    text = failure(make(Outcome.VIOLATED, VIOLATED, faults=[later, FAULT]))
    assert "fault later (noop on stub): +3.0 s to +4.5 s" in text
    assert "fault slow (noop on stub): +0.0 s to +2.0 s" in text
    assert text.count("count from the start of the first fault") == 1


@pytest.mark.parametrize(
    ("findings", "faults", "words"),
    [
        ([HELD], [msgspec.structs.replace(FAULT, touched=0)], "slow touched nothing; does traffic of this scenario"),
        ([HELD], [], "no fault was injected"),
        (["steady_state.ask.p95"], [FAULT], "the service was not well before the first fault"),
        (["during.ask.p99"], [FAULT], "raise the rate, or let the fault last longer (docs/verdicts.md#needed-samples)"),
        (["alerts.X.never"], [FAULT], "nothing was there to judge"),
    ],
)
def test_a_vacuous_verdict_says_what_to_do(make: Make, findings: list[Any], faults: list[r.Fault], words: str) -> None:
    """One line below the reason, with the page to read; other verdicts have none."""
    judged = [
        each if isinstance(each, Judged) else Judged(too_few(each, "< 1s", 3 if "p99" in each else 0, 100), 6)
        for each in findings
    ]
    if findings == ["alerts.X.never"]:
        judged = [Judged(Finding("alerts.X.never", Outcome.VACUOUS, "never", "silent, but nobody asked", 0), 6)]
    line = failure(make(Outcome.VACUOUS, *judged, faults=faults)).splitlines()[2]
    assert line.startswith("what to do: ")
    assert words in line
    assert "docs/verdicts.md" in line
    assert "what to do" not in failure(make(Outcome.VIOLATED, *judged, faults=faults))
