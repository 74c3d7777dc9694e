"""``resources``: what a service holds on to, by rules and bounds."""

from __future__ import annotations

import math
from math import inf

import pytest
from pydantic import ValidationError

from chaoskit.history import rows as r
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Resources = EXPECTATIONS.get("resources")

PEAK = {"process.open_files": (20, 60), "process.threads": (8, 40), "process.memory": (90e6, 400e6)}


def judge_one(by_id, run, metric, spec, service="orders"):
    """The single finding of one expectation."""
    (finding,) = by_id(Resources.model_validate({service: {metric: spec}}), run.view()).values()
    return finding


def leaking(rehearse, metric, low, high, *, returns, **phases):
    """A metric that goes from ``low`` to ``high`` with the fault and, where it ``returns``, back after 1 s."""
    run = rehearse(**phases)
    run.samples(metric, lambda at: high if 0 <= at < 7 or (at >= 7 and not returns) else low)
    return run


@pytest.mark.parametrize("name", PEAK)
@pytest.mark.parametrize("returns", [True, False])
def test_returns(rehearse, by_id, name, returns):
    """What was taken during the fault must be given back after it."""
    low, high = PEAK[name]
    finding = judge_one(by_id, leaking(rehearse, name, low, high, returns=returns), name[8:], "returns")
    assert finding.outcome == ("held" if returns else "violated")
    assert finding.id == f"resources.orders.{name[8:]}"
    assert finding.path == ("orders", name[8:])
    assert (not finding.rows) == returns


def test_returns_tells_baseline_peak_and_limit(rehearse, by_id):
    """The finding names what it was compared with."""
    run = leaking(rehearse, "process.open_files", 20, 61, returns=False)
    finding = judge_one(by_id, run, "open_files", "returns")
    assert finding.expected == "returns to at most 25 open files", "20 + 10 % + 3"
    assert finding.seen == "61 open files (20 to 20 open files before the faults)"
    assert finding.worst == "highest: 61 at +0.1 s"


def test_returns_forgives_one_odd_sample(rehearse, by_id):
    """The median of the last three samples counts, not a single one."""
    run = rehearse()
    run.samples("process.threads", lambda at: 30 if at > 10.8 else 8)
    assert judge_one(by_id, run, "threads", "returns").held


@pytest.mark.parametrize(("high", "outcome"), [(14, "held"), (40, "violated")])
def test_flat(rehearse, by_id, high, outcome):
    """Never far above the baseline, not even while the fault is active: 10 + 20 % + 2 threads are allowed."""
    run = leaking(rehearse, "process.threads", 10, high, returns=True)
    assert judge_one(by_id, run, "threads", "flat").outcome == outcome


def test_unchanged(rehearse, by_id):
    """The same process from the steady phase to the end."""
    run = rehearse()
    run.samples("process.pid", lambda at: 4711)
    finding = judge_one(by_id, run, "pid", "unchanged")
    assert (finding.outcome, finding.seen) == (Outcome.HELD, "4711")


def test_a_restarted_process_is_not_unchanged(rehearse, by_id):
    """Another process id says that it died, and when that was seen first."""
    run = rehearse()
    run.samples("process.pid", lambda at: 4711 if at < 2 else 4750)
    finding = judge_one(by_id, run, "pid", "unchanged")
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "4711, then 4750")
    assert finding.worst == "first change: 4750 at +2.1 s"


def test_a_dead_process_is_not_unchanged(rehearse, by_id):
    """Dead at the end, by its exit or because nothing was seen of it any more."""
    run = rehearse()
    run.samples("process.pid", lambda at: 4711, until=10.5)
    run.add(r.Event(service="orders", at=run.origin + 10.5, what="exited", pid=4711, code=-6))
    finding = judge_one(by_id, run, "pid", "unchanged")
    assert (finding.outcome, finding.worst) == (Outcome.VIOLATED, "exited with -6 at +10.5 s")
    run = rehearse()
    run.samples("process.pid", lambda at: 4711, until=3.0)
    finding = judge_one(by_id, run, "pid", "unchanged")
    assert (finding.outcome, finding.worst) == (Outcome.VIOLATED, "not seen for the last 8.12s")


def test_stopping_after_the_run_is_no_death(rehearse, by_id):
    """The clearing up is not part of the rehearsal, nor are earlier processes of the same service."""
    run = rehearse()
    run.samples("process.pid", lambda at: 4711)
    run.add(r.Event(service="orders", at=run.origin + run.end + 0.1, what="exited", pid=4711, code=0))
    run.add(r.Event(service="orders", at=run.origin - 20, what="exited", pid=4711, code=0))
    assert judge_one(by_id, run, "pid", "unchanged").held


def test_constant(rehearse, by_id):
    """A gauge that must not move."""
    run = rehearse()
    run.samples("pool_size", lambda at: 10)
    run.samples("pool_used", lambda at: 10 if at < 3 else 9)
    assert judge_one(by_id, run, "pool_size", "constant").held
    assert judge_one(by_id, run, "pool_used", "constant").seen == "10, then 9"


def test_increases_sees_through_a_restart(rehearse, by_id):
    """A counter that was reset by a restart has grown by what it counted since."""
    run = rehearse()
    run.samples("panics_total", lambda at: 50 if at < 1 else (60 if at < 3 else 4))
    finding = judge_one(by_id, run, "panics_total", "increases")
    assert (finding.outcome, finding.seen) == (Outcome.HELD, "grew by 14")
    assert judge_one(by_id, run, "panics_total", {"increase": "= 14"}).held
    run = rehearse()
    run.samples("panics_total", lambda at: 50)
    assert judge_one(by_id, run, "panics_total", "increases").outcome is Outcome.VIOLATED


def test_a_bound_holds_for_every_sample(rehearse, by_id):
    """The worst sample of the whole run decides, from above and from below."""
    run = rehearse()
    run.samples('db_pool_in_use{pool="a"}', lambda at: 6 if 2 <= at < 3 else 3)
    run.samples('db_pool_in_use{pool="b"}', lambda at: 5 if 2 <= at < 3 else 3)
    assert judge_one(by_id, run, "db_pool_in_use", "<= 11").held
    finding = judge_one(by_id, run, "db_pool_in_use", "<= 10")
    assert (finding.outcome, finding.seen, finding.worst) == (Outcome.VIOLATED, "11", "11 at +2.1 s")
    assert judge_one(by_id, run, 'db_pool_in_use{pool="a"}', "3..6").held
    assert judge_one(by_id, run, "db_pool_in_use", ">= 7").seen == "6"


def test_bounds_by_time(rehearse, by_id):
    """One finding for each span."""
    run = leaking(rehearse, "db_waiting", 0, 12, returns=True)
    asked = Resources.model_validate({"orders": {"db_waiting": {"during": "<= 10", "after": "<= 12", "increase": 0}}})
    findings = by_id(asked, run.view())
    assert {key: str(f.outcome) for key, f in findings.items()} == {
        "resources.orders.db_waiting.during": "violated",
        "resources.orders.db_waiting.after": "held",
        "resources.orders.db_waiting.increase": "violated",
    }
    assert findings["resources.orders.db_waiting.during"].path == ("orders", "db_waiting", "during")


@pytest.mark.parametrize(
    ("metric", "bound", "value", "seen"),
    [
        ("memory", "< 200MB", 150e6, "150MB"),
        ("cpu", "<= 2s", 1.5, "1.5s"),
        ("queue_bytes", "< 1MB", 2000.0, "2KB"),
        ("queue_age_seconds", "< 1s", 0.25, "250ms"),
        ("cache_hit_ratio", ">= 50%", 0.72, "72%"),
        ("db_waiting", "= 3", 3.0, "3"),
        ("db_waiting", 3, 3.0, "3"),
    ],
)
def test_units_follow_the_metric(rehearse, by_id, metric, bound, value, seen):
    """A metric's name tells its unit, and figures are shown in it."""
    run = rehearse()
    run.samples(f"process.{metric}" if metric in ("memory", "cpu") else metric, lambda at: value)
    finding = judge_one(by_id, run, metric, bound)
    assert (finding.outcome, finding.seen) == (Outcome.HELD, seen)


@pytest.mark.parametrize("rule", ["<= 1s", {"during": "<= 1s"}, "returns", "flat", "unchanged"])
def test_infinity_is_a_value(rehearse, by_id, rule):
    """The age of a queue that nothing leaves any more."""
    run = rehearse()
    run.samples("queue_age_seconds", lambda at: inf if at > 1 else 0.1)
    finding = judge_one(by_id, run, "queue_age_seconds", rule)
    assert finding.outcome is Outcome.VIOLATED
    assert "+Inf" in finding.seen


def test_nothing_can_be_compared_with_infinity(rehearse, by_id):
    """Neither more nor less than that could be wrong."""
    run = rehearse()
    run.samples("queue_age_seconds", lambda at: inf if at < 1 else 0.1)
    finding = judge_one(by_id, run, "queue_age_seconds", "flat")
    assert finding.outcome is Outcome.VACUOUS
    assert "nothing can be compared" in finding.seen


RULES = ["<= 10", {"during": "<= 10"}, {"after": "<= 10"}, {"increase": "<= 10"}, "returns", "flat", "unchanged"]


@pytest.mark.parametrize("rule", RULES)
def test_what_is_no_longer_seen_does_not_hold(rehearse, by_id, rule):
    """A page of metrics that fails says nothing, whatever it said until then: not while it was to be judged."""
    run = rehearse(after=6.0)
    run.samples("db_pool_in_use", lambda at: 4)
    assert judge_one(by_id, run, "db_pool_in_use", rule).held
    run = rehearse(after=6.0)
    for index in range(500):
        at = run.start + index / 25
        if at < 0.5 or 8 < at < 9:
            run.add(r.Sample(service="orders", name="db_pool_in_use", at=run.origin + at, value=4.0))
    finding = judge_one(by_id, run, "db_pool_in_use", rule)
    assert finding.outcome is Outcome.VACUOUS
    assert "no sample from" in finding.seen


@pytest.mark.parametrize(
    ("spec", "outcome"),
    [("increases", "held"), ({"increase": ">= 3"}, "held"), ({"increase": "<= 1"}, "violated")]
    + [({"increase": bound}, "vacuous") for bound in ("= 3", "<= 9", ">= 4")],
)
def test_a_counter_may_have_grown_while_nobody_saw_it(rehearse, by_id, spec, outcome):
    """By any number, but by no less than it had grown."""
    run = rehearse()
    run.samples("retries_total", lambda at: 3 if at > 0.5 else 0, until=2.0)
    assert judge_one(by_id, run, "retries_total", spec).outcome == outcome
    run = rehearse()
    run.samples("retries_total", lambda at: 0, until=2.0)
    assert judge_one(by_id, run, "retries_total", "increases").outcome is Outcome.VACUOUS


def test_a_violation_that_was_seen_stays_one(rehearse, by_id):
    """Whatever it was later."""
    run = rehearse()
    run.samples("db_pool_in_use", lambda at: 20 if at > 1 else 4, until=2.0)
    for rule in ("<= 10", "flat", "unchanged"):
        assert judge_one(by_id, run, "db_pool_in_use", rule).outcome is Outcome.VIOLATED


@pytest.mark.parametrize(("gone", "back"), [("exited", "ready"), ("paused", "continued")])
def test_what_does_not_run_holds_nothing(rehearse, by_id, gone, back):
    """No sample is needed of a time in which the service was dead or paused, and none is excused after it."""
    for late, outcome in ((0.0, "held"), (3.0, "vacuous")):
        run = rehearse()
        for index in range(64):
            at = run.start + index / 4
            if at < 1 or at > 5 + late:
                run.add(r.Sample(service="orders", name="db_pool_in_use", at=run.origin + at, value=4.0))
        run.add(r.Event(service="orders", at=run.origin + 1.0, what=gone, pid=7))
        run.add(r.Event(service="orders", at=run.origin + 5.0, what=back, pid=8))
        assert judge_one(by_id, run, "db_pool_in_use", "<= 10").outcome == outcome


FIRST = 'errors_total{code="503"}'


@pytest.mark.parametrize("metric", ["errors_total", FIRST])
@pytest.mark.parametrize(
    ("page", "outcome"),
    [("other_total", "held"), ('errors_total{code="500"}', "held"), (FIRST, "vacuous"), ("", "vacuous")],
)
def test_a_metric_may_come_with_its_first_use(rehearse, by_id, metric, page, outcome):
    """As long as its page is read, it is seen not to be there yet; not where it stands there and is NaN."""
    run = rehearse()
    if page:
        run.samples(page, lambda at: math.nan if page == FIRST else 0, until=4.0)
    for index in range(28):
        run.add(r.Sample(service="orders", name=FIRST, at=run.origin + 4 + index / 4, value=1.0))
    assert judge_one(by_id, run, metric, "<= 3").outcome == outcome


def test_a_sum_of_which_a_part_is_not_known_is_not_known(rehearse, by_id):
    """The rest of it is no sum."""
    run = rehearse()
    run.samples('db_pool_in_use{pool="a"}', lambda at: 3)
    run.samples('db_pool_in_use{pool="b"}', lambda at: math.nan if at > 1 else 3)
    assert judge_one(by_id, run, "db_pool_in_use", "<= 10").outcome is Outcome.VACUOUS
    assert judge_one(by_id, run, 'db_pool_in_use{pool="a"}', "<= 10").held
    run = rehearse()
    run.samples("db_pool_in_use", lambda at: math.nan)
    assert judge_one(by_id, run, "db_pool_in_use", "<= 10").seen == "its value was NaN all the time"


def test_vacuous_without_samples(rehearse, by_id):
    """An unknown metric lists what was seen and what was probably meant; too few samples say how many."""
    run = rehearse()
    run.samples("db_pool_in_use", lambda at: 1)
    run.samples("process.threads", lambda at: 1)
    finding = judge_one(by_id, run, "db_pool_inuse", "returns")
    assert finding.outcome is Outcome.VACUOUS
    assert finding.seen == "no sample; seen were db_pool_in_use, threads; did you mean 'db_pool_in_use'?"
    assert "of stock was seen at all" in judge_one(by_id, run, "threads", "returns", service="stock").seen
    short = rehearse()
    short.samples("process.threads", lambda at: 1, until=5.0)
    assert judge_one(by_id, short, "threads", "returns").seen == "0 samples after the last fault; 2 are needed"
    unprepared = rehearse(steady=0.3)
    unprepared.samples("process.threads", lambda at: 1)
    assert judge_one(by_id, unprepared, "threads", "flat").seen == "1 sample in the steady phase; 2 are needed"


@pytest.mark.parametrize(
    ("metric", "spec", "text"),
    [
        ("pid", "returns", "neither a rule nor a bound"),
        ("cpu", "flat", "neither a rule nor a bound"),
        ("memory", "<= 10", "a size"),
        ("threads", "return", "neither a rule nor a bound"),
        ("threads", {"durin": "<= 3"}, "unknown key 'durin'"),
        ("queue_bytes", 5, "neither a rule nor a bound"),
    ],
)
def test_mistakes_are_refused_at_load_with_their_place(metric, spec, text):
    """The mistake is told where it stands, with what is legal there."""
    with pytest.raises(ValidationError, match=text) as caught:
        Resources.model_validate({"orders": {"open_files": "returns", metric: spec}})
    (mistake,) = caught.value.errors()
    assert mistake["loc"][:2] == ("orders", metric)
    assert mistake["ctx"]["legal"]
