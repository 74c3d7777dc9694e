"""``ledger``: what was acknowledged is there, once."""

from __future__ import annotations

import json
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import ValidationError

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.history import rows as r
from chaoskit.history.store import History, load
from chaoskit.language.expectation import EXPECTATIONS, Collects, Outcome
from chaoskit.language.view import View

Ledger = EXPECTATIONS.get("ledger")
SQL = "select request_id from orders"
ASKED = {
    "writes": "place-order",
    "read": {"sql": SQL, "on": "postgres"},
    "unexpected": 0,
    "within": "0.4s",
    "quiet": "0s",
}


class Database:
    """Answers each read with the next of its replies, the last one again and again; an error is raised."""

    def __init__(self, *replies, others=None):
        self.replies, self.others, self.reads = list(replies), others or {}, 0

    def sql(self, service, statement):
        """The CollectContext protocol."""
        assert service == "postgres"
        if statement in self.others:
            return self.others[statement]
        reply = self.replies[min(self.reads, len(self.replies) - 1)]
        self.reads += 1
        if isinstance(reply, Exception):
            raise reply
        return reply


def orders(rehearse, answer=lambda at: {}):
    """Eleven orders a second; returns the run and the ids of those that were acknowledged."""
    run = rehearse()
    rows = run.traffic(answer, rate=10.0)
    return run, [row.id for row in rows if row.ok]


def judged(by_id, run, database, **asked):
    """Collects and judges; findings by what follows the operation in the id."""
    expectation = Ledger.model_validate({**ASKED, **asked})
    for read in expectation.collect(database, run.view()):
        run.add(read)
    findings = by_id(expectation, run.view())
    return {key.removeprefix("ledger.place-order."): finding for key, finding in findings.items()}


def outcomes(findings):
    """Only the outcomes."""
    return {key: str(finding.outcome) for key, finding in findings.items()}


def test_it_collects():
    """The engine asks it for data after the last phase."""
    assert isinstance(Ledger.model_validate(ASKED), Collects)


def test_held(rehearse, by_id):
    """Every acknowledged order is there once; what timed out may be there or not."""
    run, acknowledged = orders(rehearse, lambda at: {"error": "timeout"} if 1 <= at < 2 else {})
    timed_out = [row.id for row in run.view().requests() if not row.ok]
    database = Database([[key] for key in acknowledged + timed_out[:5]])
    findings = judged(by_id, run, database)
    assert outcomes(findings) == {"lost": "held", "duplicated": "held", "unexpected": "held"}
    assert findings["lost"].seen == "0 lost of 150 acknowledged writes"
    assert findings["lost"].samples == 150
    assert database.reads == 1, "nothing was waited for"


def test_violated(rehearse, by_id):
    """Lost, doubled and unexpected orders are counted and named."""
    run, acknowledged = orders(rehearse, lambda at: {"status": 409} if 1 <= at < 2 else {})
    refused = [row.id for row in run.view().requests() if not row.ok]
    rows = [[key] for key in [*acknowledged[2:], acknowledged[2], refused[0], "stranger"]]
    findings = judged(by_id, run, Database(rows))
    assert outcomes(findings) == dict.fromkeys(findings, "violated")
    assert findings["lost"].seen == "2 lost of 150 acknowledged writes"
    assert findings["lost"].rows == ("place-order-0 (answered 201)", "place-order-1 (answered 201)")
    assert findings["duplicated"].rows == ("place-order-2 (2 times)",)
    assert findings["unexpected"].rows == ("place-order-60 (was refused with 409)", "stranger (was never sent)")


def test_deferred_work_is_waited_for(rehearse, by_id):
    """Reading goes on until everything is there."""
    run, acknowledged = orders(rehearse)
    rows = [[key] for key in acknowledged]
    database = Database(rows[:100], BrokenError("the server is starting"), rows)
    findings = judged(by_id, run, database, within="5s")
    assert outcomes(findings) == dict.fromkeys(findings, "held")
    assert database.reads == 3


def test_the_wait_has_an_end(rehearse, by_id):
    """What is missing after the time allowed is lost, down to the number a bound allows."""
    run, acknowledged = orders(rehearse)
    database = Database([[key] for key in acknowledged[3:]])
    assert judged(by_id, run, database, lost="<= 3")["lost"].seen == "3 lost of 160 acknowledged writes"
    assert database.reads > 1
    assert judged(by_id, run, database, lost="<= 2")["lost"].outcome is Outcome.VIOLATED


def test_a_failed_read_is_broken(rehearse, by_id):
    """A database that cannot be read says nothing about the service."""
    run, _ = orders(rehearse)
    findings = judged(by_id, run, Database(BrokenError("connection refused")))
    assert outcomes(findings) == dict.fromkeys(findings, "broken")
    assert findings["lost"].seen == "not judged: connection refused"
    assert findings["lost"].worst == SQL


def test_the_query_is_told_apart_from_the_error(rehearse, by_id):
    """A query may be long, and have lines: why it failed comes first."""
    run, _ = orders(rehearse)
    query = "select request_id\n  from charge"
    error = BrokenError(f'postgres: {query}: relation "charge" does not exist')
    lost = judged(by_id, run, Database(error), read={"sql": query, "on": "postgres"})["lost"]
    assert lost.seen == 'not judged: postgres: relation "charge" does not exist'
    assert lost.worst == "select request_id from charge"
    error = BrokenError(
        'postgres: select 1 from charge: relation "charge" does not exist\nLINE 1: select 1\n   ^\nHINT: x'
    )
    lost = judged(by_id, run, Database(error), read={"sql": "select 1 from charge", "on": "postgres"})["lost"]
    assert lost.seen == 'not judged: postgres: relation "charge" does not exist\n   ^\nHINT: x', (
        "the judge makes it a line"
    )


def test_a_history_without_the_read_is_broken(rehearse, by_id):
    """A run that ended before the data was read cannot be judged by it."""
    run, _ = orders(rehearse)
    findings = by_id(Ledger.model_validate(ASKED), run.view())
    assert {finding.outcome for finding in findings.values()} == {Outcome.BROKEN}


def test_vacuous_without_an_acknowledged_write(rehearse, by_id):
    """Nothing promised, nothing to lose."""
    run, _ = orders(rehearse, lambda at: {"status": 503})
    findings = judged(by_id, run, Database([]))
    assert outcomes(findings) == dict.fromkeys(findings, "vacuous")
    assert findings["lost"].seen == "no acknowledged write of 160 requests"


def test_other_statuses_can_be_a_promise(rehearse, by_id):
    """202 is a promise where the scenario says so."""
    run, _ = orders(rehearse, lambda at: {"status": 202, "ok": False})
    findings = judged(by_id, run, Database([]), acknowledged={"status": [201, 202]})
    assert findings["lost"].seen == "160 lost of 160 acknowledged writes"


@pytest.mark.parametrize("key", [{"json": "order.id"}, {"header": "X-Order"}])
def test_the_key_can_stand_in_the_answer(rehearse, by_id, key):
    """A number given out by the service, in the body or in a header."""
    run, _ = orders(
        rehearse,
        lambda at: {"body": json.dumps({"order": {"id": round(at * 10)}}), "headers": {"x-order": str(round(at * 10))}},
    )
    numbers = [round(row.intended * 10 - run.origin * 10) for row in run.view().requests()]
    findings = judged(by_id, run, Database([[number] for number in numbers]), key=key)
    assert outcomes(findings) == dict.fromkeys(findings, "held")
    assert judged(by_id, run, Database([[number] for number in numbers[1:]]), key=key)["lost"].rows == (
        f"{numbers[0]} (answered 201)",
    )


def test_answers_without_a_key_are_told(rehearse, by_id):
    """A wrong path finds no key in any answer: nothing is proved."""
    run, _ = orders(rehearse)
    findings = judged(by_id, run, Database([]), key={"json": "order.id"})
    assert findings["lost"].outcome is Outcome.VACUOUS
    assert findings["lost"].seen == "160 of 160 acknowledged writes have no key to look for"


def test_copies_of_a_request_are_one_write(rehearse, by_id):
    """Two acknowledged copies with one id make one row, not a lost one and not a double."""
    run, acknowledged = orders(rehearse)
    for row in run.view().requests():
        run.request(row.intended - run.origin, seq=row.seq, copy=1)
    findings = judged(by_id, run, Database([[key] for key in acknowledged]))
    assert outcomes(findings) == dict.fromkeys(findings, "held")


def test_copies_are_told_as_the_writes_that_they_are(rehearse, by_id):
    """A figure of requests beside one of keys would not add up: 320 answers promise 160 rows."""
    run, acknowledged = orders(rehearse)
    for row in run.view().requests():
        run.request(row.intended - run.origin, seq=row.seq, copy=1)
    lost = judged(by_id, run, Database([[key] for key in acknowledged[14:]]))["lost"]
    assert lost.seen == "14 lost of 160 acknowledged writes (320 answers)"
    assert lost.worst == "146 rows for 160 acknowledged writes (320 answers)"


def numbered(rehearse, number, **fixed):
    """160 orders with a number in the answer, by ``number`` of the seq; and the numbers, each once."""
    run = rehearse()
    run.traffic(lambda at: {"headers": {"x-order": number(round(at * 10) + 50)}} | fixed, rate=10.0)
    numbers = dict.fromkeys(row.headers["x-order"] for row in run.view().requests())
    return run, [[each] for each in numbers]


def test_two_writes_that_were_promised_one_key(rehearse, by_id):
    """The second order with a number has overwritten the first: one row for two promises."""
    run, rows = numbered(rehearse, lambda seq: f"n{seq // 2}")
    findings = judged(by_id, run, Database(rows), key={"header": "x-order"})
    assert outcomes(findings) == {"lost": "violated", "duplicated": "held", "unexpected": "held"}
    assert findings["lost"].seen == "80 lost of 160 acknowledged writes"
    assert findings["lost"].rows[0] == "n0 (answered 201 to place-order-1, one of 2 writes with this key)"
    findings = judged(by_id, run, Database(rows * 2), key={"header": "x-order"})
    assert outcomes(findings) == {"lost": "held", "duplicated": "violated", "unexpected": "held"}
    assert judged(by_id, run, Database([]), key={"header": "x-order"})["lost"].seen.startswith("160 lost")


@pytest.mark.parametrize(
    ("fixed", "key"),
    [
        ({"id": "sent-again"}, {}),
        ({"idempotency_key": "sent-again"}, {}),
        ({"method": "PUT", "path": "/carts/7"}, {}),
        ({"method": "PATCH", "path": "/carts/7"}, {}),
        ({}, {"shared": True}),
    ],
)
def test_writes_that_are_one(rehearse, by_id, fixed, key):
    """What is sent again is not made again, a put replaces what is there, and a key may be meant for several."""
    run, rows = numbered(rehearse, lambda seq: "n7", **fixed)
    findings = judged(by_id, run, Database(rows), key={"header": "x-order", **key})
    assert outcomes(findings) == dict.fromkeys(findings, "held")
    assert findings["lost"].seen == "0 lost of 1 acknowledged writes (160 answers)"
    assert judged(by_id, run, Database([]), key={"header": "x-order", **key})["lost"].seen.startswith("1 lost")


def test_one_write_that_got_two_keys(rehearse, by_id):
    """The copies of a request, or what came again with its idempotency key, made two orders with a number each."""
    run, rows = numbered(rehearse, lambda seq: f"n{seq}")
    for row in run.view().requests()[:3]:
        run.request(row.intended - run.origin, seq=row.seq, copy=1, headers={"x-order": f"copy-{row.seq}"})
    twice = [[f"copy-{seq}"] for seq in range(3)]
    findings = judged(by_id, run, Database(rows + twice), key={"header": "x-order"})
    assert outcomes(findings) == {"lost": "held", "duplicated": "violated", "unexpected": "held"}
    assert findings["duplicated"].rows[0] == "copy-0 (and n0, for the same request)"
    run, rows = numbered(rehearse, lambda seq: f"n{seq // 80}", idempotency_key="k")
    assert judged(by_id, run, Database(rows), key={"header": "x-order"})["duplicated"].rows == (
        "n1 (and n0, for the same request)",
    )


def test_invariants(rehearse, by_id):
    """A value, a list or rows; each has its own finding."""
    run, acknowledged = orders(rehearse)
    answers = {
        "select min(stock) from products": [[Decimal(0)]],
        "select name from broken": [],
        "select state, n from totals": [["paid", 3], ["new", 1]],
    }
    answers |= {"select bool_and(paid) from orders": [[True]], "select paid from orders": [[1], [0]]}
    wanted = [0, [], [["paid", 3], ["new", 2]], 1, [True, False]]
    invariants = [{"sql": sql, "equals": value} for sql, value in zip(answers, wanted, strict=True)]
    database = Database([[key] for key in acknowledged], others=answers)
    findings = judged(by_id, run, database, invariants=invariants)
    assert outcomes(findings) == {
        "lost": "held", "duplicated": "held", "unexpected": "held",
        "invariants.0": "held", "invariants.1": "held", "invariants.2": "violated",
        "invariants.3": "violated", "invariants.4": "violated",
    }  # fmt: skip
    assert findings["invariants.2"].path == ("invariants", 2)
    assert findings["invariants.2"].seen == "[['paid', 3], ['new', 1]]"


def test_a_recorded_run_is_judged_the_same(rehearse, by_id, tmp_path):
    """Keys of any type survive the way through the history's files."""
    run = rehearse()
    keys = [UUID(int=number) for number in range(160)]
    moments = iter(keys)
    run.traffic(lambda at: {"id": str(next(moments))}, rate=10.0)
    expectation = Ledger.model_validate({**ASKED, "invariants": [{"sql": "sum", "equals": 2.5}]})
    database = Database([[key, Decimal("1.5"), None] for key in keys[1:]], others={"sum": [[Decimal("2.5")]]})
    recorded = History(tmp_path)
    for row in run.history.rows(type(run.view().requests()[0])):
        recorded.add(row)
    for read in expectation.collect(database, run.view()):
        run.add(read)
        recorded.add(read)
    recorded.close()
    assert by_id(expectation, View(load(tmp_path))) == by_id(expectation, run.view())


@pytest.mark.parametrize(("busiest", "longer"), [(0.3, False), (0.95, True)])
def test_it_is_read_for_longer_while_others_are_in_the_way(rehearse, by_id, busiest, longer):
    """Up to twice ``within``, as what is missing may still be late; not where the machine bears it."""
    run, keys = orders(rehearse)
    run.add(r.Host(at=now() + 60, seconds=120, cores=2, late=0.006, own=0.4, foreign=1.5, waited=0.8, busiest=busiest))
    began = now()
    judged(by_id, run, Database([[key] for key in keys[1:]]))
    assert (now() - began >= 0.75) == longer


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"key": {"header": "a", "json": "b"}}, "not in both"),
        ({"key": {}}, "at least one"),
        ({"writes": "pay"}, "unknown operation"),
        ({"read": {"sql": SQL, "on": "postgrs"}}, "unknown service"),
        ({"read": {"sql": "", "on": "postgres"}}, "at least 1 character"),
    ],
)
def test_mistakes_are_refused_at_load(asked, text):
    """References and keys are checked before anything runs."""
    context = {"operations": {"place-order"}, "services": {"postgres"}}
    with pytest.raises(ValidationError, match=text):
        Ledger.model_validate({**ASKED, **asked}, context=context)


def test_duplicates_that_come_late_are_seen(rehearse, by_id):
    """Everything is there at the first look; a second worker does it again a little later."""
    run, acknowledged = orders(rehearse)
    rows = [[key] for key in acknowledged]
    database = Database(rows, rows, rows, rows + rows[:2])
    findings = judged(by_id, run, database, quiet="0.6s", within="5s")
    assert outcomes(findings) == {"lost": "held", "duplicated": "violated", "unexpected": "held"}
    assert findings["duplicated"].seen == "2 duplicated of 160 acknowledged writes"


def test_rows_in_another_order_have_not_changed(rehearse, by_id):
    """A query without an order gives the rows as they come."""
    run, acknowledged = orders(rehearse)
    rows = [[key] for key in acknowledged]
    database = Database(*([rows, rows[::-1]] * 20))
    assert set(outcomes(judged(by_id, run, database, quiet="0.3s")).values()) == {"held"}
    assert database.reads < 10


def test_rows_that_never_come_to_rest_prove_nothing(rehearse, by_id):
    """A table that still changes when the time is over may hold a duplicate a moment later; what is lost is lost."""
    run, acknowledged = orders(rehearse)
    rows = [[key] for key in acknowledged]
    restless = [[*rows, [f"timed-out-{look}"]] for look in range(100)]
    findings = judged(by_id, run, Database(*restless), quiet="0.4s", unexpected=None)
    assert outcomes(findings) == {"lost": "vacuous", "duplicated": "vacuous"}
    assert findings["lost"].seen == "rows still changed 400ms after the last phase; give within more"
    lost = Database(*([[key] for key in acknowledged[look % 2 + 1 :]] for look in range(100)))
    assert outcomes(judged(by_id, run, lost, quiet="0.4s", unexpected=None))["lost"] == "violated"


def test_an_acknowledged_write_without_a_key_is_not_left_out(rehearse, by_id):
    """One of 160 is enough for nothing to have held; what is surely wrong stays so."""
    run, _ = orders(
        rehearse, lambda at: {"body": json.dumps({} if round(at * 10) == 10 else {"id": f"n{round(at * 10)}"})}
    )
    keys = [f"n{round(row.intended * 10 - run.origin * 10)}" for row in run.view().requests() if row.seq != 60]
    findings = judged(by_id, run, Database([[key] for key in keys]), key={"json": "id"})
    assert outcomes(findings) == dict.fromkeys(findings, "vacuous")
    assert findings["lost"].seen == "1 of 160 acknowledged writes have no key to look for"
    assert findings["lost"].rows == ("place-order-60 (201, 20ms)",)
    findings = judged(by_id, run, Database([[key] for key in keys[1:] + keys[1:2]]), key={"json": "id"})
    assert outcomes(findings) == {"lost": "violated", "duplicated": "violated", "unexpected": "vacuous"}


def test_a_key_that_was_noted_needs_no_body(rehearse, by_id):
    """The history has the beginning of a long answer; the worker that saw all of it kept the key."""
    run, _ = orders(rehearse, lambda at: {"body": '{"pad": "xxx', "noted": {"id": f"n{round(at * 10)}"}})
    keys = [[f"n{round(row.intended * 10 - run.origin * 10)}"] for row in run.view().requests()]
    findings = judged(by_id, run, Database(keys), key={"json": "id"})
    assert outcomes(findings) == dict.fromkeys(findings, "held")
    assert list(Ledger.model_validate({**ASKED, "key": {"json": "id"}}).notes()) == [("place-order", "id")]
    assert not list(Ledger.model_validate({**ASKED, "key": {"header": "x-id"}}).notes())


def test_a_key_in_the_part_that_is_not_known(rehearse, by_id):
    """It is none that is lost, and a row that it may name is no stranger: of refused writes, too."""
    cut = {"body": '{"pad": "xxx', "unread": "too long"}
    run, _ = orders(rehearse, lambda at: cut | {"status": 201 if at < 9 else 409})
    findings = judged(by_id, run, Database([["n1"], ["n2"]]), key={"json": "id"})
    assert outcomes(findings) == dict.fromkeys(findings, "vacuous")
    assert findings["lost"].seen == "of 140 answers the part in which the key may stand is not known"
    run, _ = orders(rehearse, lambda at: {"body": f'{{"id": {round(at * 10)}}}'} if at < 9 else cut | {"status": 409})
    keys = [[json.loads(row.body)["id"]] for row in run.view().requests() if row.ok]
    findings = judged(by_id, run, Database([*keys, ["n1"]]), key={"json": "id"})
    assert outcomes(findings) == {"lost": "held", "duplicated": "held", "unexpected": "vacuous"}


def test_a_key_that_nobody_was_told(rehearse, by_id):
    """Ten writes timed out: ten unknown keys may be there, an eleventh may not; what was not sent made none."""

    def answer(at):
        if 1 <= at < 2:
            return {"error": "timeout"}
        return {"error": "refused"} if 2 <= at < 3 else {"headers": {"x-order": f"n{round(at * 10)}"}}

    run, _ = orders(rehearse, answer)
    keys = [[f"n{round(row.intended * 10 - run.origin * 10)}"] for row in run.view().requests() if row.ok]
    for more, outcome in ((10, "held"), (11, "violated")):
        findings = judged(
            by_id, run, Database([*keys, *([f"s{number}"] for number in range(more))]), key={"header": "x-order"}
        )
        assert outcomes(findings) == {"lost": "held", "duplicated": "held", "unexpected": outcome}
    assert findings["unexpected"].rows == ("s10 (stands in no answer)",)
