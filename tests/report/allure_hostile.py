"""A project whose service and scenarios try everything against a report: markup, scripts, secrets, colours."""

from __future__ import annotations

from pathlib import Path

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> [x](javascript:alert(3)) **bold** `a` {{ 7*7 }}"
SECRETS = ("hunter2hunter2", "abcdef0123456789", "s3cr3t-cookie", "pw4url")
LINES = (
    HOSTILE,
    "\x1b[31mred\x1b[0m \x07 bell </pre><script>alert(4)</script>",
    "password=hunter2hunter2 Authorization: Bearer abcdef0123456789",
    '{"msg": "x", "token": "abcdef0123456789", "db": "postgres://user:pw4url@db/x"}',
)

SERVICE = f"""\
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LINES = {LINES!r}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        for line in LINES:
            print(line, flush=True)
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nSet-Cookie: id=s3cr3t-cookie\\r\\nContent-Length: 2\\r\\n\\r\\nok")

    def log_message(self, *_):
        pass


if len(sys.argv) > 1:
    for line in LINES:
        print(line, flush=True)
    raise SystemExit(3)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

ENVIRONMENT = """\
environment: NAME
services:
  front: {command: python server.py, cwd: ../.., protocol: http, ready: {http: /}}
  idle: {command: python server.py, cwd: ../.., protocol: http, ready: {http: /}}
"""

SCENARIO = """\
scenario: "TITLE"
case: C7
severity: critical
owner: "<b>team</b>"
tags: [latency]
links: ["https://example.org/runbook"]
description: "DESCRIPTION"
environment: NAME
traffic:
  get: {request: "GET {{ front.url }}/", rate: 40/s, timeout: 1s}
steady_state:
  get: {success_rate: ">= 90%", p90: "< 500ms"}
timeline:
  steady: 1s
  faults:
    - slow: {latency: {on: SERVICE, delay: 60ms}, at: 0s, for: 1s}
  recovery: 5s
expect:
  during:
    get: {p90: "BOUND"}
"""


def write(folder: Path) -> None:
    """Scenarios that are held, violated, vacuous and broken, and a control that is not caught."""
    scenarios = folder / "scenarios"
    (scenarios / "environments").mkdir(parents=True)
    (folder / "server.py").write_text(SERVICE, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    healthy = ENVIRONMENT.replace("NAME", "small")
    (scenarios / "environments" / "small.yaml").write_text(healthy, encoding="utf-8")
    ill = ENVIRONMENT.replace("NAME", "ill").replace("python server.py", "python server.py fail")
    (scenarios / "environments" / "ill.yaml").write_text(ill, encoding="utf-8")
    control = "control:\n  with: {front: {env: {X: y}}}\n  violates: [during.get.p90]\n"
    for name, title, service, bound, environment, more in (
        ("held", "It holds", "front", "< 2s", "small", control),
        ("violated", f"Violated {HOSTILE}", "front", "< 20ms", "small", ""),
        ("vacuous", "Nothing is touched", "idle", "< 2s", "small", ""),
        ("broken", "It does not start", "front", "< 2s", "ill", ""),
    ):
        text = SCENARIO.replace("TITLE", title).replace("DESCRIPTION", HOSTILE).replace("SERVICE", service)
        text = text.replace("BOUND", bound).replace("NAME", environment).replace("{{ 7*7 }}", "7*7")
        (scenarios / f"{name}.chaos.yaml").write_text(text + more, encoding="utf-8")
