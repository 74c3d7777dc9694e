"""What the gate decides: by severities, by the score, and against earlier runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import made, measured

from chaoskit.base.errors import ChaosError
from chaoskit.report.score import WEIGHTS
from chaoskit.trend.gate import BLOCKED, INCONCLUSIVE, NOTHING, PASSED, Settings, ask, decide
from chaoskit.trend.gate.past import Earlier, Past
from chaoskit.trend.gate.report import text
from chaoskit.trend.history_db import Database, Revision

SETTINGS = Settings()


def against(*runs, commit: str = ""):
    """Earlier runs as a baseline."""
    return Past(what="earlier", baseline=[Earlier(str(n), run) for n, run in enumerate(runs)], commit=commit)


def checks(decision):
    """The checks that block."""
    return [reason.check for reason in decision.reasons]


def test_a_run_that_held_passes():
    """Exit status 0, no reasons."""
    decision = decide("1", [made(), made("made-up--control", "caught", control=True)], SETTINGS)
    assert (decision.decision, decision.status, decision.score, decision.reasons) == (PASSED, 0, 100, [])


@pytest.mark.parametrize("severity", list(WEIGHTS))
@pytest.mark.parametrize("outcome", ["violated", "vacuous", "broken"])
def test_severities(severity, outcome):
    """A failing scenario blocks if its severity is one that does; otherwise it is named as one that does not."""
    rest = [made(f"ok-{index}", severity="blocker") for index in range(20)]
    decision = decide("1", [*rest, made("bad", outcome, severity=severity)], SETTINGS)
    blocks = severity in SETTINGS.block
    assert decision.status == (1 if blocks else 0)
    assert [(failed.name, failed.blocks) for failed in decision.failed] == [("bad", blocks)]
    assert checks(decision) == (["severity"] if blocks else [])


def test_what_stays_inconclusive_blocks_with_a_status_of_its_own():
    """It is no pass; what the machine did is told from what the service did."""
    rest = [made(f"ok-{index}") for index in range(20)]
    run = [*rest, made("disturbed", "inconclusive", severity="critical")]
    decision = decide("1", run, SETTINGS)
    assert (decision.decision, decision.status, checks(decision)) == (INCONCLUSIVE, 4, ["inconclusive"])
    worse = decide("1", [*run, made("bad", "violated", severity="critical")], SETTINGS)
    assert (worse.decision, worse.status) == (BLOCKED, 1)
    assert decide("1", [made("disturbed", "inconclusive")], SETTINGS).status == 4
    few = [made(), made("disturbed", "inconclusive", severity="minor")]
    assert decide("1", few, Settings(min_score=99)).status == 4, "the score fell for nothing else"


def test_what_stays_inconclusive_can_be_left_out():
    """And is named. Where nothing else was run there is nothing to judge, which is no pass either."""
    settings = Settings(inconclusive="ignore")
    decision = decide("1", [made(), made("disturbed", "inconclusive", severity="blocker")], settings)
    assert (decision.decision, decision.score) == (PASSED, 100)
    assert [(failed.name, failed.blocks) for failed in decision.failed] == [("disturbed", False)]
    assert any("disturbed" in note for note in decision.notes)
    nothing = decide("1", [made("disturbed", "inconclusive")], settings)
    assert nothing.decision == NOTHING
    assert "  all that was run stayed inconclusive, so nothing can be said" in list(text(nothing))
    assert "  nothing was run, so nothing can be said" in list(text(decide("1", [], settings)))


def test_an_invalid_file_blocks_whatever_the_settings():
    """Its severity is unknown; it is named first, and beside what else blocks."""
    run = [made(), made("worse", "violated", severity="blocker"), made("bad", "invalid", severity="unknown")]
    decision = decide("1", run, Settings(min_score=0, block=[]))
    assert (decision.status, checks(decision)) == (1, ["invalid"])
    assert decision.reasons[0].text == "bad is invalid: because"
    assert [(failed.name, failed.severity, failed.blocks) for failed in decision.failed] == [
        ("bad", "unknown", True),
        ("worse", "blocker", False),
    ]
    assert checks(decide("1", run, SETTINGS)) == ["invalid", "severity", "min_score"]


def test_a_control_that_is_not_caught_blocks():
    """The scenario proves nothing then."""
    decision = decide("1", [made(), made("made-up--control", "not caught", control=True)], SETTINGS)
    assert checks(decision) == ["severity", "min_score"]


def test_the_lowest_score():
    """A score just as high as asked for passes."""
    run = [made("a", severity="minor"), made("b", "violated", severity="minor")]
    assert decide("1", run, Settings(min_score=50, block=[])).decision == PASSED
    low = decide("1", run, Settings(min_score=50.1, block=[]))
    assert (low.status, checks(low)) == (1, ["min_score"])
    assert "score is 50, at least 50.1" in low.reasons[0].text


def test_nothing_to_judge():
    """Exit status 3: neither passed nor blocked, whatever the settings."""
    for run in ([], [made("a", "skipped", reason="no netem here")]):
        decision = decide("1", run, SETTINGS)
        assert (decision.decision, decision.status, decision.score) == (NOTHING, 3, None)
    assert [(each.name, each.reason) for each in decision.skipped] == [("a", "no netem here")]


@pytest.mark.parametrize(("recovery", "blocks"), [(1.0, False), (3.9, False), (4.1, True)])
def test_recovery_against_the_baseline(recovery, blocks):
    """The median of what it was, and as much more as is allowed: 1 s + 100 % + 2 s."""
    past = against(*[[made(recovery=value)] for value in (0.2, 1.0, 60.0)])
    decision = decide("1", [made(recovery=recovery)], SETTINGS, past)
    assert checks(decision) == (["recovery"] if blocks else [])
    if blocks:
        (reason,) = decision.reasons
        assert (reason.seen, reason.baseline, reason.allowed) == (recovery, 1.0, 4.0)
        assert reason.text == "made-up recovers after 4.1s; it was 1s, allowed is 4s (100% + 2s)"


def slow(seconds: float, requests: int = 200):
    """Operations of which all answers take as long."""
    return {"ask": measured([seconds] * requests)}


def test_p99_against_the_baseline():
    """Only of enough requests on both sides: of fewer a p99 is nothing but the slowest one."""
    usual = against([made(operations=slow(0.1))])
    assert checks(decide("1", [made(operations=slow(0.44))], SETTINGS, usual)) == []
    decision = decide("1", [made(operations=slow(0.5))], SETTINGS, usual)
    assert checks(decision) == ["p99"]
    assert (decision.reasons[0].operation, decision.reasons[0].scenario) == ("ask", "scenarios/x.chaos.yaml::made-up")
    assert checks(decide("1", [made(operations=slow(0.5, 99))], SETTINGS, usual)) == []
    assert checks(decide("1", [made(operations=slow(0.5))], SETTINGS, against([made(operations=slow(0.1, 99))]))) == []


def test_what_failed_is_no_baseline_and_is_not_compared():
    """Neither on the one side nor on the other; what is new is noted."""
    quick = made(recovery=0.1)
    assert checks(decide("1", [made(recovery=50)], SETTINGS, against([replace(quick, outcome="violated")]))) == []
    violated = decide("1", [made(outcome="violated", recovery=50)], Settings(block=[], min_score=0), against([quick]))
    assert "recovery" not in checks(violated)
    new = decide("1", [quick, made("new")], SETTINGS, against([quick]))
    assert new.notes == ["not in the baseline, so not compared: new"]


def test_a_baseline_that_did_not_hold_is_told():
    """Then recovery and p99 are held against nothing, which is no reason to be silent; one run that held is enough."""
    bad, good = made(outcome="violated", recovery=None), made(recovery=0.1)
    decision = decide("1", [made(recovery=50)], SETTINGS, against([bad]))
    assert decision.notes == [
        "did not hold in the baseline, so recovery and p99 are not compared: made-up (violated in 0)"
    ]
    assert checks(decision) == []
    both = decide("1", [made(recovery=50)], SETTINGS, against([bad], [good]))
    assert (both.notes, checks(both)) == ([], ["recovery"])
    skipped = decide("1", [made()], SETTINGS, against([made(outcome="skipped")]))
    assert skipped.notes == ["not in the baseline, so not compared: made-up"]


def test_the_score_against_the_baseline():
    """More points lost than allowed; only the scenarios of this run are counted in the baseline."""
    good = [made(f"s-{index}", severity="minor") for index in range(10)]
    bad = [*good[:8], *(replace(each, outcome="violated") for each in good[8:])]
    loose = Settings(block=[], min_score=0)
    assert checks(decide("1", bad, loose, against(good))) == ["score"]
    assert checks(decide("1", bad, loose.model_copy(update={"score_drop": 20.0}), against(good))) == []
    assert checks(decide("1", good[:2], loose, against(good))) == []
    partial = decide("1", bad[8:9], loose, against(bad))
    assert (partial.baseline.score, checks(partial)) == (0, [])


def test_the_score_of_what_both_have():
    """What the baseline does not have counts on neither side: a run of more, or of less, is no change by itself."""
    loose = Settings(block=[], min_score=0)
    whole = [made("a"), made("b"), made("c", "violated"), made("d", "violated")]
    decision = decide("1", whole, loose, against([made("a")]))
    assert (checks(decision), decision.score, decision.baseline.score, decision.baseline.compared) == ([], 50, 100, 100)
    decision = decide("1", [made("c", "violated")], loose, against(whole))
    assert (checks(decision), decision.baseline.score, decision.baseline.compared) == ([], 0, 0)
    none = decide("1", [made("e", "violated")], loose, against(whole))
    assert (checks(none), none.baseline.score, none.baseline.compared) == ([], None, None)


def test_the_score_is_put_together_from_several_runs():
    """Each scenario as in its newest run, then as in the one before; a control belongs to its scenario's run."""
    control = {"control": True}
    now = [made("a", "violated"), made("b"), made("b--control", "caught", **control)]
    runs = ([made("a")], [made("b"), made("b--control", "not caught", **control)], [made("a"), made("b")])
    loose = Settings(block=[], min_score=0)
    newest = Past(what="x", baseline=[Earlier(str(n), run) for n, run in enumerate(runs)], depth=1)
    assert decide("1", now, loose, newest).baseline.score == 50
    assert decide("1", now, loose, replace(newest, depth=2)).baseline.score == 75


def test_regressions_can_be_off():
    """Each on its own."""
    off = Settings(recovery="off", p99="off", score_drop="off")
    past = against([made(recovery=0.1, operations=slow(0.01))])
    decision = decide("1", [made(recovery=900, operations=slow(60))], off, past)
    assert (decision.status, decision.settings["recovery"], decision.settings["score_drop"]) == (0, "off", "off")


@pytest.mark.parametrize(
    ("earlier", "now", "named"),
    [
        ([], "violated", False),
        (["held", "held"], "violated", False),
        (["held", "violated"], "violated", False),
        (["held", "violated"], "held", True),
        (["violated", "held"], "vacuous", True),
        (["held", "skipped", "held"], "held", False),
        (["violated", "vacuous"], "broken", False),
    ],
)
def test_unstable(earlier, now, named):
    """Passed, failed and passed again, or the other way round; one change may be a real one."""
    key = made().key
    past = Past(recent=[("", {key: outcome}) for outcome in earlier])
    decision = decide("1", [made(outcome=now)], SETTINGS, past)
    assert [each.name for each in decision.unstable] == (["made-up"] if named else [])
    if named:
        assert decision.unstable[0].outcomes == [*earlier, now]


def test_unstable_counts_a_scenarios_own_runs():
    """Runs of other scenarios in between do not age it; flips older than its last runs are forgotten."""
    key = made().key
    other = [("", {"another": "held"})] * 30
    flipped = [("", {key: "held"}), *other, ("", {key: "violated"}), *other]
    now = [made(outcome="held")]
    assert decide("1", now, SETTINGS, Past(recent=flipped)).unstable
    assert not decide("1", now, SETTINGS, Past(recent=[*flipped, *[("", {key: "held"})] * 9])).unstable


def test_unstable_on_one_commit():
    """Both outcomes on one commit: the code did not change it."""
    key = made().key
    past = Past(recent=[("abc", {key: "held"})], commit="abc")
    assert decide("1", [made(outcome="violated")], SETTINGS, past).unstable
    assert not decide("1", [made(outcome="violated")], SETTINGS, replace(past, commit="def")).unstable


OUTCOMES = st.sampled_from(["held", "violated", "vacuous", "broken"])


@given(st.lists(st.tuples(st.sampled_from(list(WEIGHTS)), OUTCOMES), min_size=1, max_size=8), st.integers(0, 7))
def test_a_violation_never_opens_the_gate(scenarios, index):
    """A run that is blocked stays blocked when one more of its scenarios fails."""
    run = [made(f"s-{n}", outcome, severity=severity) for n, (severity, outcome) in enumerate(scenarios)]
    worse = [replace(each, outcome="violated") if n == index else each for n, each in enumerate(run)]
    if decide("1", run, SETTINGS).decision == BLOCKED:
        assert decide("1", worse, SETTINGS).decision == BLOCKED


def started(minute: int) -> str:
    """A start, ``minute`` minutes after ten."""
    return f"2026-01-01T10:{minute:02}:00+0000"


@pytest.fixture
def file(tmp_path):
    """A history of five runs, the third blocked, the recovery of the last ones 1 s, 2 s, (60 s), 4 s, 5 s."""
    file = tmp_path / "history.db"
    with Database(file) as database:
        for minute, recovery in enumerate((1.0, 2.0, 60.0, 4.0, 5.0), 1):
            database.record(f"run-{minute}", [made(recovery=recovery, started=started(minute))], Revision("c", "b"))
        database.set_gate("run-3", "blocked")
    return file


@pytest.mark.parametrize(
    ("baseline", "runs", "median"),
    [
        ("median of 3", ["run-4", "run-2", "run-1"], 2.0),
        ("median of 1", ["run-4"], 4.0),
        ("median of 9", ["run-4", "run-2", "run-1"], 2.0),
        ("previous", ["run-4"], 4.0),
        ("run-3", ["run-3"], 60.0),
    ],
)
def test_baselines(file, baseline, runs, median):
    """Of the runs before this one; a median only of those that passed; a named run in any case."""
    settings = Settings(baseline=baseline, recovery="0s")
    decision = ask(file, "run-5", [made(recovery=100.0)], settings)
    assert decision.baseline.runs == runs
    assert [reason.baseline for reason in decision.reasons] == [median]


@pytest.mark.parametrize(
    ("baseline", "runs", "recovery"),
    [("previous", ["run-4", "run-3"], 1.0), ("median of 2", ["run-4", "run-3", "run-2", "run-1"], 2.0)],
)
def test_each_scenario_has_a_baseline_of_its_own(tmp_path, baseline, runs, recovery):
    """A run of one scenario hides no run of all of them; what is older than needed is not read."""
    file = tmp_path / "history.db"
    rows = {
        "run-0": [made("all", recovery=9.0), made("one")],
        "run-1": [made("all", recovery=9.0)],
        "run-2": [made("all", recovery=3.0), made("one")],
        "run-3": [made("all", recovery=1.0), made("other")],
        "run-4": [made("one"), made("all", "skipped")],
    }
    if baseline != "previous":
        rows["run-1"] = [made("one")]
        rows["run-2"] = [made("all", recovery=3.0)]
    with Database(file) as database:
        for minute, (name, recorded) in enumerate(rows.items(), 1):
            database.record(name, [replace(each, started=started(minute)) for each in recorded], Revision())
        database.record("run-5", [made("all", started=started(30))], Revision())
    now = [made("all", recovery=60.0), made("one")]
    decision = ask(file, "run-5", now, Settings(baseline=baseline, recovery="0s"))
    assert decision.baseline.runs == runs
    assert [(reason.scenario, reason.baseline) for reason in decision.reasons] == [(now[0].key, recovery)]
    assert decision.notes == []
    alone = ask(file, "run-5", [made("new")], Settings(baseline=baseline))
    assert "has a scenario of this one, so nothing to compare with" in alone.notes[0]
    assert alone.baseline is None


def test_no_baseline(file, tmp_path):
    """No history, no earlier run, or it is off: nothing is compared, and why is noted (but for off)."""
    run = [made()]
    assert "no history" in ask(tmp_path / "nosuch.db", "1", run, SETTINGS).notes[0]
    assert ask(file, "run-1", run, SETTINGS).notes == ["no earlier run that passed, so nothing to compare with"]
    assert ask(file, "run-1", run, Settings(baseline="previous")).notes == [
        "no earlier run, so nothing to compare with"
    ]
    off = ask(file, "run-5", run, Settings(baseline="off"))
    assert (off.notes, off.baseline) == ([], None)
    assert not (tmp_path / "nosuch.db").exists()
    with pytest.raises(ChaosError, match=r"baseline: unknown run 'run-9'; .* did you mean 'run-5'\?"):
        ask(file, "run-5", run, Settings(baseline="run-9"))


def test_the_answer_is_kept(file):
    """So that a later baseline leaves out what was blocked."""
    ask(file, "run-5", [made(outcome="violated")], SETTINGS, keep=True)
    ask(file, "run-4", [made()], SETTINGS, keep=True)
    with Database(file) as database:
        assert {entry.id: entry.gate for entry in database.runs()} == {
            "run-5": "blocked", "run-4": "passed", "run-3": "blocked", "run-2": "", "run-1": "",
        }  # fmt: skip
