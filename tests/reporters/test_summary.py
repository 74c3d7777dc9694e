"""The short facts of a result, the text of a failure, and the table at the end of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaoskit.engine.session import Result
from chaoskit.engine.verdict import ControlVerdict, Judged, Verdict
from chaoskit.expectations.base import Finding, Outcome, too_few
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.reporters import summary
from chaoskit.reporters.failure import failure
from chaoskit.reporters.terminal import table
from chaoskit.scenario.loader import load

TEXT = """\
scenario: Made up
case: C1
severity: critical
environment: {services: {stub: {provider: noop}}}
traffic: {ask: {request: "GET {{ stub.url }}/", rate: 50/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{slow: {noop: {}, for: 2s}}]}
expect:
  during:
    ask: {p95: "< 500ms"}
"""
FAULT = r.Fault(
    name="slow", kind="noop", target="stub", planned_start=0, planned_end=2, started=0, injected=0.0123, ended=2,
    touched=3, unit="connections", evidence={"toxic": "x", "password": "password=hunter2"},
)  # fmt: skip
HELD = Judged(Finding("steady_state.ask.success_rate", Outcome.HELD, ">= 99%", "100%", 100), 6)
VIOLATED = Judged(
    Finding(
        "during.ask.p95",
        Outcome.VIOLATED,
        "< 500ms",
        "812ms",
        100,
        (),
        "worst second: 1s at +1.0 s",
        ("a", "b"),
    ),
    10,
)

Make = Callable[..., Result]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes results without running anything."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "made-up.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (scenario,) = load(file)

    def result(outcome: Outcome, *findings: Judged, control: bool | None = None, **fields: Any) -> Result:
        verdict = Verdict(
            outcome, fields.get("reason", "the reason"), findings, fields.get("faults", [FAULT]),
            fields.get("recovery", 0.5), 350, sop_recovery=fields.get("sop_recovery"),
        )  # fmt: skip
        judged = None if control is None else ControlVerdict(control, "why it was not", verdict)
        history = History()
        for row in fields.get("rows", ()):
            history.add(row)
        return Result(scenario, tmp_path / "runs" / "1" / "made-up", history, verdict, judged, 5.0, 7)

    return result


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
        "fault slow (noop on stub): 12.3ms to inject, touched 3 connections toxic=x, password=***",
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


def silent(*ids: str) -> list[Judged]:
    """An alert that never fired, and what follows from it."""
    found = [Judged(Finding("alerts.X.fires_within", Outcome.VIOLATED, "fires within 5s", "never fired", 0), 7)]
    return found + [
        Judged(Finding(id_, Outcome.VACUOUS, "", "it never fired", 0, because="alerts.X.fires_within"), 8)
        for id_ in ids
    ]


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


def test_the_first_finding_is_a_cause(make: Make) -> None:
    """Not what follows from it, though that stands in an earlier line; so in the one line for pytest's summary."""
    (cause,) = silent()
    earlier = Judged(Finding("sop.times", Outcome.VIOLATED, ">= 1", "0", 0, because=cause.finding.id), 3)
    facts = summary.of(make(Outcome.VIOLATED, earlier, cause))
    assert facts["worst"] == cause.finding.id
    assert facts["headline"] == "alerts.X.fires_within: expected fires within 5s, seen never fired"


def test_a_long_failure_is_bounded(make: Make) -> None:
    """Of findings, rows, facts and names the first few, none too long; how many more there are, and where."""
    many = [
        Judged(Finding(f"during.ask.{n}", Outcome.VIOLATED, "a", "b", 1, rows=("x" * 400,) * 9), 10) for n in range(11)
    ]
    evidence = {"header": f"token={'s' * 300}", **{f"fact{n}": n for n in range(20)}}
    fault = msgspec.structs.replace(FAULT, touched=1, evidence=evidence)
    lines = failure(make(Outcome.VIOLATED, *many, faults=[fault])).splitlines()
    assert sum(": VIOLATED during" in line for line in lines) == 8
    assert "(and 3 findings more in verdict.json)" in lines
    rows = next(line for line in lines if line.startswith("    rows"))
    assert rows.endswith("… (and 4 more in verdict.json)")
    assert len(rows) < 5 * 125 + 60
    told = next(line for line in lines if line.startswith("fault slow"))
    assert told.endswith("touched 1 connection header=token=***, fact0=0, fact1=1, fact2=2, fact3=3, fact4=4 "
                         "(and 15 more in faults.jsonl)")  # fmt: skip


def test_broken_says_where_the_history_is(make: Make) -> None:
    """Whoever looks for the reason needs the logs."""
    assert failure(make(Outcome.BROKEN, reason="no port")).splitlines()[-1] == f"history: {Path.cwd()}/runs/1/made-up"


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
