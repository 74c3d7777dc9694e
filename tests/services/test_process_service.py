"""Services of one's own: start, readiness, signals, supervision, events and log lines."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.history.rows import ASKED, Event, Log

SERVER = textwrap.dedent("""
    import http.server, os, sys
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            if self.path == "/exit":
                os._exit(int(os.environ.get("CODE", "1")))
            status = {"/healthz": 200, "/sick": 503, "/env": 200}.get(self.path, 404)
            body = repr(dict(os.environ)).encode() if self.path == "/env" else b""
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        do_POST = do_GET
        def log_message(self, form, *args):
            print("asked", self.path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    print("listening", file=sys.stderr)
    server.serve_forever()
""")
COMMAND = ["python", "-c", SERVER]
HEALTHZ = {"http": "/healthz"}


def get(service, path, method="GET"):
    """Ask the service; None when the connection breaks."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def back(service, old):
    """Wait until another process is ready."""
    wait_for(lambda: service.pid not in (None, old) and service.ready(), what="the service to be back", limit=20)


def test_life(bench):
    """Start waits until it is ready, restart keeps the address, stop removes the folder."""
    service = bench.make(command=COMMAND, ready=HEALTHZ, protocol="http")
    assert service.url() == f"http://127.0.0.1:{service.port}"
    assert service.url("127.0.0.2", 99) == "http://127.0.0.2:99"
    assert not service.alive()
    service.start()
    service.start()
    first = service.pid
    assert service.ready()
    assert (bench.folder / "run" / "it").stat().st_mode & 0o777 == 0o700
    service.restart()
    assert service.pid != first
    assert service.ready()
    service.stop()
    service.stop()
    assert service.pid is None
    assert bench.events() == ["started", "ready", "exited", "restarted", "ready", "exited"]
    assert bench.event("exited").code == service.last_exit == -signal.SIGTERM
    assert {row.detail for row in bench.rows if isinstance(row, Event) and row.what == "exited"} == {ASKED}


def test_it_can_be_started_anew(bench):
    """After stop it begins from nothing."""
    service = bench.make(command=COMMAND)
    for _ in range(2):
        service.start()
        service.stop()
    assert bench.events() == ["started", "ready", "exited"] * 2


def test_the_environment_of_the_process(bench):
    """Its port, its failpoints, what the file says; true and false as everyone writes them."""
    env = {"A": "text", "B": 3, "C": True}
    service = bench.make(command=COMMAND, env=env, failpoints=True, metrics="/metrics")
    service.start()
    seen = eval(get(service, "/env")[1])
    assert {name: seen[name] for name in ("A", "B", "C")} == {"A": "text", "B": "3", "C": "true"}
    assert seen["PORT"] == str(service.port)
    assert f"http://{seen['GOFAIL_HTTP']}" == service.failpoints_url
    assert service.metrics_url == f"http://127.0.0.1:{service.port}/metrics"


def test_without_failpoints_and_metrics(bench):
    """Nothing is offered that was not declared."""
    service = bench.make(command=COMMAND)
    assert service.failpoints_url is None
    assert service.metrics_url is None
    assert service.limit() is None


def test_a_command_may_be_text(bench):
    """Split as a shell does; python is our interpreter."""
    service = bench.make(command="python -c 'import sys, signal; print(sys.executable); signal.pause()'")
    service.spec = service.spec.model_copy(update={"ready": service.spec.ready.model_copy(update={"log": "python"})})
    service.start()
    assert bench.lines() == [sys.executable]


def test_log_lines_are_emitted(bench):
    """With their stream and the service's name; those of the latest process are kept."""
    service = bench.make(command=COMMAND, ready=HEALTHZ)
    service.start()
    rows = [row for row in bench.rows if isinstance(row, Log)]
    assert ("listening", "stderr", "it") in [(row.line, row.stream, row.service) for row in rows]
    wait_for(lambda: "asked /healthz" in service.last_lines(), what="the line", limit=10)


def test_emit_may_be_changed(bench):
    """Each scenario has its own history."""
    service = bench.make(command=COMMAND)
    service.start()
    count, later = len(bench.rows), []
    service.emit = later.append
    service.restart()
    assert len(bench.rows) == count
    assert later


def test_ready_by_log_line(bench):
    """A regular expression, searched in both streams."""
    service = bench.make(command=["sh", "-c", "sleep 0.1; echo 'up at 7' >&2; sleep 300"], ready={"log": r"up at \d"})
    service.start()
    assert service.ready()


def test_not_ready_in_time(bench):
    """The error says what was awaited, what was last seen, and what the service wrote."""
    service = bench.make(command=COMMAND, ready={"http": "/sick", "within": "500ms"})
    with pytest.raises(BrokenError) as caught:
        service.start()
    text = str(caught.value)
    assert "it was not ready within 500ms; last seen: GET /sick: status 503" in text
    assert "It still runs" in text
    assert "Its last lines:\n  " in text
    assert "asked /sick" in text


def test_dead_before_it_was_ready(bench):
    """Told at once, with its exit status and last words."""
    service = bench.make(command=["sh", "-c", "echo 'no licence' >&2; exit 3"], ready={"within": "30s"})
    before = time.monotonic()
    with pytest.raises(BrokenError, match="ended before it was ready: exit status 3\n  Its last lines:\n  no licence"):
        service.start()
    assert time.monotonic() - before < 10


def test_no_such_program(bench):
    """The name of the service and of the program."""
    with pytest.raises(BrokenError, match="cannot start it: no program 'nonsense'"):
        bench.make(command="nonsense --fast").start()


def test_an_empty_command_is_refused(bench):
    """There is nothing to run."""
    with pytest.raises(ChaosError, match="it has no command"):
        bench.make(command="").start()


def test_a_kill_is_known_to_be_ours(bench):
    """The event comes before the death, with pid and signal; the status tells the signal."""
    service = bench.make(command=COMMAND)
    service.start()
    pid = service.pid
    assert service.kill()
    assert not service.alive()
    assert service.last_exit == -signal.SIGKILL
    wait_for(lambda: "exited" in bench.events(), what="the event", limit=10)
    assert bench.events() == ["started", "ready", "killed", "exited"]
    assert (bench.event("killed").pid, bench.event("killed").detail) == (pid, "SIGKILL")
    assert bench.event("exited").code == -signal.SIGKILL
    assert not service.kill()


def test_a_death_right_after_readiness_is_told(bench, monkeypatch):
    """With its status, though the thread that watches has not noted it yet."""
    service = bench.make(command=COMMAND)
    exited = service._exited
    monkeypatch.setattr(service, "_exited", lambda process: (time.sleep(0.2), exited(process)))
    monkeypatch.setattr(service, "initialise", lambda: (service._process.kill(), service._process.wait(10)))
    with pytest.raises(BrokenError, match="ended as soon as it was ready: killed by SIGKILL"):
        service.start()


def test_without_supervision_it_stays_dead_until_started(bench):
    """The cure of a kill is start()."""
    service = bench.make(command=COMMAND)
    service.start()
    service.kill()
    time.sleep(0.3)  # three times what a supervisor would wait: nobody brings it back
    assert not service.alive()
    service.start()
    assert service.ready()


def test_pause_and_resume(bench):
    """A paused service accepts, and does not answer; nothing is lost."""
    service = bench.make(command=COMMAND, ready=HEALTHZ)
    service.start()
    assert service.pause()
    assert service.alive()
    assert not service.ready()
    assert service.resume()
    assert service.ready()
    assert service.resume()  # healing what was not paused is no event
    assert bench.events() == ["started", "ready", "paused", "continued"]


def test_a_paused_service_can_be_stopped_and_restarted(bench):
    """Also without resume."""
    service = bench.make(command=COMMAND)
    service.start()
    service.pause()
    service.restart()
    assert service.ready()
    service.pause()
    service.stop()


@pytest.mark.parametrize(
    ("policy", "code", "returns"),
    [
        ("always", 0, True),
        ("always", 1, True),
        ("on-failure", 1, True),
        ("on-failure", 0, False),
        ("never", 1, False),
    ],
)
def test_restart_policies(bench, policy, code, returns):
    """Who comes back after an exit of its own."""
    service = bench.make(command=COMMAND, ready=HEALTHZ, restart=policy, env={"CODE": code})
    service.start()
    old = service.pid
    get(service, "/exit")
    if returns:
        back(service, old)
        wait_for(lambda: bench.events()[-1] == "ready", what="the event", limit=10)
        assert bench.events() == ["started", "ready", "exited", "restarted", "ready"]
        assert bench.event("restarted").at - bench.event("exited").at >= 0.1
    else:
        wait_for(lambda: not service.alive(), what="its end", limit=10)
        time.sleep(0.3)  # three times what the supervisor would wait
        assert not service.alive()


def test_a_killed_service_is_restarted_by_its_supervisor(bench):
    """As in production: the kill is a fault, the restart is not ours."""
    service = bench.make(command=COMMAND, ready=HEALTHZ, restart="on-failure")
    service.start()
    port = service.port
    for _ in range(3):
        old = service.pid
        service.kill()
        back(service, old)
    assert service.port == port


def test_the_supervisor_gives_up(bench, monkeypatch):
    """After 20 restarts (here 3) that did not help; the next scenario counts anew."""
    monkeypatch.setattr("chaoskit.services.supervisor.REVIVALS", 3)
    monkeypatch.setattr("chaoskit.services.supervisor.BACK_OFF", 0.01)
    service = bench.make(command=COMMAND, ready=HEALTHZ, restart="always")
    service.start()
    service.spec = service.spec.model_copy(update={"command": ["false"]})
    service.kill()
    wait_for(lambda: "given up" in bench.events(), what="the supervisor to give up", limit=20)
    assert bench.events().count("restarted") == 3
    service.spec = service.spec.model_copy(update={"command": COMMAND})
    service.reset()
    service.start()
    assert service.ready()


def test_a_stopped_service_is_not_revived(bench):
    """Neither when it dies by stop(), nor when the back-off runs during it."""
    service = bench.make(command=COMMAND, restart="always")
    for pause in (0.0, 0.05, 0.1, 0.11):
        service.start()
        service.kill()
        time.sleep(pause)
        service.stop()
        assert not service.alive()
    time.sleep(0.3)  # a restart that was not cancelled would come now
    assert not service.alive()


def test_reset_sends_the_declared_requests(bench):
    """Directly, and all must succeed."""
    service = bench.make(command=COMMAND, reset=["POST /healthz"])
    service.start()
    service.reset()
    wait_for(lambda: "asked /healthz" in bench.lines(), what="the request", limit=10)
    failing = bench.make("other", command=COMMAND, reset=["POST /sick"])
    failing.start()
    with pytest.raises(BrokenError, match="other could not be reset: POST /sick: status 503"):
        failing.reset()


def test_a_working_folder(bench, tmp_path):
    """``cwd`` is where it runs."""
    service = bench.make(command=["sh", "-c", "pwd; sleep 300"], cwd=str(tmp_path), ready={"log": "."})
    service.start()
    assert bench.lines() == [os.path.realpath(tmp_path)]


def test_two_services_have_two_ports(bench):
    """And run side by side."""
    first, second = bench.make("a", command=COMMAND), bench.make("b", command=COMMAND)
    first.start()
    second.start()
    assert first.port != second.port
    assert first.ready()
    assert second.ready()


STRANGER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def stranger(port):
    """Somebody else who answers every request at the service's port."""
    with subprocess.Popen([sys.executable, "-c", STRANGER, str(port)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"listening\n"
        try:
            yield child.pid
        finally:
            child.kill()


@pytest.mark.parametrize("policy", ["never", "always"])
def test_an_end_that_nobody_asked_for(bench, policy):
    """The event does not say that it was asked for, whatever the supervisor makes of it; the next orderly one does."""
    service = bench.make(command=COMMAND, ready=HEALTHZ, restart=policy)
    service.start()
    old = service.pid
    get(service, "/exit")
    wait_for(lambda: "exited" in bench.events(), what="its end", limit=20)
    assert bench.event("exited").detail == ""
    if policy == "always":
        back(service, old)
    service.restart()
    service.stop()
    assert bench.event("exited").detail == ASKED


@pytest.mark.parametrize(
    "spec",
    [
        {"command": COMMAND, "ready": HEALTHZ},
        {"command": COMMAND},
        {"command": ["python", "-c", "print(1, flush=True); import signal; signal.pause()"], "ready": {"log": "1"}},
        {"provider": "http_stub", "args": {"routes": [{"path": "/*"}]}},
    ],
    ids=["http", "tcp", "log", "provider"],
)  # fmt: skip
def test_a_port_that_somebody_else_holds(bench, spec):
    """Whatever it is ready by, nothing is started beside a stranger, who is told with pid and name."""
    service = bench.make(**spec)
    with stranger(service.port) as pid:
        with pytest.raises(BrokenError, match=rf"port {service.port} is held by pid {pid} \(python"):
            service.start()
        assert bench.events() == ["port taken"]
    service.start()  # the port is free again
    assert service.ready()


def test_a_port_that_is_taken_after_the_launch(bench):
    """A service that goes on without its port is not ready: who answers is not what was started."""
    service = bench.make(
        command=["python", "-c", "import signal; signal.pause()"], ready={"http": "/", "within": "20s"}
    )
    launch = service.runtime.launch
    with contextlib.ExitStack() as stack:

        def launched(*given):
            running = launch(*given)
            stack.enter_context(stranger(service.port))
            return running

        service.runtime.launch = launched
        with pytest.raises(BrokenError, match="which is no process of this service"):
            service.start()
        assert service.alive()
        assert not service.ready()


def test_a_port_that_is_taken_before_a_restart(bench):
    """What a supervisor starts again is held to the same, and the history says so."""
    service = bench.make(command=COMMAND, ready=HEALTHZ, restart="always")
    service.start()
    service.kill()
    with socket.create_server((service.host, service.port)):
        wait_for(lambda: "not ready" in bench.events(), what="the restart to fail", limit=20)
    assert bench.event("port taken").detail.startswith(f"port {service.port} is held by pid {os.getpid()} (")


@pytest.mark.parametrize(
    "prelude",
    [
        "",
        "os.fork() and signal.pause()",
        "os.fork() and signal.pause(); os.setsid(); os.fork() and os._exit(0)",
    ],
    ids=["plain", "child", "daemon"],
)
def test_its_own_processes_are_not_strangers(bench, prelude):
    """The listener may be a child of a wrapper, or a daemon that has left its session and its parent."""
    service = bench.make(command=["python", "-c", f"import os, signal\n{prelude}\n{SERVER}"], ready=HEALTHZ)
    service.start()
    assert service.ready()


def test_forked_workers_share_the_port(bench):
    """A pre-fork server: each worker has a socket of its own at the same port."""
    text = """
        import os, socket, signal
        for _ in range(3):
            if os.fork() == 0:
                server = socket.socket()
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                server.bind(("127.0.0.1", int(os.environ["PORT"])))
                server.listen()
                while True:
                    server.accept()[0].close()
        signal.pause()
    """
    service = bench.make(command=["python", "-c", textwrap.dedent(text)])
    service.start()
    assert service.ready()
