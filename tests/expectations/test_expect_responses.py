"""``responses``: what answers look like."""

from __future__ import annotations

import dataclasses
import json

import pytest
from pydantic import ValidationError

from chaoskit.base.json_values import at
from chaoskit.expectations._internals import SIGNS, internals_in
from chaoskit.history.rows import KINDS
from chaoskit.history.store import History, load
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Responses = EXPECTATIONS.get("responses")
CLEAN = json.dumps({"error": "Internal server error", "trace_id": "4bf92f35"})


def panicking(rehearse, body=CLEAN, **more):
    """One request in ten is poisoned during the fault and answered with 500."""
    run = rehearse()
    poisoned = {"status": 500, "body": body, "headers": {"content-type": "application/json"}} | more
    run.traffic(lambda at: poisoned if 0 <= at < 6 and round(at * 40) % 10 == 0 else {"body": '{"id": 1}'})
    return run


def outcomes(findings):
    """Outcome by what follows the operation in the id."""
    return {key.removeprefix("responses.place-order."): str(finding.outcome) for key, finding in findings.items()}


ASKED = {
    "of": "place-order", "where": {"status": 500}, "json": {"error": "Internal server error"}, "body": "trace_id",
    "header": {"Content-Type": "^application/json"}, "no_internals": True, "count": 24, "share": "= 10%",
}  # fmt: skip


def test_held(rehearse, by_id):
    """A clean 500 with all that is asked of it."""
    findings = by_id(Responses.model_validate(ASKED), panicking(rehearse).view())
    assert set(outcomes(findings).values()) == {"held"}
    assert findings["responses.place-order.count"].seen == "24 of 240 answers"
    assert findings["responses.place-order.count"].worst == "201 × 216, 500 × 24"
    assert findings["responses.place-order.json.error"].path == ("json", "error")


def test_violated(rehearse, by_id):
    """A stack trace in the body is found, with the request and what was found."""
    body = 'Traceback (most recent call last):\n  File "/srv/shop/orders.py", line 7\nKeyError: 3'
    findings = by_id(Responses.model_validate(ASKED), panicking(rehearse, body=body).view())
    assert outcomes(findings) == {
        "json.error": "violated", "header.Content-Type": "held", "body": "violated", "no_internals": "violated",
        "count": "held", "share": "held",
    }  # fmt: skip
    finding = findings["responses.place-order.no_internals"]
    assert finding.rows[0].startswith("place-order-200 (500, 20ms): a stack trace (Python): 'Traceback")
    assert findings["responses.place-order.json.error"].seen == "24 of 24 answers differ: no JSON (× 24)"


def test_status_of_all_answers(rehearse, by_id):
    """Without ``where`` every answer is looked at, those without an answer too."""
    run = rehearse()
    run.traffic(lambda at: {"error": "timeout"} if at == 1.0 else {"status": 429 if at < 3 else 201})
    assert by_id(Responses(of="place-order", status=[201, 429], phase="steady"), run.view())[
        "responses.place-order.status"
    ].held
    finding = by_id(Responses(of="place-order", status=[201, 429]), run.view())["responses.place-order.status"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "1 of 240 answers differ: timeout (× 1)")


def test_where_by_error(rehearse, by_id):
    """Errors are selected by their kind."""
    run = rehearse()
    run.traffic(lambda at: {"error": "other: broken pipe"} if 1 <= at < 2 else {})
    assert by_id(Responses(of="place-order", where={"error": "other"}, count=40), run.view())[
        "responses.place-order.count"
    ].held
    assert by_id(Responses(of="place-order", where={"error": "timeout"}, count=0), run.view())[
        "responses.place-order.count"
    ].held


@pytest.mark.parametrize(
    ("phase", "samples"), [("faults", 240), ("steady", 200), ("recovery", 200), ("after", 80), ("all", 720)]
)
def test_phases(rehearse, by_id, phase, samples):
    """Each phase has its own answers."""
    run = rehearse(after=2.0)
    run.traffic()
    findings = by_id(Responses(of="place-order", phase=phase, count=samples), run.view())
    assert findings["responses.place-order.count"].outcome is Outcome.HELD


def test_json_of_a_long_answer(rehearse, by_id):
    """What was noted of the whole answer counts; what was not stands in none of the 2,048 characters that are known."""
    run = panicking(rehearse, body='{"pad": "xxx', size=5000, noted={"error": "boom"}, absent=["missing"])
    asked = Responses(of="place-order", where={"status": 500}, json={"error": "boom", "missing": 1})
    assert list(asked.notes()) == [("place-order", "error"), ("place-order", "missing")]
    findings = by_id(asked, run.view())
    assert outcomes(findings) == {"json.error": "held", "json.missing": "violated"}
    assert "absent (× 24)" in findings["responses.place-order.json.missing"].seen
    other = by_id(Responses(of="place-order", where={"status": 500}, json={"other": 1}), run.view())
    assert outcomes(other) == {"json.other": "vacuous"}, "nobody had asked for it when the answers came"
    assert other["responses.place-order.json.other"].seen == (
        "24 of 24 answers could not be read to the end: too long (× 24)"
    )


def test_json_values(rehearse, by_id):
    """Dotted paths, list indexes, and true is not 1."""
    run = panicking(rehearse, body=json.dumps({"items": [{"ok": True, "n": 1}], "note": None}))
    asked = {"items.0.n": 1, "items.0.ok": True, "note": None}
    held = by_id(Responses(of="place-order", where={"status": 500}, json=asked), run.view())
    assert set(outcomes(held).values()) == {"held"}
    wrong = {"items.0.ok": 1, "items": [{"ok": 1, "n": 1}], "items.1.n": 1, "missing": None}
    violated = by_id(Responses(of="place-order", where={"status": 500}, json=wrong), run.view())
    assert set(outcomes(violated).values()) == {"violated"}
    assert "absent (× 24)" in violated["responses.place-order.json.missing"].seen


@pytest.mark.parametrize("unread", ["too long", "packed (br)"])
def test_the_rest_of_an_answer_may_decide(rehearse, by_id, unread):
    """What is not there in the part that is known is not known; what is there, is."""
    asked = {"of": "place-order", "where": {"status": 500}, "body": "end$|trace", "no_internals": True,
             "no_secret": True, "secrets": ["hunter2secret"]}  # fmt: skip
    findings = by_id(Responses.model_validate(asked), panicking(rehearse, body="<html>", unread=unread).view())
    assert outcomes(findings) == dict.fromkeys(["body", "no_internals", "no_secret", "secrets"], "vacuous")
    assert findings["responses.place-order.body"].seen == (
        f"24 of 24 answers could not be read to the end: {unread} (× 24)"
    )
    body = "password=hunter2secret, traceback: KeyError: 3"
    findings = by_id(Responses.model_validate(asked), panicking(rehearse, body=body, unread=unread).view())
    assert outcomes(findings) == {"body": "held"} | dict.fromkeys(["no_internals", "no_secret", "secrets"], "violated")
    old = by_id(Responses.model_validate(asked), panicking(rehearse, body="<html>", size=5000).view())
    assert set(outcomes(old).values()) == {"vacuous"}, "a history that does not tell"


def test_which_bodies_are_read():
    """Those that are selected, where what stands in them is asked for."""
    asked = {"of": "place-order", "no_internals": True}
    assert list(Responses.model_validate(asked).reads()) == [("place-order", [])]
    assert list(Responses.model_validate({**asked, "where": {"status": 500}}).reads()) == [("place-order", [500])]
    assert list(Responses.model_validate({**asked, "where": {"status": 500, "error": "reset"}}).reads()) == [
        ("place-order", [])
    ]
    assert not list(Responses(of="place-order", status=200, json={"a": 1}, header={"a": "b"}).reads())


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        ({"x-debug": "Traceback (most recent call last)"}, {"no_internals"}),
        ({"x-error": "KeyError: 'sku'; password=hunter2secret"}, {"no_internals", "no_secret", "secrets"}),
        ({"x-api-key": "sk1234"}, {"no_secret"}),
        ({"set-cookie": "session_token=4711; Path=/srv/shop"}, set()),
        ({"location": "/home/orders", "www-authenticate": 'Bearer error_description="x"'}, set()),
        ({"x-csrf-token": "4711", "etag": '"abc"'}, set()),
    ],
)
def test_headers_give_away_as_bodies_do(rehearse, by_id, header, wrong):
    """What a client gets there is as public; what is there for the client is no secret, and an address no file."""
    asked = {"of": "place-order", "where": {"status": 500}, "no_internals": True, "no_secret": True,
             "secrets": ["hunter2secret"]}  # fmt: skip
    findings = by_id(Responses.model_validate(asked), panicking(rehearse, headers=header).view())
    assert {key for key, outcome in outcomes(findings).items() if outcome == "violated"} == wrong
    assert all(f"in the header {min(header)}" in findings[f"responses.place-order.{key}"].seen for key in wrong)


def test_header_is_asked_for_without_regard_to_case(rehearse, by_id):
    """Header names have no case, values are matched as regular expressions."""
    run = panicking(rehearse, status=429, headers={"retry-after": "7"})
    limited = {"of": "place-order", "where": {"status": 429}}
    assert by_id(Responses(**limited, header={"Retry-After": r"^\d+$"}), run.view())[
        "responses.place-order.header.Retry-After"
    ].held
    findings = by_id(Responses(**limited, header={"Retry-After": "^0$", "x-limit": "."}), run.view())
    assert "'7' (× 24)" in findings["responses.place-order.header.Retry-After"].seen
    assert "absent (× 24)" in findings["responses.place-order.header.x-limit"].seen


def test_vacuous(rehearse, by_id):
    """No selected answer proves nothing about answers; a count of them may be 0, on some requests at least."""
    run = rehearse()
    run.traffic(end=0.2)
    asked = Responses(of="place-order", where={"status": 500}, no_internals=True, count=0, share="< 1%")
    findings = by_id(asked, run.view())
    assert outcomes(findings) == {"no_internals": "vacuous", "count": "held", "share": "vacuous"}
    assert findings["responses.place-order.no_internals"].seen == ("no answer of place-order with status 500 (faults)")
    empty = rehearse()
    assert set(outcomes(by_id(asked, empty.view())).values()) == {"vacuous"}


LEAKS = {
    "a stack trace (Python)": ['File "/app/x.py", line 3, in charge', 'File \\"x.py\\", line 3'],
    "a stack trace (Go)": ["goroutine 12 [running]:", "panic: boom", "runtime error: index", "pool.go:88 +0x1"],
    "a stack trace (Java)": ["at com.shop.Orders.place(Orders.java:42)", "Caused by: java.io.IOException"],
    "a stack trace (Node)": ["at Object.<anonymous> (/x/server.js:10:5)", "node_modules/express/lib"],
    "an exception class": ["KeyError: 'sku'", "psycopg.errors.UniqueViolation", "java.lang.NullPointerException"],
    "a file path": ["open /etc/shop/key.pem", "C:\\shop\\orders", "C:\\\\shop"],
    "SQL": [
        "SELECT * FROM orders", "insert into orders (id) values (1)", "SQLSTATE 23505",
        'duplicate key value violates unique constraint "orders_pkey"', 'relation "orders" does not exist',
    ],
}  # fmt: skip


@pytest.mark.parametrize(("sign", "text"), [(sign, text) for sign, texts in LEAKS.items() for text in texts])
def test_internals_are_found(sign, text):
    """Every documented sign is found, also within JSON."""
    for body in (text, json.dumps({"error": text})):
        assert any(found.startswith(sign) for found in internals_in(body)), body


@pytest.mark.parametrize(
    "body",
    [
        CLEAN,
        "",
        '{"error": "Select a product from the list", "code": "validation_error"}',
        '{"error": "service unavailable, retry after 5s", "path": "/orders/12", "docs": "https://x.org/app/errors"}',
        '{"type": "https://shop.example/problems/out-of-stock", "title": "Out of stock", "status": 409}',
        '{"error": "update your browser, then set a new password", "at": "2026-01-01T10:00:00Z"}',
        "<html><body><h1>502 Bad Gateway</h1></body></html>",
    ],
)
def test_ordinary_answers_are_not_suspected(body):
    """What an honest error answer says is no leak."""
    assert internals_in(body) == []


def test_every_sign_has_an_example():
    """The list above follows the code."""
    assert set(LEAKS) == set(SIGNS)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"of": "place-order"}, "at least one"),
        ({"of": "place-order", "where": {}, "count": 1}, "at least one"),
        ({"of": "place-ordr", "count": 1}, "unknown operation"),
        ({"of": "place-order", "body": "("}, "not a regular expression"),
        ({"of": "place-order", "header": {"x": "("}}, "not a regular expression"),
        ({"of": "place-order", "json": {}}, "at least 1 item"),
    ],
)
def test_mistakes_are_refused_at_load(asked, text):
    """Nothing asked, nothing known, nothing that compiles."""
    with pytest.raises(ValidationError, match=text):
        Responses.model_validate(asked, context={"operations": {"place-order"}})


def test_no_secret_and_planted_values(rehearse, by_id):
    """What looks like a secret and what was planted are found in bodies; the finding does not repeat them."""
    asked = {"of": "place-order", "where": {"status": 500}, "no_secret": True, "secrets": ["secret detail 4711"]}
    assert set(outcomes(by_id(Responses.model_validate(asked), panicking(rehearse).view())).values()) == {"held"}
    body = json.dumps({"error": "boom: secret detail 4711", "dsn": "postgres://shop:s3cr3t@db/shop"})
    findings = by_id(Responses.model_validate(asked), panicking(rehearse, body=body).view())
    assert outcomes(findings) == {"no_secret": "violated", "secrets": "violated"}
    assert findings["responses.place-order.no_secret"].seen == "24 of 24 answers differ: a password in a URL (× 24)"
    assert findings["responses.place-order.secrets"].seen == "24 of 24 answers differ: planted value 1 (× 24)"
    assert not any(word in str(finding) for finding in findings.values() for word in ("s3cr3t", "4711 "))


@pytest.mark.parametrize(
    ("asked", "before", "read_back"),
    [
        ({"json": {"token": "abc"}}, "held", "vacuous"),
        ({"json": {"user.token": "abc"}}, "held", "vacuous"),
        ({"json": {"token": "other"}}, "violated", "vacuous"),
        ({"json": {"why": "password=x1"}}, "violated", "vacuous"),
        ({"json": {"why": "none"}}, "violated", "violated"),
        ({"header": {"x-api-key": "^[a-z]+$"}}, "held", "vacuous"),
        ({"body": "token.{4}[a-z]+"}, "held", "vacuous"),
        ({"body": "[q-y]{9}"}, "violated", "violated"),  # which no digest in the place of a secret matches
        ({"body": "user"}, "held", "held"),
        ({"secrets": ["abcdefgh"]}, "violated", "vacuous"),
        ({"no_secret": True}, "violated", "violated"),
    ],
)
def test_what_was_masked_is_not_judged_as_if_it_were_known(rehearse, by_id, tmp_path, asked, before, read_back):
    """Of a recording: vacuous, which says so, where what is compared was a secret. All else as it was."""
    told = {"token": "abc", "user": {"token": "abc"}, "why": "password=x2"}
    run = panicking(rehearse, json.dumps({**told, "password": "abcdefgh"}), headers={"x-api-key": "abc"}, noted={
        path: at(told, path) for path in asked.get("json", ())
    })  # fmt: skip
    expectation = Responses.model_validate({"of": "place-order", "where": {"status": 500}, **asked})
    kept = History(tmp_path)
    for kind in KINDS.values():
        for row in run.history.rows(kind):
            kept.add(row)
    kept.close()
    view = run.view()
    again = dataclasses.replace(view, history=load(tmp_path))
    assert set(outcomes(by_id(expectation, view)).values()) == {before}
    findings = by_id(expectation, again)
    assert set(outcomes(findings).values()) == {read_back}
    assert ("run it again" in next(iter(findings.values())).seen) is (read_back == "vacuous")


def test_a_value_whose_name_is_a_secrets_is_not_shown(rehearse, by_id):
    """The name of a header or field says that it is one; the value alone would not."""
    asked = {"json": {"user.token": "wanted"}, "header": {"x-auth-token": "^z"}}
    run = panicking(rehearse, '{"user": {"token": "hunter2"}}', headers={"x-auth-token": "hunter2"})
    findings = by_id(Responses.model_validate({"of": "place-order", "where": {"status": 500}, **asked}), run.view())
    assert set(outcomes(findings).values()) == {"violated"}
    assert not [secret for secret in ("hunter2", "wanted") if secret in str(findings)]
    assert all("***" in finding.seen for finding in findings.values())
