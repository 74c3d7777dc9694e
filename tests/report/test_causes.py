"""Findings that follow from another are told under it: the folding itself, on the page, and in Allure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from figures_histories import scenarios, usual
from html_folders import Folders, finding
from hypothesis import given
from hypothesis import strategies as st
from test_html_page import written

from chaoskit.engine.session import Result
from chaoskit.judge.consequences import folded
from chaoskit.judge.verdict import Judged, Verdict
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Finding, Outcome, check, too_few
from chaoskit.report.allure.steps import Steps
from chaoskit.report.allure.words import message, sentence

Told = tuple[str, str]


def fold(*findings: Told) -> list[tuple[str, list[str]]]:
    """Ids by the ids of their causes; a finding is (id, because)."""
    return [
        (cause[0], [one[0] for one in follow]) for cause, follow in folded(findings, lambda f: f[0], lambda f: f[1])
    ]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([("a", ""), ("b", "a"), ("c", "")], [("a", ["b"]), ("c", [])]),
        ([("b", "a"), ("a", ""), ("c", "b")], [("a", ["b", "c"])]),
        ([("b", "gone"), ("a", "")], [("b", []), ("a", [])]),
        ([("a", "b"), ("b", "a"), ("c", "b")], [("a", []), ("b", []), ("c", [])]),
        ([("a", "a")], [("a", [])]),
        ([("a", ""), ("a", ""), ("b", "a")], [("a", ["b"]), ("a", [])]),
    ],
    ids=["one", "chain", "unknown", "circle", "itself", "twice"],
)
def test_folding(findings: list[Told], expected: list[tuple[str, list[str]]]) -> None:
    """Chains are put under their first cause; what leads nowhere stands by itself."""
    assert fold(*findings) == expected


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", *"abcdefg"])), max_size=8))
def test_none_is_lost(findings: list[Told]) -> None:
    """Whatever the causes say, each finding is told exactly once."""
    told = [name for cause, follow in fold(*findings) for name in (cause, *follow)]
    assert sorted(told) == sorted(name for name, _ in findings)


def test_on_the_page(tmp_path: Path) -> None:
    """At the top the cause alone, with how many follow; in the card they are folded in a row of their own."""
    folders = Folders(tmp_path / "reports")
    cause = finding("during.ask.p95", "violated")
    folders.add(
        "too-slow", "violated",
        findings=[cause, *(finding(f"after.{name}", "violated", because=cause["id"]) for name in "ab")],
    )  # fmt: skip
    folders.add("untouched", "vacuous", findings=[finding("x", "vacuous"), finding("y", "vacuous", because="z")])
    text = written(folders).text
    top, _, cards = text.partition("What the verdicts mean")
    assert "2 more findings because of this" in top
    assert "after.a" not in top
    assert "1 finding not met" in cards
    assert "2 more findings not met because of during.ask.p95 Outcome Finding" in cards
    assert cards.index("because of during.ask.p95") < cards.index("after.a") < cards.index("after.b")
    assert "2 findings not met" in cards, "a cause that is not there hides nothing"


def test_how_many_samples_there_were_is_told_once() -> None:
    """A finding that lacks samples says itself how many it had."""
    assert sentence(too_few("during.ask.p99", "< 1s", 20, 100, seen="71.1ms")) == (
        "during.ask.p99: expected < 1s, seen 71.1ms on 20 samples; 100 are needed"
    )
    assert sentence(check("during.ask.p99", Bound.parse("< 1s", "duration"), 2.0, 100)) == (
        "during.ask.p99: expected < 1s, seen 2s in 100 samples"
    )


def test_in_allure(tmp_path: Path) -> None:
    """Steps within the step of the cause; the message says how many follow, and not what."""
    (scenario,) = scenarios(tmp_path)

    def failed(id: str, because: str = "") -> Judged:
        return Judged(Finding(id, Outcome.VIOLATED, "< 1s", "2s", 5, because=because), 3)

    held = Judged(replace(failed("during.ask.p50").finding, outcome=Outcome.HELD), 3)
    findings = [held, failed("during.ask.p95"), failed("alerts.Slow", "during.ask.p95"), failed("recovery.within")]
    verdict = Verdict(Outcome.VIOLATED, "", findings)
    result = Result(scenario, tmp_path, usual().history, verdict, None, 5.0, 7)
    steps = {step.name.partition(":")[0]: step for step in Steps(result, 0.0).all()}
    assert "expect alerts" not in steps
    assert steps["expect during"].name == "expect during: 1 of 2 held"
    _, cause = steps["expect during"].steps
    assert cause.name.endswith("2s (expected < 1s), and 1 more finding because of this")
    assert [step.name.partition(":")[0] for step in cause.steps] == ["violated alerts.Slow"]
    first, other = message(result, []).splitlines()
    assert first == "VIOLATED: during.ask.p95: expected < 1s, seen 2s in 5 samples (1 more finding because of this)"
    assert other == "recovery.within: expected < 1s, seen 2s in 5 samples"
