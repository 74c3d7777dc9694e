"""Fault reports: valid, complete, bounded, masked; and Markdown in which what services say is only text."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from sop_stage import Desk, alert

from chaoskit.alerting import report_facts, report_metrics
from chaoskit.alerting.fault_report import decode, fault_report_schema
from chaoskit.alerting.report_facts import Planned
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.history import rows as r

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000abc"


@pytest.fixture
def desk(tmp_path):
    """A runner's desk, closed in the end."""
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def request(at, id, **more):
    """A request that failed."""
    fields = {
        "op": "place",
        "seq": 1,
        "stream": "base:place",
        "status": 500,
        "error": None,
        "ok": False,
        "fallback": False,
    }
    return r.Request(intended=at - 0.1, sent=at - 0.1, ended=at, id=id, **{**fields, **more})


RESTART = {"restart": {"service": "orders"}}


def report_of(desk, steps=(RESTART,), retry=None, **more):
    """The report after an SOP has run: as JSON (checked against the schema) and as Markdown."""
    runner = desk.open({"sop": "s", "steps": list(steps), **({"retry": retry} if retry else {})})
    began = now()
    runner.reports.planned = [Planned("slow", "latency", "payments", began - 2, began + 60)]
    runner.alert(alert(**more))
    desk.settle()
    runner.close()
    file = desk.folder / desk.rows()[0].report
    report = json.loads(file.read_text())
    jsonschema.validate(report, fault_report_schema(), jsonschema.Draft202012Validator)
    assert decode(file.read_bytes()).incident == report["incident"]
    return report, file.with_suffix(".md").read_text()


def test_all_that_belongs_into_it(desk):
    """Alert, logs, failing requests with their traces, metrics, the fault that is still active, what the SOP did."""
    at = now()
    said = {"level": "error", "trace_id": TRACE, "request_id": "r-1", "event": "panic"}
    for row in (
        r.Log(service="orders", at=at - 400, line="too old"),
        r.Log(service="orders", at=at - 1, line=json.dumps(said)),
        request(at - 0.9, "r-1"),
        request(at - 0.8, "r-2", headers={"traceparent": f"00-{OTHER}-00f067aa0ba902b7-01"}),
        request(at - 0.7, "r-3", ok=True, status=200),
        r.Sample(service="orders", name="panics", at=at - 3, value=0.0),
        r.Sample(service="orders", name="panics", at=at - 1, value=4.0),
        r.Sample(service="orders", name='seconds_bucket{le="1"}', at=at - 1, value=4.0),
        r.Event(service="orders", at=at - 1.5, what="restarted"),
    ):
        desk.history.add(row)
    report, text = report_of(desk, annotations={"summary": "it panics"}, starts_at="2030-01-01T00:00:00Z")
    assert (report["service"], report["severity"], report["summary"]) == ("orders", "P1", "it panics")
    assert report["alert"]["starts_at"] == "2030-01-01T00:00:00Z"
    assert [line["line"] for line in report["logs"]["lines"]] == [json.dumps(said)]
    assert report["trace_ids"] == [TRACE, OTHER], "the one that the logs know comes first"
    assert [(failure["request_id"], failure["trace_id"]) for failure in report["failures"]] == [
        ("r-2", OTHER),
        ("r-1", TRACE),
    ]
    (metric,) = report["metrics"]
    assert (metric["name"], metric["before"], metric["value"]) == ("panics", 0.0, 4.0)
    (fault,) = report["faults"]
    assert (fault["name"], fault["ended"]) == ("slow", None)
    (sop,) = report["sops"]
    assert (sop["outcome"], sop["steps"][0]["detail"]) == ("done", "orders restarted")
    assert sop["queued"] <= sop["started"] <= sop["ended"]
    told = [moment["what"] for moment in report["timeline"]]
    assert told == ["orders: restarted", "SOP inline-1 queued", "SOP inline-1 started", "SOP inline-1 done"]
    for words in (
        "# P1 OrdersPanics: orders",
        "it panics",
        TRACE,
        "orders restarted",
        "latency",
        "| orders | panics | 4 | 0 |  |",
        "| delivered by | application, 1 time |",
    ):
        assert words in text


def test_every_step_is_told(desk):
    """Action, target, tries, result and times of each, in JSON and in Markdown, not only of the last."""
    desk.context.failures = 2
    steps = [RESTART, {"notify": {"to": "orders-team", "message": "it was restarted"}}]
    report, text = report_of(desk, steps, retry={"attempts": 3, "backoff": "10ms"})
    (sop,) = report["sops"]
    told = [
        (step["action"], step["target"], step["attempts"], step["outcome"], step["detail"]) for step in sop["steps"]
    ]
    assert told == [
        ("restart", "orders", 3, "done", "orders restarted"),
        ("notify", "", 1, "done", "told orders-team: it was restarted"),
    ]
    first, second = sop["steps"]
    assert sop["started"] <= first["started"] < first["ended"] <= second["started"] <= second["ended"] <= sop["ended"]
    times = f"{first['started']} | {first['ended']}"
    assert f"| inline-1 | 1 | restart | orders | 3 | done | {times} | orders restarted |" in text
    assert "| inline-1 | 2 | notify |  | 1 | done | " in text


def test_a_step_that_failed_says_so(desk):
    """With how often it was tried, and why."""
    desk.context.failures = 9
    report, text = report_of(desk, retry={"attempts": 1})
    (step,) = report["sops"][0]["steps"]
    assert (step["outcome"], step["attempts"]) == ("failed", 1)
    assert "restart failed 1 time: orders is not ready" in text
    assert "| inline-1 | 1 | restart | orders | 1 | failed | " in text


def rules(at, query):
    """What the rules were seen to ask."""
    return r.Rules(at=at, evaluated={"OrdersPanics": at}, queries={"OrdersPanics": query, "Other": "other > 1"})


def test_metrics_of_the_rule_come_first_then_those_that_changed_most(desk):
    """What did not change is left out, the number of all others is told, and both files are bounded."""
    at = now()
    desk.history.add(rules(at - 3, 'sum by (service) (increase(panics_total{service="orders"}[10s])) > 10'))
    values = {"panics_total": (5.0, 6.0), "doubled": (2.0, 4.0), "new": (None, 1.0), "same": (7.0, 7.0)}
    values |= {"nan": (math.nan, math.nan), 'steady_rule_total{a="b"}': (1.0, 1.0), "memory": (100.0, 101.0)}
    values |= {f"small_{number:03}": (1000.0, 1001.0) for number in range(200)}
    for name, (before, after) in values.items():
        if before is not None:
            desk.history.add(r.Sample(service="orders", name=name, at=at - 30, value=before))
        desk.history.add(r.Sample(service="orders", name=name, at=at - 1, value=after))
    report, text = report_of(desk)
    names = [metric["name"] for metric in report["metrics"]]
    assert names[:5] == ["panics_total", "new", "doubled", "memory", "small_000"]
    assert [metric["of_rule"] for metric in report["metrics"][:2]] == [True, False]
    assert not {"same", "nan"} & set(names)
    assert len(names) == report_metrics.MOST
    assert report["metrics_omitted"] == len(values) - len(names)
    assert f"{len(values) - len(names)} others not shown" in text
    assert "| orders | panics\\_total | 6 | 5 | yes |" in text
    assert "small\\_100" not in text


def test_metrics_of_a_service_that_stood_still(desk):
    """Where nothing has changed and no rule is known, some are shown all the same; that one is left out is told."""
    at = now()
    for name in range(report_metrics.MOST + 1):
        for moment in (at - 30, at - 1):
            desk.history.add(r.Sample(service="orders", name=f"m{name:02}", at=moment, value=1.0))
    report, text = report_of(desk)
    assert (len(report["metrics"]), report["metrics_omitted"]) == (report_metrics.MOST, 1)
    assert "1 other not shown" in text


def test_answers_of_a_fallback_during_a_fault_are_among_the_failing_requests(desk):
    """Marked, and after what failed; those before the fault are not."""
    at = now()
    answered = {"ok": True, "fallback": True, "status": 200}
    for row in (
        request(at - 30, "before", **answered),
        request(at - 1.5, "failed"),
        request(at - 1, "degraded", **answered, path="/feed"),
        request(at - 0.9, "well", ok=True, status=200),
    ):
        desk.history.add(row)
    report, text = report_of(desk)
    told = [(failure["request_id"], failure["fallback"]) for failure in report["failures"]]
    assert told == [("failed", False), ("degraded", True)]
    assert "| GET /feed | 200, fallback |" in text
    assert "| GET / | 500 |" in text


@pytest.mark.parametrize(
    ("servers", "source", "served_by", "text"),
    [
        (["embedded"], "prometheus", "embedded", "chaoskit's embedded stand-in for prometheus, 1 time"),
        (["prometheus 2.42.0", "alertmanager 0.25.0"], "alertmanager", "alertmanager 0.25.0", "alertmanager 0.25.0, 1"),
        (["embedded"], "application", "", "application, 1 time"),
        ([], "alertmanager", "", "alertmanager, 1 time"),
    ],
)
def test_what_really_delivered_is_named(desk, servers, source, served_by, text):
    """A stand-in is not called Prometheus; an application or a server of the team's own is what it says it is."""
    desk.servers = servers
    report, words = report_of(desk, source=source)
    assert (report["alert"]["source"], report["alert"]["served_by"]) == (source, served_by)
    assert f"| delivered by | {text}" in words


def test_the_first_version_is_there_before_the_sop_acts(desk):
    """Who works on the incident can read it meanwhile; it says that the SOP is queued."""
    desk.context.gate.clear()
    runner = desk.open({"sop": "s", "steps": [{"restart": {"service": "orders"}}]})
    runner.alert(alert())
    while not desk.context.done:
        pass
    (file,) = (desk.folder / "fault-reports").glob("*.json")
    assert json.loads(file.read_text())["sops"][0]["outcome"] == "queued"


def test_it_is_bounded_and_keeps_the_lines_of_its_traces(desk):
    """However much was logged: the newest lines, and those of failing requests however old."""
    at = now()
    desk.history.add(r.Log(service="orders", at=at - 200, line=json.dumps({"trace_id": TRACE, "level": "error"})))
    for index in range(3000):
        desk.history.add(r.Log(service="orders", at=at - 100 + index / 100, line=f"{index} " + "x" * 3000))
    desk.history.add(r.Log(service="orders", at=at - 1, line="y" * 100_000))
    report, _ = report_of(desk)
    lines = [line["line"] for line in report["logs"]["lines"]]
    assert TRACE in lines[0]
    assert lines[-1] == "y" * report_facts.LONGEST
    assert sum(map(len, lines)) <= report_facts.MOST_BYTES
    assert report["logs"]["omitted"] == 3002 - len(lines)
    assert lines[-2].startswith("2999 ")


def test_no_secret_is_in_any_of_its_files(desk):
    """Planted in a log line, in labels and annotations, in a path and in the SOP's own words."""
    at = now()
    desk.history.add(r.Log(service="orders", at=at, line='{"password": "hunter2", "url": "postgres://u:hunter2@h/"}'))
    desk.history.add(request(at, "r-1", path="/?token=hunter2"))
    report_of(
        desk, labels={"api_key": "hunter2"}, annotations={"summary": "secret=hunter2", "auth": "Bearer hunter2hunter2"}
    )
    desk.history.close()
    mine = [*(desk.folder / "fault-reports").iterdir(), desk.folder / "sops.queue", desk.folder / "sop_runs.jsonl"]
    assert len(mine) == 4
    for file in mine:
        assert b"hunter2" not in file.read_bytes(), file


def test_markdown_keeps_hostile_text_as_text(desk):
    """No fence is closed, no table opened, no heading made, no HTML; and the file's name is its own."""
    hostile = "x\n# heading\n```\n| a | b |\n<script>alert(1)</script> [l](http://evil)"
    desk.history.add(r.Log(service="orders", at=now(), line="```` " + hostile))
    _, text = report_of(desk, name="../../etc/passwd", annotations={"summary": hostile, "more": hostile})
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# P1 ../../etc/passwd: orders"]
    body, _, logs = text.partition("## Logs")
    assert "<script>" not in body
    assert "[l](" not in body
    fence = next(line for line in logs.splitlines() if line.startswith("```")).removesuffix("text")
    assert len(fence) == 5
    assert logs.rstrip().endswith("\n" + fence)
    assert sorted(file.name for file in (desk.folder / "fault-reports").iterdir()) == [
        "1-etc-passwd.json",
        "1-etc-passwd.md",
    ]


def test_a_severe_alert_without_an_sop_has_its_report_too(desk):
    """P1 and P2 do, P3 does not."""
    runner = desk.open({"sop": "s", "on": {"alert": "Other"}, "steps": [{"restart": {"service": "orders"}}]})
    for name, severity in (("A", "P1"), ("B", "P2"), ("C", "P3")):
        runner.alert(alert(name, severity))
    runner.close()
    names = sorted(file.name for file in (desk.folder / "fault-reports").glob("*.json"))
    assert names == ["1-A.json", "2-B.json"]


def test_what_is_no_report_is_refused():
    """With what is wrong."""
    for text in (b"", b"{}", b'{"format": "chaoskit/fault-report/2"}'):
        with pytest.raises(BrokenError, match="no fault report"):
            decode(text)
