"""Traces and logs through the engine: two small services that know nothing of OpenTelemetry's SDK."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from chaoskit.engine.attempts import rehearse
from chaoskit.engine.run_folder import rejudge
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios

SERVICE = '''
"""edge asks back up to twice; back answers 503 once /fail was asked for. Each logs JSON and sends its spans as JSON."""
import json, os, secrets, sys, time, urllib.error, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, BACK, OTLP = os.environ["NAME"], os.environ.get("BACK_URL"), os.environ["OTLP_URL"]
FORGETS = os.environ.get("FORGETS") == "yes"


def span(trace, parent, id_, kind, begun):
    made = {"traceId": trace, "spanId": id_, "parentSpanId": parent, "name": "ask", "kind": kind,
            "startTimeUnixNano": begun, "endTimeUnixNano": time.time_ns()}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": NAME}}]}
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [made]}]}]}).encode()
    request = urllib.request.Request(OTLP + "/v1/traces", body, {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=5).close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200)
        begun, own = time.time_ns(), secrets.token_hex(8)
        head = self.headers.get("traceparent", "")
        trace, parent = head.split("-")[1:3] if head and not FORGETS else (secrets.token_hex(16), "")
        request_id = self.headers.get("x-request-id", "")
        status = self.ask(trace, own, request_id) if BACK else 503 if "fail" in self.path else 200
        line = {"event": "asked", "trace_id": trace, "request_id": request_id, "status": status}
        sys.stdout.write(json.dumps(line) + "\\n")  # in one piece: print() writes the line's end apart
        sys.stdout.flush()
        span(trace, parent, own, 2, begun)
        return self.answer(status)

    def ask(self, trace, own, request_id):
        for _ in range(2):
            begun, attempt = time.time_ns(), secrets.token_hex(8)
            headers = {"traceparent": f"00-{trace}-{attempt}-01", "x-request-id": request_id}
            try:
                urllib.request.urlopen(urllib.request.Request(BACK + self.path, headers=headers), timeout=5).close()
                status = 200
            except urllib.error.HTTPError as error:
                status = error.code
            span(trace, own, attempt, 3, begun)
            if status == 200:
                break
        return status

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()
'''

ENVIRONMENT = """
environment: traced
services:
  back:
    command: [{python}, service.py]
    cwd: ..
    protocol: http
    ready: {{http: /healthz, within: 20s}}
    env: {{NAME: back, OTLP_URL: "{{{{ chaos.otlp_url }}}}", no_proxy: "*"}}
  edge:
    command: [{python}, service.py]
    cwd: ..
    protocol: http
    ready: {{http: /healthz, within: 20s}}
    env: {{NAME: edge, BACK_URL: "{{{{ back.url }}}}", OTLP_URL: "{{{{ chaos.otlp_url }}}}", no_proxy: "*"}}
"""

SCENARIO = """
scenario: A failed call is found by its trace
environment: traced
control:
  with: {back: {env: {FORGETS: "yes"}}}
  violates: [traces.fail.back.logs, traces.fail.back.spans]
traffic:
  ask: {request: "GET {{ edge.url }}/ask", rate: 12/s}
  fail: {request: "GET {{ edge.url }}/fail", rate: 10/s}
steady_state:
  ask: {success_rate: ">= 95%"}
timeline:
  steady: 2s
  faults:
    - slow: {latency: {on: edge, delay: 5ms}, at: 0s, for: 3s}
  recovery: 10s
expect:
  traces: {of: fail, hops: [edge, back], retries: siblings, orphans: 0, within: 5s}
  logs:
    - {service: back, match: {event: asked, status: 503}, within: 2s, count: ">= 20", with: [trace_id, request_id]}
    - {service: edge, no_secret: true}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The two services and their scenario."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "environments").mkdir()
    (tmp_path / "service.py").write_text(textwrap.dedent(SERVICE))
    (tmp_path / "environments" / "traced.yaml").write_text(ENVIRONMENT.format(python=sys.executable))
    file = tmp_path / "traced.chaos.yaml"
    file.write_text(SCENARIO)
    return file


def test_held_and_its_control_caught(project: Path, tmp_path: Path) -> None:
    """Spans of both services are received and judged, again alike; a service that forgets the trace is found out."""
    (scenario,) = load_scenarios(project)
    session = Session(tmp_path / "reports", seed=7)
    try:
        result = rehearse(session, scenario, attempts=6)
        control = rehearse(session, scenario, attempts=6, control=True)
    finally:
        session.close()
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    assert {span.service for span in result.history.rows(r.Span)} == {"edge", "back"}
    _, again, _ = rejudge(result.folder)
    assert again == result.verdict
    failed = {judged.finding.id for judged in control.verdict.failed()}
    assert control.control is not None
    # While others take all of the machine a span may be late; those that were not linked are told in any case.
    assert control.control.outcome in ("caught", "inconclusive"), control.control.reason
    assert {"traces.fail.back.logs", "traces.fail.back.spans"} <= failed, control.control.reason
    assert not {"traces.fail.edge.logs", "traces.fail.edge.spans", "traces.fail.retries"} & failed
