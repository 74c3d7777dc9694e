"""What a request that is under way when a fault begins or ends is, where each answer must be as expected: neither."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.expectations._edges import Edges
from chaoskit.history import rows as r
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Responses, Logs, Retries = (EXPECTATIONS.get(name) for name in ("responses", "logs", "retries"))
ID = "0123456789abcdef"


def judged(by_id, run, kind, **asked):
    """The only finding."""
    (finding,) = by_id(kind.model_validate(asked), run.view()).values()
    return finding


def answers(rehearse, *edges, latency=0.02):
    """500 while the fault lasts (0 to 6 s), 201 otherwise; and ``edges``: a moment, how long, and the status."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500 if at >= 0 and at + latency <= 6 else 201, "latency": latency}, rate=10)
    for seq, (at, took, status) in enumerate(edges):
        run.request(at, seq=1000 + seq, latency=took, status=status)
    return run


def test_sent_as_the_fault_was_lifted(rehearse, by_id):
    """One good answer of sixty, whose request met the end of the fault: it says nothing about the others."""
    run = answers(rehearse, (5.99, 0.02, 201))
    held = judged(by_id, run, Responses, of="place-order", status=500)
    assert (held.outcome, held.samples) == (Outcome.HELD, 60)


def test_answered_well_within_the_fault(rehearse, by_id):
    """One that was sent and answered while the fault lasted is to be as expected."""
    run = answers(rehearse, (5.95, 0.02, 201))
    assert judged(by_id, run, Responses, of="place-order", status=500).outcome is Outcome.VIOLATED


def test_under_way_when_the_fault_began(rehearse, by_id):
    """It belongs to the steady phase as little as to the fault."""
    run = answers(rehearse, (-0.01, 0.02, 500))
    for phase, status in (("steady", 201), ("faults", 500)):
        assert judged(by_id, run, Responses, of="place-order", phase=phase, status=status).held


def test_while_a_fault_is_injected_and_lifted(rehearse, by_id):
    """Between the start of injecting and its end anything may be answered, and so while it is lifted."""
    run = rehearse(fault=0.0)
    run.add(
        r.Fault(
            name="f", kind="panic", target="s", touched=1, unit="hits", planned_start=1000.0, started=1000.0,
            injected=1000.5, planned_end=1006.0, ended=1006.5,
        )
    )  # fmt: skip
    run.traffic(lambda at: {"status": 500 if 0.5 <= at < 6 else 201}, rate=10, end=7.0)
    assert judged(by_id, run, Responses, of="place-order", status=500).held


@pytest.mark.parametrize(
    "asked",
    [{"no_internals": True}, {"no_secret": True}, {"secrets": ["hunter2"]}],
    ids=lambda asked: next(iter(asked)),
)
@pytest.mark.parametrize("at", [-0.01, 5.99])
def test_what_an_answer_may_never_hold(rehearse, by_id, asked, at):
    """Requests that a fault meets under way are those that fail in the strangest ways: they give away as little."""
    run = answers(rehearse)
    assert judged(by_id, run, Responses, of="place-order", **asked).held
    run.request(at, seq=1000, status=500, body="Traceback (most recent call last):\n  password=hunter2")
    finding = judged(by_id, run, Responses, of="place-order", **asked)
    assert finding.outcome is Outcome.VIOLATED
    assert finding.seen.startswith("1 of 61 answers differ")


def test_nobody_was_clear_of_the_edges(rehearse, by_id):
    """A fault that is shorter than an answer takes proves nothing, and says so."""
    run = rehearse(fault=1.0)
    run.traffic(lambda _: {"latency": 1.5})
    finding = judged(by_id, run, Responses, of="place-order", status=201)
    assert finding.outcome is Outcome.VACUOUS
    assert " under way when a fault began or ended" in finding.seen


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [
        ("= 0", "violated"), ("= 1", "vacuous"), ("= 2", "vacuous"), ("= 3", "violated"), (">= 1", "held"),
        (">= 2", "vacuous"), ("<= 1", "vacuous"), ("<= 2", "held"), ("1..2", "held"),
    ],
)  # fmt: skip
def test_a_count_that_the_edge_decides_is_open(rehearse, by_id, bound, outcome):
    """One reset for sure and one that the end of the fault met under way: 1 or 2."""
    run = rehearse()
    run.traffic(rate=10)
    for seq, at in enumerate((3.0, 5.99)):
        run.request(at, seq=1000 + seq, error="reset")
    finding = judged(by_id, run, Responses, of="place-order", where={"error": "reset"}, count=bound)
    assert str(finding.outcome) == outcome
    assert finding.seen.startswith("between 1 and 2 of 62 answers")


def test_a_count_of_what_a_fault_met_under_way(rehearse, by_id):
    """A panic may strike requests that are under way already: which of five it was to strike nobody knows. All the time
    together has no edges."""
    run = answers(rehearse, *((-0.01 - n / 1000, 0.02, 503) for n in range(5)))
    asked = {"of": "place-order", "where": {"status": 503}}
    finding = judged(by_id, run, Responses, **asked, count="= 1")
    assert finding.outcome is Outcome.VACUOUS
    assert "between 0 and 5 of" in finding.seen
    assert "under way when a fault began or ended" in finding.seen
    assert judged(by_id, run, Responses, **asked, count="= 5", phase="all").held


@settings(deadline=None)
@given(clear=st.integers(0, 4), edge=st.integers(0, 4), low=st.integers(0, 9), width=st.none() | st.integers(0, 4))
def test_a_count_is_what_it_is_on_either_side(rehearse, by_id, clear, edge, low, width):
    """Held where the bound holds for each number that may be meant, violated where for none."""
    run = rehearse()
    run.traffic(rate=10)
    for seq in range(clear + edge):
        run.request(3.0 if seq < clear else 5.99, seq=1000 + seq, error="reset")
    low = low or (1 if width is None else 0)  # at least none is no bound
    bound = f">= {low}" if width is None else f"{low}..{low + width}"
    finding = judged(by_id, run, Responses, of="place-order", where={"error": "reset"}, count=bound)
    meets = {low <= n <= (low + width if width is not None else 99) for n in range(clear, clear + edge + 1)}
    assert finding.outcome is (
        Outcome.VACUOUS if len(meets) == 2 else Outcome.HELD if True in meets else Outcome.VIOLATED
    )


def test_shares_go_by_the_send_time(rehearse, by_id):
    """Over many requests an edge is no matter, and to leave slow ones out would be one."""
    run = answers(rehearse, (5.99, 0.02, 201))
    finding = judged(by_id, run, Responses, of="place-order", where={"status": 500}, share=">= 95%")
    assert (finding.outcome, finding.samples) == (Outcome.HELD, 61)


def panics(rehearse, *moments, line="panic"):
    """A request is under way for a second when the fault ends; lines at moments."""
    run = rehearse()
    run.traffic(rate=10)
    run.request(5.5, seq=1000, latency=1.5, id=ID)
    for at in (-1.0, 3.0, *moments):
        run.add(r.Log(service="orders", at=run.origin + at, line=line if at in moments else "other"))
    return run


@pytest.mark.parametrize(
    ("at", "line", "held"),
    [
        (6.5, "panic", True),  # the request is still under way
        (7.1, "panic", False),
        (7.1, f'{{"event": "panic", "request_id": "{ID}"}}', True),  # of this very request, though late
    ],
)
def test_lines_of_what_was_under_way_when_the_fault_ended(rehearse, by_id, at, line, held):
    """They follow from the fault, in which there were others, and do not say that it goes on."""
    run = panics(rehearse, 3.0, at, line=line)
    finding = judged(by_id, run, Logs, service="orders", text="panic", phase="recovery", absent=True)
    assert finding.held == held


def test_a_line_of_neither_side_that_no_other_explains(rehearse, by_id):
    """None like it came in the fault: nobody knows where it belongs."""
    finding = judged(by_id, panics(rehearse, 6.5), Logs, service="orders", text="panic", phase="recovery", absent=True)
    assert finding.outcome is Outcome.VACUOUS
    assert finding.seen.startswith("between 0 and 1 of 3 lines differ: ")


@pytest.mark.parametrize(
    ("bound", "outcome"), [("= 1", "vacuous"), ("= 2", "vacuous"), ("= 0", "violated"), ("1..2", "held")]
)
def test_lines_are_counted_with_the_edge_and_without(rehearse, by_id, bound, outcome):
    """One during the fault, one of the request that its end met under way."""
    run = panics(rehearse, 2.0, 6.5)
    assert str(judged(by_id, run, Logs, service="orders", text="panic", count=bound).outcome) == outcome


def test_absent_from_a_phase_that_was_not_there(rehearse, by_id):
    """There is no line in a phase that the timeline does not have; that proves nothing."""
    finding = judged(by_id, panics(rehearse), Logs, service="orders", text="panic", phase="after", absent=True)
    assert finding.outcome is Outcome.VACUOUS


@pytest.mark.parametrize(
    ("sent", "at", "before", "outcome"),
    [
        (2.5, 3.0, None, "violated"),  # sent and written while the fault lasts; its answer alone comes later
        (2.5, 6.5, None, "vacuous"),
        (-1.5, 3.0, None, "vacuous"),
        (-1.5, 3.0, -3.0, "held"),  # such lines are usual where it was sent
        (2.5, 3.0, -3.0, "violated"),
    ],
)
@pytest.mark.parametrize("asked", [{"absent": True}, {"with": ["field"]}])
def test_lines_about_requests_that_outlive_the_fault(rehearse, by_id, sent, at, before, outcome, asked):
    """Neither what must be absent nor a line that lacks a field is overlooked as its request ends elsewhere."""
    run = rehearse()
    run.traffic(rate=10)
    run.request(sent, seq=1000, latency=9.0 - sent, id=ID)
    for moment in filter(None, (at, before)):
        run.add(r.Log(service="orders", at=run.origin + moment, line=json.dumps({"event": "twice", "request": ID})))
    if "with" in asked:
        run.add(r.Log(service="orders", at=run.origin + 1.0, line=json.dumps({"event": "twice", "field": 1})))
    finding = judged(by_id, run, Logs, service="orders", match={"event": "twice"}, **asked)
    assert str(finding.outcome) == outcome


@pytest.mark.parametrize(("attempts", "outcome"), [(2, "held"), (4, "violated")])
def test_attempts_of_a_call_that_the_end_met_under_way(rehearse, by_id, attempts, outcome):
    """Its second attempt was answered, as the fault was over: no third was due. A fourth is one too many anywhere."""
    run = rehearse()
    run.traffic(lambda _: {"latency": 0.5}, rate=10, end=5.0)
    for row in list(run.view().requests()):
        for n in range(3):
            run.call(row.intended - run.origin + n / 10, id=row.id, status=503)
    late = run.request(5.8, seq=1000, latency=0.5)
    for n in range(attempts):
        run.call(5.8 + n / 10, id=late.id, status=503)
    finding = judged(by_id, run, Retries, on="payments", of="place-order", attempts="= 3")
    assert str(finding.outcome) == outcome


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-4, 9), st.floats(0.001, 3)), min_size=1, max_size=30))
def test_nobody_is_on_two_sides(rehearse, drawn):
    """Of one phase at most, and of none exactly where the request met a beginning or an end (0 or 6 s)."""
    run = rehearse()
    for seq, (at, latency) in enumerate(drawn):
        run.request(at, seq=seq, latency=latency)
    view = run.view()
    sides = {
        phase: {row.seq for row in Edges(view, phase).requests().clear} for phase in ("steady", "faults", "recovery")
    }
    for seq, row in enumerate(sorted(view.requests(), key=lambda row: row.seq)):
        start, end = row.intended - run.origin, row.ended - run.origin
        met = any(start < moment < end for moment in (0.0, 6.0))
        assert sum(seq in rows for rows in sides.values()) == (0 if met else 1)


@pytest.mark.parametrize(("passed", "held"), [(100, True), (101, False), (98, False)])
def test_what_a_burst_itself_sends_is_wholly_its_own(rehearse, by_id, passed, held):
    """Its first and last requests meet its own beginning and end: none of them is left open by that."""
    run = rehearse(fault=0.0)
    run.add(
        r.Fault(
            name="greedy", kind="burst", target="place-order", touched=160, unit="requests", planned_start=1000.0,
            started=1000.0, injected=1000.001, planned_end=1004.0, ended=1004.001,
            evidence={"stream": "burst-place-order-1"},
        )
    )  # fmt: skip
    for seq in range(160):
        at = seq / 40
        run.request(at, seq=seq, stream="burst-place-order-1", latency=0.05, status=201 if seq < passed else 429)
    asked = {"of": "place-order", "where": {"status": 201}, "count": "= 100"}
    assert judged(by_id, run, Responses, **asked).held == held
