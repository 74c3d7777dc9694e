"""Two runs side by side (cases G3 and G4): outcomes, figures under the faults, business limits, text and figure."""

from __future__ import annotations

import json
import re

import pytest
from recordings import made, measured

from chaoskit.base.errors import ChaosError
from chaoskit.judge.operation_figures import share_over
from chaoskit.trend.compare import compare, lines
from chaoskit.trend.compare.changes import Figure
from chaoskit.trend.compare.figure import draw


def decisions(slow: int, *, fallback: float = 0.0):
    """An operation of which ``slow`` of 1000 requests take 380 ms, the others 40 ms."""
    return {"decide": measured([0.04] * (1000 - slow) + [0.38] * slow, success=0.998, fallback=fallback)}


BEFORE = [
    made("decide", "violated", operations=decisions(60, fallback=0.72), recovery=12.0, severity="critical"),
    made("steady"),
    made("gone"),
    made("decide--control", "caught", control=True),
]
AFTER = [
    made("decide", operations=decisions(3, fallback=0.94), recovery=2.0, severity="critical"),
    made("steady", operations={"ask": measured([0.012] * 200)}),
    made("new", "violated", reason="during.ask.p95: expected < 1s, seen 2s"),
    made("decide--control", "not caught", control=True),
]


def figures(change):
    """By operation and name."""
    return {(op, figure.name): figure for op, figure in change.figures()}


@pytest.mark.parametrize(("limit", "share"), [(0.2, 0.06), (0.03, 1.0), (0.38, 0.0), (10.0, 0.0)])
def test_the_share_over_a_limit(limit, share):
    """Of all latencies, from the histogram; a latency at the limit is not over it."""
    assert share_over(decisions(60)["decide"].histogram, limit) == pytest.approx(share)


def test_a_histogram_that_is_none():
    """It is refused, not misread; an empty one has no share."""
    from chaoskit.history.windows import histogram

    with pytest.raises(ValueError, match="not an HdrHistogram"):
        share_over("nonsense", 1)
    assert share_over(histogram([]).encode().decode(), 1) is None


def test_before_and_after():
    """Outcome, recovery, success, percentiles, fallback, and the share over the business limit."""
    comparison = compare(("a", BEFORE), ("b", AFTER), {"decide": 0.2})
    changes = {change.name: change for change in comparison.changes}
    assert [change.name for change in comparison.changes] == ["decide", "gone", "new", "steady", "decide--control"]
    decide = changes["decide"]
    assert (decide.before, decide.after, decide.direction) == ("violated", "held", "better")
    found = figures(decide)
    assert (found["", "recovery"].before, found["", "recovery"].after) == (12.0, 2.0)
    assert found["", "recovery"].direction == "better"
    assert found["decide", "p99"].direction == "better"
    assert found["decide", "p50"].direction == "same"
    assert found["decide", "over 200ms"].before == pytest.approx(0.06)
    assert found["decide", "over 200ms"].after == pytest.approx(0.003)
    assert found["decide", "over 200ms"].direction == "better"
    assert found["decide", "fallback"].direction == ""
    assert changes["steady"].direction == "same"
    assert (changes["gone"].after, changes["new"].before) == (None, None)
    assert changes["decide--control"].direction == "worse"


SCENARIO = """\
scenario: Slow
description: before
traffic: {ask: {request: GET /, rate: 50/s}}
timeline: {steady: 2s}
expect: {during: {ask: {p95: "< 1s"}}}
control: {violates: [during]}
"""


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("", "", []),
        ("scenario: Slow", "# a comment\n\nscenario:    'Slow'", []),
        ("description: before", "owner: me", []),
        ("violates: [during]", "violates: [recovery]", []),
        ("< 1s", "< 2s", ["expect"]),
        ("rate: 50/s", "rate: 5/s", ["traffic"]),
        ("timeline: {steady: 2s}", "sops: [mend]\ntimeline: {steady: 3s}", ["timeline", "sops"]),
        ("traffic:", "traffic: ]", None),
    ],
)
def test_a_scenario_that_was_changed_in_between(tmp_path, old, new, keys):
    """Figures of another traffic, other bounds or faults are told to be; comments and texts are no change."""
    runs = []
    for name, text in (("a", SCENARIO), ("b", SCENARIO.replace(old, new) if old else SCENARIO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scenario.chaos.yaml").write_text(text, encoding="utf-8")
        runs.append((name, [made("slow", folder=tmp_path / name)]))
    comparison = compare(*runs)
    assert comparison.as_dict()["scenarios"][0]["scenario_differs"] == keys
    told = [line for line in lines(comparison) if "the scenario itself differs" in line]
    words = f"    the scenario itself differs ({', '.join(keys or ())}): its traffic, bounds or faults were changed"
    assert told == ([f"{words} in between"] if keys else [])


def test_a_control_that_was_changed_in_between(tmp_path):
    """What was off, of a control's run."""
    runs = []
    for name, text in (("a", SCENARIO), ("b", SCENARIO.replace("violates: [during]", "violates: [recovery]"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scenario.chaos.yaml").write_text(text, encoding="utf-8")
        runs.append((name, [made("slow--control", "caught", control=True, folder=tmp_path / name)]))
    assert compare(*runs).changes[0].differs == ["control"]


def test_the_scenarios_own_limit():
    """Without a limit given, it is the bound of the highest percentile under the faults, else of the steady state."""

    def finding(id: str, expected: str):
        return {"id": id, "outcome": "held", "expected": expected, "seen": "", "samples": 1, "line": 1}

    steady = finding("steady_state.decide.p95", "< 100ms")
    during = [finding("during.decide.p50", "< 50ms"), finding("during.decide.p99", "200ms..300ms")]
    told = (("<= 3", "96ms"), ("1x..2", "1s..2s"), (">= 1", "9ms"))
    relative = [finding("during.decide.p99", f"{bound}x steady (= {of})") for bound, of in told]
    cases = [([one, steady], name) for one, name in zip(relative, ("over 96ms", "over 2s", "over 100ms"), strict=True)]
    for found, name in [*cases, ([steady], "over 100ms"), ([steady, *during], "over 300ms"), ([], None)]:
        one = made("decide", operations=decisions(60), findings=found)
        (change,) = compare(("a", [one]), ("b", [one])).changes
        names = [figure.name for _, figure in change.figures() if figure.name.startswith("over")]
        assert names == ([name] if name else [])


def test_scenarios_that_were_moved_are_found_by_name():
    """A run without node ids, or a file that has another place now."""
    moved = made("decide", nodeid="other/place.chaos.yaml::decide", outcome="broken")
    plain = made("decide", nodeid="")
    for old in (moved, plain):
        (change,) = compare(("a", [old]), ("b", [made("decide")])).changes
        assert (change.before, change.after) == (old.outcome, "held")


def test_noise_is_no_change():
    """Two runs of one build differ by a tenth, by 20 ms, or by half a percentage point."""

    def direction(kind, wanted, before, after):
        return Figure("x", kind, wanted, before, after).direction

    assert direction("duration", "down", 1.0, 1.09) == "same"
    assert direction("duration", "down", 0.01, 0.025) == "same"
    assert direction("duration", "down", 1.0, 1.2) == "worse"
    assert direction("duration", "down", 1.2, 1.0) == "better"
    assert direction("share", "up", 1.0, 0.996) == "same"
    assert direction("share", "up", 1.0, 0.9) == "worse"
    assert direction("share", "", 0.1, 0.9) == ""
    assert direction("share", "up", None, 0.9) == ""


def test_text():
    """What got better or worse is marked, figures carry units and their change."""
    text = "\n".join(lines(compare(("a", BEFORE), ("b", AFTER), {"decide": 0.2})))
    assert re.search(r"^before  a   score \d", text, re.MULTILINE)
    assert re.search(r"^\+ decide  violated → held  \(critical\)$", text, re.MULTILINE)
    assert re.search(r"^  \+ recovery +12s → 2s +\(-83%\)$", text, re.MULTILINE)
    assert re.search(r"^  \+ decide p99 +380ms → 40ms +\(-89%\)$", text, re.MULTILINE)
    assert re.search(r"^  \+ decide over 200ms +6% → 0\.3% +\(-5\.7 points\)$", text, re.MULTILINE)
    assert re.search(r"^    decide fallback +72% → 94% +\(\+22 points\)$", text, re.MULTILINE)
    assert re.search(r"^- decide--control  caught → not caught", text, re.MULTILINE)
    assert "  gone  held → not there" in text
    assert "\nthe scores are of different scenarios: 3 of 5 are in both runs\n" in text
    assert "  new  not there → violated  (normal)\n    during.ask.p95: expected < 1s, seen 2s" in text
    assert text.endswith(
        "outcomes: 1 worse, 1 better, 1 as before, 1 new, 1 not there any more;  figures: 0 worse, 3 better"
    )


def test_json():
    """Plain data in seconds and shares."""
    data = json.loads(json.dumps(compare(("a", BEFORE), ("b", AFTER)).as_dict()))
    assert data["before"]["run"] == "a"
    (decide,) = [each for each in data["scenarios"] if each["name"] == "decide"]
    assert decide["outcome"] == {"before": "violated", "after": "held", "direction": "better"}
    assert decide["recovery"] == {"before": 12.0, "after": 2.0, "direction": "better"}
    assert decide["operations"]["decide"]["success"]["after"] == 0.998


def test_an_operation_that_nobody_has():
    """A limit for it is a mistake."""
    with pytest.raises(ChaosError, match=r"unknown operation 'decid'; legal: ask, decide; did you mean 'decide'\?"):
        compare(("a", BEFORE), ("b", AFTER), {"decid": 0.2})


def test_the_figure():
    """SVG with its text as text, and PNG; the same runs give the same bytes; runs with nothing in them too."""
    comparison = compare(("run-a", BEFORE), ("run-b", AFTER), {"*": 0.2})
    svg, png = draw(comparison)
    assert png.startswith(b"\x89PNG")
    text = svg.decode()
    for words in ("run-a  →  run-b", "violated → held", "380ms → 40ms", "12s → 2s", "not there", "better", "worse"):
        assert words in text
    assert "control" not in text
    assert draw(comparison) == (svg, png)
    assert draw(compare(("a", []), ("b", [])))[1].startswith(b"\x89PNG")
    assert draw(compare(("a", [made("x", "broken")]), ("b", [])))[1].startswith(b"\x89PNG")
