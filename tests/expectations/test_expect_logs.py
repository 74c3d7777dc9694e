"""``logs``: what a service writes down, and what it keeps to itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaoskit.expectations._lines import fields_of
from chaoskit.expectations._secrets import excerpt, given_away, planted_in
from chaoskit.expectations.logs import a_minute
from chaoskit.history import rows as r
from chaoskit.history.windows import Window
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Logs = EXPECTATIONS.get("logs")
PANIC = {"event": "panic recovered", "level": "error", "trace_id": "4bf9", "stack": "Traceback ..."}
ASKED = {
    "service": "orders", "match": {"event": "panic recovered", "level": "error"}, "within": "2s", "count": ">= 10",
    "per_minute": "<= 600", "with": ["trace_id", "stack"], "no_secret": True, "secrets": ["hunter2"],
}  # fmt: skip
KEY = "logs.orders.panic-recovered."


def logging(rehearse, *, panics=12, first=0.5, **changes):
    """A service that logs its requests all the time, and panics while the fault lasts."""
    run = rehearse()
    write(run, *((at / 10, {"event": "request", "level": "info", "status": 201}) for at in range(-50, 100)))
    write(run, *((first + n / 10, PANIC | {"n": n} | changes) for n in range(panics)))
    return run


def write(run, *lines, service="orders"):
    """Lines at moments; dicts become JSON."""
    for at, line in lines:
        text = line if isinstance(line, str) else json.dumps(line)
        run.add(r.Log(service=service, at=run.origin + at, line=text))


def outcomes(findings):
    """Outcome by what follows the lines in the id."""
    return {key.rpartition(".")[2]: str(finding.outcome) for key, finding in findings.items()}


def test_held(rehearse, by_id):
    """All that is asked of a panic's line."""
    findings = by_id(Logs.model_validate(ASKED), logging(rehearse).view())
    assert set(findings) == {KEY + name for name in ("within", "count", "per_minute", "with", "no_secret", "secrets")}
    assert set(outcomes(findings).values()) == {"held"}
    assert findings[KEY + "within"].seen == "after 500ms"
    assert findings[KEY + "count"].seen == "12 lines of 162"
    assert findings[KEY + "per_minute"].seen == "120 lines a minute"
    assert findings[KEY + "with"].path == ("with",)


@pytest.mark.parametrize(
    ("changes", "name", "seen"),
    [
        ({"first": 2.5}, "within", "after 2.5s"),
        ({"panics": 9}, "count", "9 lines of 159"),
        ({"first": 0.1, "panics": 59, "level": "error"}, "per_minute", "590 lines a minute"),
        ({"trace_id": ""}, "with", "12 of 12 lines differ: without trace_id (× 12)"),
        ({"trace_id": None, "stack": []}, "with", "12 of 12 lines differ: without trace_id, stack (× 12)"),
        ({"reason": "password=letmein"}, "no_secret", "12 of 162 lines differ: a password, token or key (× 12)"),
        ({"reason": "it was hunter2"}, "secrets", "12 of 162 lines differ: planted value 1 (× 12)"),
    ],
)
def test_violated(rehearse, by_id, changes, name, seen):
    """Each bound by itself."""
    asked = ASKED | ({"per_minute": "<= 580"} if name == "per_minute" else {})
    findings = by_id(Logs.model_validate(asked), logging(rehearse, **changes).view())
    assert {key for key, outcome in outcomes(findings).items() if outcome != "held"} == {name}
    assert findings[KEY + name].outcome is Outcome.VIOLATED
    assert findings[KEY + name].seen == seen


def test_no_such_line(rehearse, by_id):
    """It never comes: not within, none counted, and nothing to look for fields in."""
    findings = by_id(Logs.model_validate(ASKED), logging(rehearse, panics=0).view())
    assert outcomes(findings) == {
        "within": "violated", "count": "violated", "per_minute": "held", "with": "vacuous", "no_secret": "held",
        "secrets": "held",
    }  # fmt: skip
    assert findings[KEY + "within"].seen == "no such line among 150"


def test_a_silent_service_proves_nothing(rehearse, by_id):
    """Another service's lines do not help; nor does it help that none of what is absent was logged."""
    run = rehearse()
    write(run, (0.1, PANIC), service="payments")
    assert set(outcomes(by_id(Logs.model_validate(ASKED), run.view())).values()) == {"vacuous"}
    absent = Logs(service="orders", match={"event": "panic recovered"}, absent=True)
    assert outcomes(by_id(absent, run.view())) == {"absent": "vacuous"}


def test_absent(rehearse, by_id):
    """No line like this; one is enough to violate it."""
    asked = Logs(service="orders", match={"level": ["error", "critical"]}, absent=True)
    assert outcomes(by_id(asked, logging(rehearse, panics=0).view())) == {"absent": "held"}
    finding = by_id(asked, logging(rehearse, panics=1).view())["logs.orders.lines.absent"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "1 of 151 lines differ: it is there (× 1)")
    assert "panic recovered" in finding.rows[0]


def test_phases(rehearse, by_id):
    """Lines are selected in the faults unless another phase is asked for."""
    run = logging(rehearse)
    write(run, (-1.0, PANIC), (8.0, PANIC))
    for phase, count in (("faults", 12), ("steady", 1), ("recovery", 1), ("all", 14), ("after", 0)):
        asked = Logs(service="orders", match={"event": "panic recovered"}, phase=phase, count=count)
        assert outcomes(by_id(asked, run.view())) == {"count": "held"}, phase


def test_what_is_cut_off_a_line_may_be_what_must_not_be_there(rehearse, by_id):
    """It is not known, so nothing has held; what stands in the rest is there."""
    asked = {"service": "orders", "text": "panic", "absent": True, "no_secret": True, "secrets": ["hunter2secret"]}
    for line, outcome in (("x", "held"), ("x [cut]", "vacuous"), ("panic password=hunter2secret [cut]", "violated")):
        run = rehearse()
        write(run, (0.1, "begun"), (3.0, line))
        findings = by_id(Logs.model_validate(asked), run.view())
        assert {str(finding.outcome) for finding in findings.values()} == {outcome}
        if outcome == "vacuous":
            assert findings["logs.orders.panic.secrets"].seen == (
                "1 of 2 lines could not be read to the end: longer than 65,536 bytes"
            )


def test_text_lines_and_fields(rehearse, by_id):
    """Text is searched; fields are matched by name first, then by path; a list means any; true is not 1."""
    run = rehearse()
    write(
        run,
        (0.1, "WARN  retrying charge 17"),
        (0.2, {"log.level": "warn", "http": {"status": 503, "ok": True}}),
        (0.3, {"log": {"level": "warn"}, "http": {"status": 504, "ok": 1}}),
        (0.4, "[1, 2]"),
        (0.5, '{"half": '),
    )

    def count(**asked):
        finding = next(iter(by_id(Logs(service="orders", count=">= 1", **asked), run.view()).values()))
        return int(finding.seen.partition(" ")[0])

    assert count(text=r"charge \d+") == 1
    assert count(match={"log.level": "warn"}) == 2
    assert count(match={"http.status": 503}) == 1
    assert count(match={"http.status": [503, 504]}) == 2
    assert count(match={"http.ok": True}) == 1
    assert count(match={"http.ok": 1}) == 1
    assert count(match={"http": {"status": 503, "ok": 1}}) == 0
    assert count(match={"log.level": "warn"}, text="504") == 1
    assert count(match={"nowhere": None}) == 0
    assert count() == 5


def test_ids_follow_the_lines(rehearse, by_id):
    """The lines are named by the first text of ``match``, else by ``text``."""
    view = logging(rehearse).view()
    assert set(by_id(Logs(service="orders", match={"status": 201, "event": "request"}, count=60), view)) == {
        "logs.orders.request.count"
    }
    assert set(by_id(Logs(service="orders", text="panic .*", count=12), view)) == {"logs.orders.panic.count"}
    assert set(by_id(Logs(service="orders", no_secret=True), view)) == {"logs.orders.lines.no_secret"}


def test_a_finding_never_tells_the_secret(rehearse, by_id):
    """Not in the figure, not in the rows."""
    run = logging(rehearse, reason="hunter2-of-ours", url="postgres://shop:s3cr3t-pw@db/shop")
    asked = ASKED | {"with": ["nowhere"], "count": 0}
    for finding in by_id(Logs.model_validate(asked), run.view()).values():
        told = f"{finding.seen} {finding.worst} {finding.rows}"
        assert "hunter2" not in told
        assert "s3cr3t-pw" not in told


SECRETS = {
    "a password, token or key": [
        "password=letmein", '{"api_key": "abc"}', "DB_PASSWORD: x1", json.dumps({"body": json.dumps({"token": "abc"})}),
    ],
    "a password in a URL": ["postgres://shop:s3cr3t@db/shop"],
    "credentials of an Authorization header": ["Authorization: Bearer abcdefgh1jkl", "basic dXNlcjpwYXNz"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SECRETS.items() for text in texts])
def test_secrets_are_found(kind, text):
    """As text, in a field, and in JSON within JSON; the excerpt of a finding holds them no more."""
    for line in (text, json.dumps({"event": text})):
        assert kind in given_away(line), line
        assert not given_away(excerpt(line)), line


@pytest.mark.parametrize(
    "line",
    [
        "",
        json.dumps({"event": "request", "status": 201, "token": None, "has_password": True, "secret": ""}),
        "password=***", '{"api_key": "<redacted>"}', "token: none", "postgres://shop:***@db/shop",
        "basic functionality restored", "the bearer presented nothing", "tokens per second: 12",
        "GET https://shop.example:8080/x", '{"half": ',
    ],
)  # fmt: skip
def test_ordinary_lines_are_not_suspected(line):
    """What is empty, masked or prose gives nothing away."""
    assert given_away(line) == []


@given(st.text(min_size=4, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_planted_value_is_found_wherever_it_stands(value, before, after):
    """In text and, escaped, in JSON; and it is gone from the excerpt."""
    for line in (before + value + after, json.dumps({"a": [before + value + after]})):
        assert planted_in(line, ["n0t-there", value]) == ["planted value 2"]
    assert value not in excerpt(before + value + after, [value]) or value in "***"
    line = json.dumps(value)
    assert excerpt(line, [value]) == '"***"' or value in "***"


@given(st.lists(st.floats(0, 50)), st.floats(0.1, 60))
def test_lines_a_minute_in_a_short_phase(moments, length):
    """Lines over the length of the phase, of at least a second."""
    lines = [r.Log(service="x", at=at, line="") for at in sorted(moments)]
    assert a_minute(lines, [Window(0, length)]) == pytest.approx(len(lines) * 60 / max(length, 1.0))


@given(st.lists(st.integers(0, 300), max_size=60))
def test_lines_a_minute_in_a_long_phase(moments):
    """The fullest minute, found the slow way."""
    lines = [r.Log(service="x", at=float(at), line="") for at in sorted(moments)]
    slow = max((sum(start <= at < start + 60 for at in moments) for start in moments), default=0)
    assert a_minute(lines, [Window(0.0, 301.0)]) == slow


@given(st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_any_line_has_fields_or_none(line):
    """Whatever a service writes, reading it does not fail."""
    assert isinstance(fields_of(line), dict)
    assert isinstance(given_away(line), list)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"service": "orders"}, "at least one"),
        ({"service": "order", "count": 1}, "unknown service"),
        ({"service": "orders", "text": "(", "count": 1}, "not a regular expression"),
        ({"service": "orders", "absent": True}, "which lines must be absent"),
        ({"service": "orders", "match": {"a": 1}, "absent": True, "count": 1}, "no 'count'"),
        ({"service": "orders", "match": {"a": 1}, "absent": True, "with": ["b"]}, "no 'with'"),
        ({"service": "orders", "match": {}, "count": 1}, "at least 1 item"),
        ({"service": "orders", "secrets": ["abc"]}, "at least 4"),
        ({"service": "orders", "within": "2"}, "2"),
    ],
)
def test_mistakes_are_refused_at_load(asked, text):
    """Nothing asked, nothing known, nothing that compiles."""
    with pytest.raises(ValidationError, match=text):
        Logs.model_validate(asked, context={"services": {"orders"}})
