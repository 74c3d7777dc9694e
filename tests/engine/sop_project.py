"""A service that hangs, a watchdog that tells the alert sink, and SOPs that act on it: a project in a folder."""

from __future__ import annotations

from pathlib import Path

SERVER = '''\
"""GET /ok is 200, or 500 while the feature is on and BROKEN is yes. PUT /admin/features/extra switches the feature."""
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

feature = {"enabled": True}
broken = os.environ.get("BROKEN") == "yes"
trace = "4bf92f3577b34da6a3ce929d0e0e4736"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/admin"):
            return self.answer(200, feature)
        bad = broken and feature["enabled"]
        if bad:
            said = {"level": "error", "event": "panic", "trace_id": trace, "password": "hunter2",
                    "request_id": self.headers.get("x-request-id")}
            print(json.dumps(said), flush=True)
        self.answer(500 if bad else 200, {"size": os.environ.get("SIZE", "small")})

    def do_PUT(self):
        said = json.loads(self.rfile.read(int(self.headers["content-length"])))
        feature.update(said)
        self.answer(200, feature)

    def log_message(self, *_):
        pass


print(json.dumps({"event": "listening", "size": os.environ.get("SIZE", "small")}), flush=True)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

WATCHDOG = '''\
"""Asks the front ten times a second. After three failures it tells the sink, again and again; then that it is over."""
import json
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def tell(state):
    body = {"name": "FrontDown", "status": state, "severity": os.environ.get("SEVERITY", "P1"),
            "labels": {"service": "front"}, "annotations": {"summary": "front gives no good answers, token=s3cr3t"}}
    request = urllib.request.Request(os.environ["SINK"] + "/notify", json.dumps(body).encode(),
                                     {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=2).read()


threading.Thread(target=HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever, daemon=True).start()
failures = 0
while True:
    try:
        urllib.request.urlopen(os.environ["FRONT"] + "/ok", timeout=0.3).read()
        if failures >= 3:
            tell("resolved")
        failures = 0
    except OSError:
        failures += 1
        if failures >= 3:
            tell("firing")
    time.sleep(0.1)
'''

ENVIRONMENT = """\
environment: watched
services:
  front: {command: python server.py, cwd: ../.., protocol: http, ready: {http: /admin/features/extra}}
  watchdog:
    command: python watchdog.py
    cwd: ../..
    protocol: http
    ready: {http: /}
    env: {SINK: "{{ chaos.alerts_url }}", FRONT: "{{ front.direct_url }}"}
"""

RESTART = """\
sop: Restart the front
on: {alert: FrontDown, severity: P2, labels: {service: front}}
priority: high
cooldown: 1m
steps:
  - restart: {service: front}
"""

SCENARIO = """\
scenario: The front is restarted when it hangs
environment: watched
sops: [restart-front]
control: {without: sops, violates: [recovery.because_of, sop.restart.front.times]}
traffic:
  get: {request: "GET {{ front.url }}/ok", rate: 40/s, timeout: 1s, ok: {status: 200}}
steady_state:
  get: {success_rate: ">= 95%"}
timeline:
  steady: 1s
  faults:
    - hang: {pause: {service: front}, at: 0s, for: 6s}
  recovery: 5s
expect:
  recovery: {within: 4s, because_of: sop}
  sop:
    - action_type: restart
      target_service: front
      priority: high
      within: 4s
      times: 1
      payload: {severity: P1, labels.service: front}
"""


def make(folder: Path) -> Path:
    """Write the project; gives the scenario's file."""
    (folder / "pyproject.toml").write_text("")
    (folder / "server.py").write_text(SERVER)
    (folder / "watchdog.py").write_text(WATCHDOG)
    scenarios = folder / "scenarios"
    for name, text in (("environments/watched.yaml", ENVIRONMENT), ("sops/restart-front.yaml", RESTART)):
        file = scenarios / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    file = scenarios / "hangs.chaos.yaml"
    file.write_text(SCENARIO)
    return file
