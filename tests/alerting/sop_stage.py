"""A stage for SOPs without an environment: real HTTP servers and processes; services that note what is done."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chaoskit.alerting.sops.queue import FILE, Queue
from chaoskit.alerting.sops.reports import FaultReports
from chaoskit.alerting.sops.runner import SopRunner
from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language import source
from chaoskit.language.check import Check
from chaoskit.language.sop import NAMES, sops_of
from chaoskit.system.journal import Journal
from chaoskit.traffic.templates import render

SERVICES = {"orders", "payments"}


class ActionContext:
    """Notes restarts; a service fails to restart as often as ``failures`` says."""

    def __init__(self, folder):
        self.folder = folder
        self.journal = Journal(folder / "undo.journal")
        self.done = []
        self.failures = 0
        self.held = []
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def restart(self, service):
        self.done.append(("restart", service, now()))
        self.gate.wait(10)
        if self.failures > 0:
            self.failures -= 1
            raise BrokenError(f"{service} is not ready, password=hunter2")
        return f"{service} restarted"

    def scale(self, service, env):
        self.done.append(("scale", service, env))
        return "scaled"

    def address(self, service):
        return self.url

    radius = BlastRadius()

    def render(self, text, names):
        return render(text, {"orders": {"url": self.url}, **names})

    def hold(self, undo):
        self.held.append(undo)


class Desk:
    """A runner with its stage, its history and its folder."""

    def __init__(self, folder):
        self.folder = folder / "scenario"
        self.history = History(self.folder)
        self.context = ActionContext(folder)
        self.runner = None
        self.servers = ()

    def load(self, *sops):
        """SOPs as they stand in a scenario's ``sops:``. Raises InputError."""
        page = source.Source(self.folder / "test.chaos.yaml", json.dumps({"sops": sops}), {"sops": list(sops)})
        check = Check(page)
        found = sops_of(check, page.data, {"services": SERVICES}, frozenset(NAMES))
        assert not check.problems, check.problems
        return found

    def open(self, *sops, call_back=""):
        reports = FaultReports(self.folder, self.history, scenario="a test", environment="test", servers=self.servers)
        self.runner = SopRunner(
            self.load(*sops), self.context, Queue(self.folder / FILE), reports, self.history.add, call_back
        )
        self.runner.start()
        return self.runner

    def rows(self, *outcomes):
        found = self.history.rows(r.SopRun)
        return [row for row in found if not outcomes or row.outcome in outcomes]

    def settle(self):
        """Wait until nothing is queued or running."""
        wait_for(lambda: not self.runner.busy, what="the SOPs to end", limit=15)

    def close(self):
        self.context.gate.set()
        if self.runner is not None:
            self.runner.close()
        self.context.journal.undo_all()
        self.context.journal.close()
        self.history.close()


def alert(name="OrdersPanics", severity="P1", state="delivered", **more):
    """A notification."""
    labels = {"alertname": name, "severity": severity, "service": "orders", **more.pop("labels", {})}
    more = {"at": now(), "source": "application", "fingerprint": f"f-{name}", **more}
    return r.Alert(name=name, state=state, labels=labels, **more)


@contextmanager
def http_server(answer):
    """Serves ``answer(method, path, headers, body) -> (status, document[, headers])`` on loopback; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, document, *more = answer(self.command, self.path, self.headers, body)
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def __getattr__(self, name):
            if name.startswith("do_"):  # any method
                return self._do
            raise AttributeError(name)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
