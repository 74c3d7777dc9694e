"""A team's own SOP platform: called once for each incident, and calling our actions back, within bounds."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest
from sop_stage import SERVICES, Desk, alert, http_server

from chaoskit.alerting.receiver import Receiver
from chaoskit.alerting.sops.endpoint import PREFIX, CallBacks
from chaoskit.base.clock import wait_for


@pytest.fixture
def desk(tmp_path):
    """A runner's desk with a receiver; closed in the end."""
    desk = Desk(tmp_path)
    desk.receiver = Receiver()
    desk.receiver.start("127.0.0.1")
    yield desk
    desk.close()
    desk.receiver.stop()


def post(url, document):
    """Status and document of an answer."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def open_desk(desk, **more):
    """A runner that calls the platform at ``desk.context.url``; the URL of its actions."""
    sop = {
        "endpoint": "POST {{ orders.url }}/incidents",
        "on": {"alert": "OrdersPanics"},
        "priority": "high",
        "service": "orders",
        "retry": {"attempts": 1},
        "headers": {"authorization": "Bearer abcdef123456"},
        **more,
    }
    actions = desk.receiver.addresses()["sops_url"] + "/actions"
    desk.open(sop, call_back=actions)
    desk.receiver.take(PREFIX, CallBacks(desk.runner, frozenset(SERVICES)).take)
    return actions


def test_the_platform_is_called_and_calls_back(desk):
    """It gets all it needs; the action that it asks for, while it still answers, is done and recorded as its own."""
    seen, answers = [], []

    def platform(method, path, headers, body):
        said = json.loads(body)
        seen.append((path, headers["authorization"], said))
        answers.append(post(said["callback"] + "/restart", {"incident": said["incident"], "service": "orders"}))
        return 202, {}

    with http_server(platform) as url:
        desk.context.url = url
        open_desk(desk)
        desk.runner.alert(alert(labels={"token": "abc"}))
        desk.runner.alert(alert())
        desk.settle()
    ((path, authorization, said),) = seen
    assert (path, authorization) == ("/incidents", "Bearer abcdef123456")
    assert (said["action_type"], said["target_service"], said["priority"], said["severity"]) == (
        "call",
        "orders",
        "high",
        "P1",
    )
    assert said["labels"]["token"] == "abc", "the platform gets what the alert says"
    assert answers == [(200, {"outcome": "done", "detail": "orders restarted"})]
    back, called = desk.rows()
    assert (back.action_type, back.called_back, back.outcome, back.sop) == ("restart", True, "done", "endpoint")
    assert (called.action_type, called.called_back, called.outcome) == ("call", False, "done")
    assert called.runner == back.runner == "{{ orders.url }}/incidents"
    assert called.payload["labels"]["token"] == "***", "the history does not"
    report = json.loads((desk.folder / called.report).read_text())
    assert {sop["action_type"] for sop in report["sops"]} == {"call", "restart"}


def test_the_platform_may_do_only_what_it_was_allowed(desk):
    """Neither other actions, nor other incidents, nor templates, nor arguments that do not fit."""
    with http_server(lambda *_: (200, {})) as url:
        desk.context.url = url
        actions = open_desk(desk, allow=["restart", "scale"])
        desk.runner.alert(alert())
        desk.settle()
        incident = desk.rows()[0].incident
        for kind, document, status in (
            ("command", {"incident": incident, "run": ["touch", "pwned"]}, 403),
            ("http", {"incident": incident, "request": "GET http://127.0.0.1/"}, 403),
            ("switch", {"incident": incident, "service": "orders", "feature": "extra"}, 403),
            ("../actions/base", {"incident": incident}, 404),
            ("restart", {"service": "orders"}, 403),
            ("restart", {"incident": "OrdersPanics-000000000000", "service": "orders"}, 403),
            ("restart", {"incident": incident, "service": "postgres"}, 400),
            ("restart", {"incident": incident}, 400),
            ("scale", {"incident": incident, "service": "orders", "env": {"A": "{{ 7 * 7 }}"}}, 400),
            ("restart", b"nonsense", 400),
            ("restart", [1], 400),
        ):
            assert post(f"{actions}/{kind}", document)[0] == status, (kind, document)
    assert desk.context.done == []
    assert len(desk.rows()) == 1


def test_an_action_that_fails_is_told_to_the_platform(desk):
    """502 with the reason, and a row."""
    with http_server(lambda *_: (200, {})) as url:
        desk.context.url = url
        actions = open_desk(desk)
        desk.runner.alert(alert())
        desk.settle()
        desk.context.failures = 1
        status, said = post(f"{actions}/restart", {"incident": desk.rows()[0].incident, "service": "orders"})
    assert status == 502
    assert said["detail"] == "orders is not ready, password=***"
    assert desk.rows()[-1].outcome == "failed"


def test_a_platform_that_does_not_answer_is_tried_again_and_escalated(desk):
    """As any other step."""
    answers = iter([500, 500, 204])
    with http_server(lambda *_: (next(answers), {})) as url:
        desk.context.url = url
        open_desk(desk, retry={"attempts": 2, "backoff": "10ms"}, escalate={"to": "on-call"})
        desk.runner.alert(alert())
        desk.settle()
    (row,) = desk.rows()
    assert (row.outcome, row.attempts, row.escalated) == ("failed", 2, "on-call")


def test_after_the_scenario_nothing_is_called_back(desk):
    """The incident is over."""
    with http_server(lambda *_: (200, {})) as url:
        desk.context.url = url
        actions = open_desk(desk)
        desk.runner.alert(alert())
        desk.settle()
        desk.runner.close()
        assert post(f"{actions}/restart", {"incident": desk.rows()[0].incident, "service": "orders"})[0] == 403
    assert desk.context.done == []


def test_an_action_that_outlives_the_scenario_is_recorded_once(desk):
    """As open, when the scenario ends; that it is done later is nothing for the history."""
    with http_server(lambda *_: (200, {})) as url:
        desk.context.url = url
        actions = open_desk(desk)
        desk.runner.alert(alert())
        desk.settle()
        (called,) = desk.rows()
        desk.context.gate.clear()
        asked = threading.Thread(
            target=post, args=(f"{actions}/restart", {"incident": called.incident, "service": "orders"})
        )
        asked.start()
        wait_for(lambda: desk.context.done, what="the action to begin", limit=10)
        desk.runner.close()
        desk.context.gate.set()
        asked.join(10)
    assert [(row.action_type, row.outcome) for row in desk.rows()] == [("call", "done"), ("restart", "open")]


def test_an_action_is_not_begun_when_the_scenario_has_ended(desk):
    """The call came in time, and was still being read."""
    with http_server(lambda *_: (200, {})) as url:
        desk.context.url = url
        open_desk(desk)
        desk.runner.alert(alert())
        desk.settle()
        incident = desk.runner.incident(desk.rows()[0].incident)
        (work,) = incident.works
        desk.runner.close()
    assert not desk.runner.begun(work)
    assert incident.works == [work]
