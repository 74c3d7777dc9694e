"""``retries``: attempts, back-off and amplification, from the calls at the proxy."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from chaoskit.expectations._attempts import COPIES
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Retries = EXPECTATIONS.get("retries")
ALL = {
    "on": "payments", "attempts": "<= 3", "amplification": "<= 3", "after_deadline": 0,
    "backoff": {"factor": "1.7..2.3", "jitter": "20%..60%", "first": "100ms ± 30%"},
}  # fmt: skip


def steady_one(_rng, _n):
    """Back-off without jitter: 100 ms, doubled each time."""
    return 1.0


def uniform(rng, _n):
    """Jitter of ±25 %."""
    return rng.uniform(0.75, 1.25)


def retried(rehearse, *, attempts=3, jitter=uniform, factor=2.0, first=0.1, status=503, took=0.03, rate=40.0):
    """Every request of the fault is tried ``attempts`` times, with exponential back-off; others once."""
    rng, run = random.Random(7), rehearse()
    for request in run.traffic(rate=rate):
        at = request.sent - run.origin + 0.005
        tries = attempts if 0 <= request.intended - run.origin < 6 else 1
        for number in range(tries):
            last = number == tries - 1
            at = run.call(at, id=request.id, took=took, status=200 if last else status)
            at += first * factor**number * jitter(rng, number)
    return run


def test_held(rehearse, by_id):
    """Exponential back-off with jitter holds every bound."""
    findings = by_id(Retries.model_validate(ALL), retried(rehearse).view())
    assert list(findings) == [
        f"retries.payments.{name}"
        for name in ("attempts", "backoff.factor", "backoff.jitter", "backoff.first", "amplification", "after_deadline")
    ]
    assert {finding.outcome for finding in findings.values()} == {Outcome.HELD}
    assert findings["retries.payments.attempts"].seen == "3 attempts"
    assert findings["retries.payments.amplification"].seen == "3 attempts per call (720 for 240)"
    assert findings["retries.payments.backoff.factor"].path == ("backoff", "factor")


@pytest.mark.parametrize("seed", range(5))
def test_the_documented_figures_of_jitter(rehearse, by_id, seed):
    """No jitter shows as 0 %, ±25 % as 40 %, full jitter as 160 %; the factor stays 2 through all of them."""
    for jitter, expected in ((steady_one, 0.0), (uniform, 0.4), (lambda r, _n: r.random(), 1.6)):
        rng = random.Random(seed)
        run = retried(rehearse, jitter=lambda _r, n, rng=rng, jitter=jitter: jitter(rng, n))
        low, high = f"{max(0.0, expected * 80 - 1)}%", f"{expected * 120 + 1}%"
        asked = {"on": "payments", "backoff": {"jitter": f"{low}..{high}", "factor": "1.5..2.6"}}
        findings = by_id(Retries.model_validate(asked), run.view())
        assert {finding.outcome for finding in findings.values()} == {Outcome.HELD}, findings


@pytest.mark.parametrize(
    ("how", "violated"),
    [
        ({"attempts": 5}, {"attempts", "amplification"}),
        ({"jitter": steady_one}, {"backoff.jitter"}),
        ({"factor": 1.0}, {"backoff.factor"}),
        ({"first": 0.01}, {"backoff.first"}),
    ],
)
def test_each_protection_that_is_missing_is_named(rehearse, by_id, how, violated):
    """Exactly the bound behind the missing protection is violated."""
    findings = by_id(Retries.model_validate(ALL), retried(rehearse, **how).view())
    found = {key.removeprefix("retries.payments.") for key, f in findings.items() if f.outcome is Outcome.VIOLATED}
    assert found == violated


def test_the_worst_operation_is_named(rehearse, by_id):
    """One call over the limit is enough, and it is the one that is told."""
    run = retried(rehearse)
    run.call(3.9, id="place-order-300", status=200)
    finding = by_id(Retries(on="payments", attempts="<= 3"), run.view())["retries.payments.attempts"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "4 attempts")
    assert finding.worst.startswith("POST /charge of place-order-300 (4 attempts: 503, 503, 200, 200)")
    assert len(finding.rows) == 1


def test_exactly_one_attempt(rehearse, by_id):
    """What must not be retried: a bare number is an exact bound, and less than it is violated too."""
    run = retried(rehearse, attempts=1)
    assert by_id(Retries(on="payments", attempts=1), run.view())["retries.payments.attempts"].held
    finding = by_id(Retries(on="payments", attempts="2..3"), run.view())["retries.payments.attempts"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "1 attempt")


def test_attempts_after_the_deadline(rehearse, by_id):
    """A retry loop that outlives the client's timeout of 2 s is counted attempt by attempt."""
    run = retried(rehearse, attempts=5, first=0.3, jitter=steady_one)
    finding = by_id(Retries(on="payments", after_deadline=0), run.view())["retries.payments.after_deadline"]
    assert finding.outcome is Outcome.VIOLATED
    assert finding.seen == "480 attempts after the deadline", "attempts start at 2.2 s and 4.6 s"
    assert "late)" in finding.worst
    finding = by_id(Retries(on="payments", after_deadline=0, deadline="5s"), run.view())
    assert finding["retries.payments.after_deadline"].held


def test_when_looks_at_how_the_first_attempt_ended(rehearse, by_id):
    """A conflict must not be retried, a lost connection may be."""
    run = rehearse()
    for number, request in enumerate(run.traffic()):
        at = request.sent - run.origin
        first = 409 if number % 2 else None
        ended = run.call(at, id=request.id, status=first)
        if first is None:
            run.call(ended + 0.1, id=request.id)
    conflict = Retries(on="payments", when={"status": [409, 422]}, attempts=1)
    cut = Retries(on="payments", when={"error": True}, attempts=2)
    answered = Retries(on="payments", when={"error": False}, attempts=1)
    for expectation in (conflict, cut, answered):
        finding = by_id(expectation, run.view())["retries.payments.attempts"]
        assert (finding.outcome, finding.samples) == (Outcome.HELD, 120)


def test_where_of_path_and_method_limit_what_is_looked_at(rehearse, by_id):
    """Steady traffic, another operation, another path and another method are left out when asked."""
    run = retried(rehearse)
    for request in run.traffic(op="list", rate=10.0):
        for _ in range(4):
            run.call(request.sent - run.origin, id=request.id, path="/items?page=2", method="GET")
    for more, attempts, samples in (
        ({"where": "steady", "of": "place-order"}, "= 1", 200),
        ({"where": "all", "of": "place-order"}, "1..3", 640),
        ({"of": "list"}, "= 4", 60),
        ({"path": "/items"}, "= 4", 60),
        ({"method": "post"}, "= 3", 240),
    ):
        finding = by_id(Retries(on="payments", attempts=attempts, **more), run.view())["retries.payments.attempts"]
        assert (finding.outcome, finding.samples) == (Outcome.HELD, samples), more


def test_two_calls_of_a_request_are_no_retry(rehearse, by_id):
    """One attempt each at two paths, or with two methods, or with two queries."""
    run = rehearse()
    for request in run.traffic():
        at = request.sent - run.origin
        for method, path in (("GET", "/stock?item=1"), ("GET", "/stock?item=2"), ("POST", "/stock?item=2")):
            at = run.call(at + 0.05, id=request.id, method=method, path=path)
    asked = {"on": "payments", "attempts": 1, "amplification": "<= 1"}
    findings = by_id(Retries.model_validate({**asked, "backoff": {"first": "50ms ± 1%"}}), run.view())
    assert [(finding.outcome, finding.samples) for finding in findings.values()] == [
        ("held", 720), ("vacuous", 720), ("held", 720)
    ]  # fmt: skip
    findings = by_id(Retries.model_validate({**asked, "same_call": "id"}), run.view())
    assert findings["retries.payments.amplification"].seen == "3 attempts per call (720 for 240)"
    assert findings["retries.payments.attempts"].outcome is Outcome.VIOLATED


def test_calls_told_apart_by_their_idempotency_key(rehearse, by_id):
    """Two charges of one order are two calls; the attempts of each carry its key, wherever they go."""
    run = rehearse()
    for request in run.traffic():
        at = request.sent - run.origin
        for charge in range(2):
            for attempt in range(2):
                key = {"idempotency-key": f"{request.id}-{charge}"}
                at = run.call(at + 0.05, id=request.id, path=f"/charge?attempt={attempt}", headers=key)
    asked = {"on": "payments", "attempts": 2, "amplification": "= 2"}
    for same_call, held in (("idempotency-key", True), ("path", True), ("id", False)):
        findings = by_id(Retries.model_validate({**asked, "same_call": same_call}), run.view())
        assert findings["retries.payments.attempts"].held is held
    for each in [row for row in run.view().exchanges("payments") if row.id == "place-order-200"][:2]:
        run.call(each.started - run.origin, id=each.id, headers=each.headers, path="/elsewhere")
    again = by_id(Retries.model_validate({**asked, "same_call": "idempotency-key"}), run.view())
    assert again["retries.payments.attempts"].seen == "4 attempts"


@pytest.mark.parametrize("own_id", [False, True])
def test_the_trace_id_ties_calls_to_their_request(rehearse, by_id, own_id):
    """A span of its own for each attempt, and the request's trace id; beside it no id, or one the service made up."""
    rng, run = random.Random(3), rehearse()
    for request in run.traffic(lambda _: {"traceparent": f"00-{rng.randbytes(16).hex()}-{rng.randbytes(8).hex()}-01"}):
        trace, at = request.traceparent.split("-")[1], request.sent - run.origin
        for number in range(3):
            header = {"traceparent": f"00-{trace}-{rng.randbytes(8).hex()}-01"}
            at = run.call(at, id=f"own-{request.seq}-{number}" if own_id else "", headers=header) + 0.1 * 2**number
    asked = {"on": "payments", "attempts": 3, "amplification": "= 3", "backoff": {"factor": "2 ± 1%"}}
    findings = by_id(Retries.model_validate(asked), run.view())
    assert {(finding.outcome, finding.samples) for finding in findings.values()} == {(Outcome.HELD, 240)}


def test_a_trace_id_that_all_requests_share_tells_nothing(rehearse, by_id):
    """A team's own constant header: calls without an id could be anybody's."""
    run = rehearse()
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    for request in run.traffic(traceparent=trace):
        run.call(request.sent - run.origin, headers={"traceparent": trace})
    finding = by_id(Retries(on="payments", attempts=1), run.view())["retries.payments.attempts"]
    assert (finding.outcome, finding.samples) == (Outcome.VACUOUS, 0)


BACK_OFFS = {
    "fixed": lambda draw, n, before: 0.1,
    "exponential, without jitter": lambda draw, n, before: 0.1 * 2**n,
    "exponential, multiplied by U(0.75, 1.25)": lambda draw, n, before: 0.1 * 2**n * draw(0.75, 1.25),
    "full jitter": lambda draw, n, before: draw(0, 0.1 * 2**n),
    "equal jitter": lambda draw, n, before: 0.05 * 2**n + draw(0, 0.05 * 2**n),
    "added U(0, 100 ms)": lambda draw, n, before: 0.1 * 2**n + draw(0, 0.1),
    "added U(0, 1 s) (tenacity's `wait_exponential_jitter(initial=0.1)`)": lambda draw, n, before: (
        0.1 * 2**n + draw(0, 1)
    ),
    "decorrelated jitter": lambda draw, n, before: draw(0.1, 3 * before),
}
PAGE = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", BACK_OFFS)
def test_what_the_factor_shows_of_each_form(rehearse, by_id, form):
    """The table of docs/verdicts.md, judged on 20,000 calls."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {form} |"))
    draw, run = random.Random(form).uniform, rehearse()
    for number in range(20_000):
        at, pause = -4.0, 0.1
        run.request(at, seq=number)
        for attempt in range(3):
            pause = BACK_OFFS[form](draw, attempt, pause)
            at = run.call(at, id=f"place-order-{number}", took=0.01) + pause
    asked = {"on": "payments", "where": "all", "backoff": {"factor": f"{row.split('|')[3].strip()} ± 3%"}}
    finding = by_id(Retries.model_validate(asked), run.view())["retries.payments.backoff.factor"]
    assert (finding.outcome, finding.samples) == (Outcome.HELD, 20_000), finding


@pytest.mark.parametrize(
    ("bound", "attempts", "seen"),
    [
        ("<= 3", [5, 1], "vacuous"),  # three each, if the average were all that is known
        ("<= 3", [2, 1], "held"),  # whoever made them
        ("<= 3", [6, 1], "violated"),
        ("= 1", [1, 1], "vacuous"),  # two of one copy, and none of the other
        (">= 2", [3, 3], "vacuous"),
        (">= 4", [2, 1], "violated"),
    ],
)
def test_copies_share_an_id(rehearse, by_id, bound, attempts, seen):
    """Whose each of several attempts was is not known: held and violated is what is so whoever made them."""
    run = rehearse()
    for request in run.traffic():
        for copy, count in enumerate(attempts):
            if copy:
                run.request(request.intended - run.origin, seq=request.seq, copy=copy)
            for _ in range(count):
                run.call(request.sent - run.origin, id=request.id)
    finding = by_id(Retries(on="payments", attempts=bound), run.view())["retries.payments.attempts"]
    assert finding.outcome == seen, finding
    assert (COPIES in finding.seen) is (seen == "vacuous")


@pytest.mark.parametrize(("bound", "seen"), [("<= 3", "held"), ("<= 2", "vacuous"), ("<= 1", "violated")])
def test_the_amplification_of_copies(rehearse, by_id, bound, seen):
    """Three attempts of two copies: of one call each, or all of one."""
    run = rehearse()
    for request in run.traffic():
        run.request(request.intended - run.origin, seq=request.seq, copy=1)
        for _ in range(3):
            run.call(request.sent - run.origin, id=request.id)
    finding = by_id(Retries(on="payments", amplification=bound), run.view())["retries.payments.amplification"]
    assert finding.outcome == seen, finding


@pytest.mark.parametrize(("at", "seen"), [(2.01, "held"), (2.2, "vacuous"), (2.6, "violated")])
def test_the_deadline_of_copies(rehearse, by_id, at, seen):
    """One was sent half a second later than the other: the attempt may be of either."""
    run = rehearse()
    for request in run.traffic():
        run.request(request.intended - run.origin, seq=request.seq, copy=1, sent=request.sent + 0.5)
        run.call(request.sent - run.origin + at, id=request.id)
    finding = by_id(Retries(on="payments", after_deadline=0), run.view())["retries.payments.after_deadline"]
    assert finding.outcome == seen, finding


def test_an_id_that_all_requests_share_tells_nothing(rehearse, by_id):
    """Those of the whole run have it, not those of the fault alone, and so their calls are not of these."""
    run = rehearse()
    for request in run.traffic(id="constant"):
        run.call(request.sent - run.origin, id="constant")
    findings = by_id(Retries(on="payments", attempts=1, amplification="<= 1"), run.view())
    assert {finding.outcome for finding in findings.values()} == {Outcome.VACUOUS}


def storm(rehearse, name, *, tries=30, beat=0.0, steady=1):
    """Each request of the fault is tried so often without a pause; ``name`` tells what the nth try bears. A ``beat`` is
    a call of the service's own each so many seconds."""
    run = rehearse()
    for request in run.traffic(rate=20.0):
        at = request.sent - run.origin
        for number in range(tries if 0 <= request.intended - run.origin < 6 else steady):
            at = run.call(at, took=0.002, status=503, **{"id": request.id, **name(number, request)})
    for number in range(round(16 / beat) if beat else 0):
        run.call(run.start + number * beat, id="", path="/health", method="GET")
    return run


ANONYMOUS = {
    "new ids": lambda n, request: {"id": request.id if n == 0 else f"own-{request.seq}-{n}"},
    "no id": lambda n, request: {"id": request.id if n == 0 else ""},
    "number in the query": lambda n, request: {"path": f"/x?attempt={n}"},
    "number in the path": lambda n, request: {"path": f"/x/{n}/charge"},
}
BOUNDS = {"on": "payments", "attempts": "<= 3", "amplification": "<= 3", "after_deadline": 0, "deadline": "10ms"}


@pytest.mark.parametrize("name", ANONYMOUS)
@pytest.mark.parametrize("beat", [0.0, 0.5])
def test_attempts_that_cannot_be_tied_to_their_request(rehearse, by_id, name, beat):
    """Thirty attempts, of which each but the first bears another name: nothing is held that they would break."""
    findings = by_id(Retries.model_validate(BOUNDS), storm(rehearse, ANONYMOUS[name], beat=beat).view())
    told = {key.rpartition(".")[2]: finding for key, finding in findings.items()}
    assert told["attempts"].outcome is told["amplification"].outcome is Outcome.VACUOUS
    assert told["after_deadline"].outcome is (Outcome.VIOLATED if "number" in name else Outcome.VACUOUS)
    words = "same_call: id" if "number" in name else "bear the id of no request"
    assert all(words in told[bound].seen for bound in ("attempts", "amplification"))


def test_a_new_idempotency_key_with_each_attempt(rehearse, by_id):
    """It tells calls apart that are attempts of one; in the steady phase a request has one."""
    run = storm(rehearse, lambda n, request: {"headers": {"idempotency-key": f"{request.seq}-{n}"}})
    findings = by_id(Retries.model_validate({**BOUNDS, "same_call": "idempotency-key"}), run.view())
    assert findings["retries.payments.attempts"].outcome is Outcome.VACUOUS
    assert by_id(Retries.model_validate({**BOUNDS, "same_call": "id"}), run.view())[
        "retries.payments.attempts"
    ].outcome is Outcome.VIOLATED  # fmt: skip


@pytest.mark.parametrize("beat", [0.1, 0.35, 1.1, 3.0])
def test_a_beat_of_the_service_s_own_is_no_attempt(rehearse, by_id, beat):
    """Calls that come in the steady phase as they do in the fault are tied to nobody, and hide nothing."""
    run = storm(rehearse, lambda n, request: {}, tries=3, beat=beat)
    findings = by_id(Retries.model_validate({**BOUNDS, "deadline": "1s"}), run.view())
    assert {finding.outcome for finding in findings.values()} == {Outcome.HELD}, findings


@pytest.mark.parametrize(("where", "seen"), [("steady", "vacuous"), ("all", "held"), ("faults", "held")])
def test_nothing_is_usual_about_the_steady_phase_itself(rehearse, by_id, where, seen):
    """What calls are of nobody there may be attempts; path leaves them out."""
    view = storm(rehearse, lambda n, request: {}, tries=3, beat=0.35).view()
    for more, outcome in (({}, seen), ({"path": "/charge"}, "held")):
        asked = Retries(on="payments", where=where, attempts="<= 3", **more)
        assert by_id(asked, view)["retries.payments.attempts"].outcome == outcome


@pytest.mark.parametrize(("bound", "seen"), [("<= 3", "held"), ("= 1", "vacuous"), (">= 2", "violated")])
def test_one_different_call_more_decides_little(rehearse, by_id, bound, seen):
    """A request that looks up one thing more than any did before: held is what would be with an attempt more."""
    run = storm(rehearse, lambda n, request: {"path": f"/stock/{n}"}, tries=2, steady=2)
    run.call(3.0, id="place-order-160", path="/stock/7")
    finding = by_id(Retries(on="payments", attempts=bound), run.view())["retries.payments.attempts"]
    assert finding.outcome == seen, finding


def test_lost_attempts_make_two_pauses_one(rehearse, by_id):
    """Each second attempt bears no id: the pauses around it are seen as one, and short ones as long."""
    run = rehearse()
    for request in run.traffic():
        at = request.sent - run.origin
        for number in range(5 if 0 <= at < 6 else 1):
            at = run.call(at, id="" if number % 2 else request.id, status=503) + 0.05
    finding = by_id(Retries(on="payments", backoff={"first": ">= 100ms"}), run.view())["retries.payments.backoff.first"]
    assert (finding.outcome, finding.seen[:5]) == (Outcome.VACUOUS, "110ms")


def test_overlapping_attempts_waited_for_nothing(rehearse, by_id):
    """A hedge that starts before the first attempt has ended has no pause, not a negative one."""
    run = rehearse()
    for request in run.traffic():
        for number in range(3):
            run.call(request.sent - run.origin + number * 0.01, id=request.id, took=0.5)
    findings = by_id(Retries.model_validate(ALL), run.view())
    assert findings["retries.payments.backoff.first"].outcome is Outcome.VIOLATED
    assert findings["retries.payments.backoff.factor"].outcome is Outcome.VACUOUS
    assert findings["retries.payments.backoff.jitter"].outcome is Outcome.VIOLATED


def test_vacuous_without_retries(rehearse, by_id):
    """Where nothing was retried there is no back-off to judge; attempts and amplification still are."""
    findings = by_id(Retries.model_validate(ALL), retried(rehearse, attempts=1).view())
    outcomes = {key.removeprefix("retries.payments."): finding.outcome for key, finding in findings.items()}
    assert outcomes == {
        "attempts": "held", "amplification": "held", "after_deadline": "held",
        "backoff.factor": "vacuous", "backoff.jitter": "vacuous", "backoff.first": "vacuous",
    }  # fmt: skip
    assert "none of 240 calls was tried more than once" in findings["retries.payments.backoff.first"].seen


def test_vacuous_on_too_few_operations(rehearse, by_id):
    """Nine calls prove nothing."""
    findings = by_id(Retries.model_validate(ALL), retried(rehearse, rate=1.5).view())
    assert {finding.outcome for finding in findings.values()} == {Outcome.VACUOUS}
    assert "10 are needed" in findings["retries.payments.attempts"].seen


def test_vacuous_says_what_is_missing(rehearse, by_id):
    """No calls, calls without an id, calls of other operations: each has its own words."""
    run = rehearse()
    run.traffic()
    asked = Retries(on="payments", attempts="<= 3")
    assert "no matching call" in by_id(asked, run.view())["retries.payments.attempts"].seen
    run.call(1.0)
    missing = "none with the id of a request; pass on the header x-request-id or traceparent"
    assert missing in by_id(asked, run.view())["retries.payments.attempts"].seen
    run.call(1.0, id="stranger")
    assert missing in by_id(asked, run.view())["retries.payments.attempts"].seen
    run.call(1.0, id="place-order-0")
    finding = by_id(asked, run.view())["retries.payments.attempts"]
    assert (finding.outcome, finding.path) == (Outcome.VACUOUS, ("attempts",))
    assert finding.seen == "3 calls to payments, none of a request that is asked for"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"on": "payments"}, "at least one"),
        ({"on": "payments", "backoff": {}}, "at least one"),
        ({"on": "payments", "attempts": "three"}, "not a bound"),
        ({"on": "payments", "attempts": True}, "not a bound"),
        ({"on": "payments", "attempts": 1, "path": "/a("}, "not a regular expression"),
        ({"on": "paymnts", "attempts": 1}, "unknown service"),
    ],
)
def test_mistakes_are_refused_at_load(asked, text):
    """A scenario that asks for nothing, or for what cannot be, does not load."""
    with pytest.raises(ValidationError, match=text):
        Retries.model_validate(asked, context={"services": {"payments"}})
