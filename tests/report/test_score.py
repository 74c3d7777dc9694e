"""The stability score: what docs/score.md promises, for random runs, and its worked example."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st
from recordings import made

from chaoskit.report.runs import Recorded
from chaoskit.report.score import WEIGHTS, score, told, weigh, weight

SEVERITIES = list(WEIGHTS)
FAILED = ["violated", "vacuous", "broken", "invalid"]


@st.composite
def runs(draw: st.DrawFn, at_least: int = 1) -> list[Recorded]:
    """Scenarios of any severity and outcome, some with a control, some skipped; at least one was run."""
    found: list[Recorded] = []
    for index in range(draw(st.integers(at_least, 12))):
        severity = draw(st.sampled_from(SEVERITIES))
        outcome = draw(st.sampled_from(["held", *FAILED, "skipped"]))
        found.append(made(f"s-{index}", outcome, severity=severity))
        if draw(st.booleans()):
            outcome = draw(st.sampled_from(["caught", "not caught", "broken", "skipped"]))
            found.append(made(f"s-{index}--control", outcome, severity=severity, control=True))
    assume(any(not each.skipped for each in found))
    return found


def value(recorded: list[Recorded]) -> float:
    """The score of a run that has one."""
    found = score(recorded)
    assert found is not None
    return found


@given(runs())
def test_it_lies_between_0_and_100(recorded):
    """100 exactly when all that was run held, 0 exactly when nothing did."""
    assert 0 <= value(recorded) <= 100
    assert (value(recorded) == 100) == all(each.passed or each.skipped for each in recorded)
    if not any(each.passed for each in recorded):
        assert value(recorded) == 0


@given(runs(), st.data())
def test_a_violation_never_raises_it(recorded, data):
    """Whatever else is in the run, and whether it is the scenario or its control that fails, or its file."""
    index = data.draw(st.sampled_from([i for i, each in enumerate(recorded) if not each.skipped]))
    outcome = "not caught" if recorded[index].control else data.draw(st.sampled_from(FAILED))
    worse = [*recorded]
    severity = "unknown" if outcome == "invalid" else recorded[index].severity
    worse[index] = replace(recorded[index], outcome=outcome, severity=severity)
    assert value(worse) <= value(recorded)
    if weigh(recorded)[[unit.key for unit in weigh(recorded)].index(_unit(recorded[index]))].held:
        assert value(worse) < value(recorded)


def _unit(recorded: Recorded) -> str:
    return recorded.key.removesuffix("--control")


@given(runs(at_least=2), st.data())
def test_more_severe_costs_more(recorded, data):
    """Of two scenarios that held, the more severe one costs more when it fails alone."""
    alone = [replace(each, outcome="held") for each in recorded if not each.control]
    first, second = data.draw(st.permutations(range(len(alone))))[:2]

    def failing(index: int) -> float:
        return value([replace(each, outcome="violated") if i == index else each for i, each in enumerate(alone)])

    weights = [WEIGHTS[alone[index].severity] for index in (first, second)]
    assert (failing(first) < failing(second)) == (weights[0] > weights[1])
    assert (failing(first) == failing(second)) == (weights[0] == weights[1])


@given(runs(), st.data())
def test_a_failing_scenario_that_counts_more_never_raises_it(recorded, data):
    """Raising the severity of what fails lowers the score, unless it is 0 already."""
    failing = sorted({_unit(each) for each in recorded if not each.passed and not each.skipped})
    assume(failing)
    chosen = data.draw(st.sampled_from(failing))
    graver = [
        replace(each, severity=SEVERITIES[max(0, SEVERITIES.index(each.severity) - 1)])
        if _unit(each) == chosen
        else each
        for each in recorded
    ]
    assert value(graver) <= value(recorded)


@given(runs(), st.randoms())
def test_order_and_what_was_skipped_do_not_matter(recorded, random):
    """Neither does a control that is caught."""
    shuffled = [*recorded, made("other", "skipped", severity="blocker")]
    random.shuffle(shuffled)
    assert value(shuffled) == value(recorded)
    with_control = {_unit(each) for each in recorded if each.control}
    caught = [
        made(f"{each.name}--control", "caught", severity=each.severity, control=True)
        for each in recorded
        if not each.control and not each.skipped and each.key not in with_control
    ]
    assert value([*recorded, *caught]) == value(recorded)


def test_nothing_that_was_run_is_no_score():
    """Neither 0 nor 100: there is nothing to be said."""
    assert score([]) is None
    assert score([made(outcome="skipped")]) is None
    assert told(None) == "-"


def test_only_a_perfect_run_reads_100():
    """Shown scores are rounded down."""
    assert told(100.0) == "100"
    assert told(99.999) == "99.9"
    assert told(200 / 3) == "66.6"


def test_the_example_in_the_docs():
    """The table of docs/score.md comes to what it says, and its weights are the ones in force."""
    text = (Path(__file__).parents[2] / "docs" / "score.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (\w+) \| (\w+) \| ?([\w ]*?) ?\| (\d*) ?\| ?(\d*) ?\|$", text, re.MULTILINE)
    assert len(rows) == 6
    recorded = []
    for name, severity, outcome, control, weighs, _ in rows:
        slug = name.replace(" ", "-")
        recorded.append(made(slug, outcome, severity=severity))
        if control:
            recorded.append(made(f"{slug}--control", control, severity=severity, control=True))
        assert not weighs or int(weighs) == WEIGHTS[severity]
    (result,) = re.findall(r"= ([\d.]+)$", text, re.MULTILINE)
    assert told(score(recorded)) == result
    assert dict(re.findall(r"^\| (\w+)(?: \([^)]+\))? \| (\d+) \|$", text, re.MULTILINE)) == {
        name: str(weight(name)) for name in [*WEIGHTS, "unknown"]
    }


def test_an_invalid_file_counts_as_the_gravest():
    """It may have been any severity, so that a mistake in it never pays."""
    bad = made("bad", "invalid", severity="unknown")
    for severity in WEIGHTS:
        assert value([made("ok"), bad]) <= value([made("ok"), made("bad", "violated", severity=severity)])
    assert value([bad]) == 0
