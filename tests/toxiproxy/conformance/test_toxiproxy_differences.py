"""The table "Differences from the original" of docs/toxiproxy.md: each row has its test here.

Ours is always tried; the original where it is on PATH and the defect is safe to run.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for

PAGE = Path(__file__).parents[3] / "docs" / "toxiproxy.md"
ENGINES = pytest.mark.parametrize("engine", ["embedded", *(["original"] if shutil.which("toxiproxy-server") else [])])
ENTRY = {"name": "a", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}
ROWS: dict[str, Callable[..., None]] = {}


def row(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test of the row whose first cell is ``text``; its argument ``engine`` is both servers in turn."""

    def note(test: Callable[..., None]) -> Callable[..., None]:
        assert text not in ROWS
        ROWS[text] = test
        return ENGINES(test)

    return note


def test_each_row_has_its_test() -> None:
    """And each test its row."""
    section = PAGE.read_text().split("## Differences from the original", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    assert sorted(cells[1:]) == sorted(ROWS)


def dial(port: int) -> socket.socket:
    """A connection to a proxy."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def asks_for_a_token(run_as: Any, engine: str) -> bool:
    """2.13 and ours; not 2.12, whose ``/version`` cannot tell (built with ``go install`` it is "git")."""
    with run_as(engine, TOXIPROXY_AUTH_TOKEN="secret") as found:
        return bool(found.call("GET", "/proxies")[0] == 401)


def checks_slicer_sizes(run_as: Any, engine: str) -> bool:
    """2.13 and ours; not 2.12 (no data is sent through: the overflow would take a gigabyte)."""
    with run_as(engine) as found:
        found.listens(ENTRY)
        answers = []
        for attributes in ({}, {"average_size": -1}, {"average_size": 5, "size_variation": 6}):
            answers.append(found.call("POST", "/proxies/a/toxics", {"type": "slicer", "attributes": attributes})[0])
            found.call("DELETE", "/proxies/a/toxics/slicer_downstream")
    assert answers in ([200] * 3, [400] * 3)
    return answers[0] == 400


@row("`-seed` has no effect")
def test_seed(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """Two runs with one seed: the same connections of thirty get the toxic, or others."""
    target = upstream().address
    runs = []
    for _ in range(2):
        with run_as(engine, "-seed", "7") as found:
            port = found.listens({**ENTRY, "upstream": target})
            found.call("POST", "/proxies/a/toxics", {"type": "limit_data", "toxicity": 0.5})
            seen = []
            for _ in range(30):
                with dial(port) as sock:
                    sock.sendall(b"x")
                    seen.append(wire.read(sock, 1))
            runs.append(seen)
    assert (runs[0] == runs[1]) == (engine == "embedded")


@row("bytes are in `/metrics` once a connection has closed")
def test_live_metrics(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """While it is open they are there, or not."""
    with run_as(engine, "-proxy-metrics") as found:
        with dial(found.listens({**ENTRY, "upstream": upstream().address})) as sock:
            wire.round_trip(sock, b"12345")
            text = found.call("GET", "/metrics")[2]
        assert bool(re.search(r"received_bytes_total\{.*\} 5\n", text)) == (engine == "embedded")


@row("`-runtime-metrics` shows Go's runtime")
def test_runtime_metrics(run_as: Any, engine: str) -> None:
    """Go's, or only the process's."""
    with run_as(engine, "-runtime-metrics") as found:
        text = found.call("GET", "/metrics")[2]
    assert ("go_goroutines" in text) == (engine == "original")
    assert "process_cpu_seconds_total" in text


@row("`reset_peer` closes older connections with FIN")
def test_reset_of_older(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """Those opened before the toxic was added."""
    with run_as(engine) as found, dial(found.listens({**ENTRY, "upstream": upstream().address})) as sock:
        wire.round_trip(sock)
        found.call("POST", "/proxies/a/toxics", {"type": "reset_peer"})
        sock.sendall(b"x")
        assert wire.end(sock) == ("reset" if engine == "embedded" else "fin")


@row("`reset_peer` resets connections that its toxicity spares")
def test_reset_of_spared(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """When they end."""
    with run_as(engine) as found:
        port = found.listens({**ENTRY, "upstream": upstream().address})
        found.call("POST", "/proxies/a/toxics", {"type": "reset_peer", "toxicity": 0})
        with dial(port) as sock:
            wire.round_trip(sock)
            found.call("PATCH", "/proxies/a", {"enabled": False})
            assert wire.end(sock) == ("fin" if engine == "embedded" else "reset")


@row("with a `reset_peer` that still waits, a connection that ends earlier, by itself or with its proxy, ends with RST")
@pytest.mark.parametrize("way", ["client", "upstream", "disabled", "deleted"])
def test_an_end_before_the_reset(run_as: Any, wire: Any, engine: str, way: str) -> None:
    """At whoever did not end it; or with FIN."""
    with run_as(engine) as found, closing(socket.create_server(("127.0.0.1", 0))) as upstream:
        port = found.listens({**ENTRY, "upstream": f"127.0.0.1:{upstream.getsockname()[1]}"})
        stream = "upstream" if way == "upstream" else "downstream"
        found.call(
            "POST", "/proxies/a/toxics", {"type": "reset_peer", "stream": stream, "attributes": {"timeout": 5000}}
        )
        near = dial(port)
        far, _ = upstream.accept()
        with near, far:
            far.settimeout(4)
            if way == "disabled":
                found.call("PATCH", "/proxies/a", {"enabled": False})
            elif way == "deleted":
                found.call("DELETE", "/proxies/a")
            else:
                (near if way == "client" else far).close()
            left = {"client": [far], "upstream": [near]}.get(way, [near, far])
            assert [wire.end(sock) for sock in left] == ["fin" if engine == "embedded" else "reset"] * len(left)


@row("adding a toxic behind one that holds data lets that data go")
def test_a_toxic_behind_one_that_holds(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """Long before its time; or when its time has come."""
    with run_as(engine) as found:
        port = found.listens({**ENTRY, "upstream": upstream().address})
        found.call("POST", "/proxies/a/toxics", {"type": "latency", "attributes": {"latency": 1500}})
        with dial(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            time.sleep(0.3)  # there is no sign of it being held
            found.call("POST", "/proxies/a/toxics", {"type": "noop"})
            assert wire.read(sock, 1) == b"x"
            assert (time.monotonic() - began >= 1.4) == (engine == "embedded")


@row("requests in odd forms as Go's `net/http` takes them")
@pytest.mark.parametrize(
    ("request_", "theirs", "ours"),
    [
        (b"GET http://localhost/version HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200", b"301"),
        (b"GET /version HTTP/1.1\r\n\r\n", b"400", b"200"),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"400", b"200"),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n", b"400", b"200"),
        (b"GET /proxies/../version HTTP/1.1\r\nHost: localhost\r\n\r\n", b"301", b"404"),
        (b"GET /proxies/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400", b"404"),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nXa\r\n\r\n", b"400", b"200"),
        (b"\r\nGET /version HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400", b"200"),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nExpect: cake\r\n\r\n", b"417", b"200"),
        (b"GET /version HTTP/1.1\r\nHost:\r\n\r\n", b"200", b"403"),
        (b"GET /./version HTTP/1.1\r\nHost: localhost\r\n\r\n", b"301", b"404"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200", b"404"),
        (b"get /version HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405", b"400"),
        (b"G@T /version HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400", b"405"),
        (b"GET /version HTTP/2.0\r\nHost: localhost\r\n\r\n", b"505", b"400"),
        (b"GET /version HTTP/1.1\nHost: localhost\n\n", b"200", b""),
    ],
)
def test_odd_requests(run_as: Any, engine: str, request_: bytes, theirs: bytes, ours: bytes) -> None:
    """Served where it would not be, or the other way round; a bare LF ends no line."""
    with run_as(engine) as found, dial(found.port) as sock:
        sock.sendall(request_)
        sock.settimeout(0.5 if engine == "embedded" and not ours else 5)
        answer = b""
        with suppress(TimeoutError):
            answer = sock.recv(4096)
        assert answer[9:12] == (ours if engine == "embedded" else theirs)


@row("a proxy may lead anywhere")
def test_where_proxies_lead(run_as: Any, engine: str) -> None:
    """Or to loopback and to what a flag of ours names."""
    far = {**ENTRY, "upstream": "192.0.2.7:80"}
    with run_as(engine) as found:
        assert found.call("POST", "/proxies", far)[0] == 201
    if engine == "embedded":
        with run_as(engine, "-upstreams=198.51.100.7") as found:
            assert found.call("POST", "/proxies", far)[0] == 403
            assert found.call("POST", "/proxies", ENTRY)[0] == 201


@row("a `bandwidth` rate below 0 ends the process")
def test_rate_below_0(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """Or does not limit."""
    fine = asks_for_a_token(run_as, engine)
    assert fine or engine == "original"
    with run_as(engine) as found:
        port = found.listens({**ENTRY, "upstream": upstream().address})
        found.call("POST", "/proxies/a/toxics", {"type": "bandwidth", "name": "b", "attributes": {"rate": -1}})
        with dial(port) as sock:
            sock.sendall(b"ping")
            if fine:
                assert wire.read(sock, 4) == b"ping"
            else:
                assert found.process.wait(10) != 0


@row("any `slicer` sizes, also those that overflow its stack (2.12)")
def test_slicer_sizes(run_as: Any, engine: str) -> None:
    """It takes them, or refuses."""
    checked = checks_slicer_sizes(run_as, engine)
    assert checked == asks_for_a_token(run_as, engine)
    assert checked or engine == "original"


@row("removing a `reset_peer` that waits takes as long as it waits, and the API with it; then it resets what it held")
def test_removal_hangs(run_as: Any, upstream: Any, wire: Any, engine: str) -> None:
    """1.5 s here, and the connection is reset; or at once, and it goes on."""
    with run_as(engine) as found:
        port = found.listens({**ENTRY, "upstream": upstream().address})
        found.call("POST", "/proxies/a/toxics", {"type": "reset_peer", "name": "r", "attributes": {"timeout": 1500}})
        with dial(port) as sock:
            sock.sendall(b"x")
            time.sleep(0.1)  # until the toxic has it: the original cannot be asked
            began = time.monotonic()
            assert found.call("DELETE", "/proxies/a/toxics/r")[0] == 204
            assert (time.monotonic() - began < 0.9) == (engine == "embedded")
            if engine == "embedded":
                assert wire.read(sock, 1) == b"x"
                wire.round_trip(sock)
            else:
                assert wire.end(sock) == "reset"


@row("an upstream that is slow to connect holds up the proxy's other clients, and its deletion")
def test_slow_dial(run_as: Any, engine: str) -> None:
    """A listener whose queue is full makes connecting slow."""
    with run_as(engine) as found, closing(socket.socket()) as full, closing(socket.socket()) as queued:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queued.connect(full.getsockname())
        port = found.listens({**ENTRY, "upstream": f"127.0.0.1:{full.getsockname()[1]}"})
        with dial(port), dial(port), closing(http.client.HTTPConnection("127.0.0.1", found.port, timeout=0.7)) as call:
            found.logged("Accepted client")
            call.request("DELETE", "/proxies/a")
            if engine == "embedded":
                assert call.getresponse().status == 204
            else:
                with pytest.raises(TimeoutError):
                    call.getresponse()
        accepted = 2 if engine == "embedded" else 1
        assert len(found.logged("Accepted client")) == accepted
        found.process.kill()  # the original would wait for its own answer


@row("any `Host` and `Origin`, headers up to 1 MiB, bodies of any size")
def test_foreign_names(run_as: Any, engine: str) -> None:
    """Answered, or refused."""
    with run_as(engine) as found:
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert found.call("GET", "/proxies", None, headers)[0] == (403 if engine == "embedded" else 200)
        assert found.call("GET", "/proxies", None, {"X": "x" * 40_000})[0] == (431 if engine == "embedded" else 200)
        with suppress(ConnectionError):  # refused before the body was sent
            answer = found.call("POST", "/populate", "[" + " " * 5_000_000 + "]")
            assert answer[0] == (413 if engine == "embedded" else 201)


@row("the log blocks when nobody reads it")
def test_unread_log(words_of: Any, engine: str) -> None:
    """So the API stops answering, or goes on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*words_of(engine), "-port", str(port)], stdout=subprocess.PIPE, env={**os.environ, "LOG_LEVEL": "debug"}
    )
    try:

        def served() -> bool:
            with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)) as call:
                call.request("GET", "/version?" + "x" * 20_000)
                return call.getresponse().status == 200
            return False

        wait_for(served, what="the server", limit=10)
        answers = [served() for _ in range(6)]  # 120 kB of log for a pipe of 64 kB
        assert all(answers) == (engine == "embedded")
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@row("without `LOG_LEVEL` everything is logged, down to `trace`; each line names its `caller` in Go")
def test_default_log_level(run_as: Any, engine: str) -> None:
    """Or from info on."""
    with run_as(engine) as found:
        found.call("GET", "/version")
        found.listens(ENTRY)
        started = found.logged("Started proxy")
    levels = {json.loads(line)["level"] for line in found.log}
    assert ("debug" in levels) == ("caller" in started[0]) == (engine == "original")


@row("when the API's port is taken, or is none, it goes on without an API")
def test_taken_port(words_of: Any, engine: str) -> None:
    """Or it ends: status 1, and 2 for what is no port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        for port, status in ((str(taken.getsockname()[1]), 1), ("x", 2)):
            process = subprocess.Popen(
                [*words_of(engine), "-port", port], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                if engine == "embedded":
                    assert process.wait(10) == status
                else:
                    while b"Server finished with error" not in process.stdout.readline():
                        pass
                    assert process.poll() is None
            finally:
                process.kill()
                process.wait(10)
                process.stdout.close()
                process.stderr.close()


@row("`TOXIPROXY_AUTH_TOKEN` has a meaning from 2.13 on")
def test_token(run_as: Any, engine: str) -> None:
    """2.12 does not know it."""
    asked = asks_for_a_token(run_as, engine)
    assert asked == checks_slicer_sizes(run_as, engine)
    assert asked or engine == "original"


@row("unknown fields are ignored")
def test_fields_beyond(run_as: Any, engine: str) -> None:
    """``ttl`` and the conditions are shown, ``chaoskit_toxics`` are there, or not."""
    with run_as(engine) as found:
        found.call("POST", "/proxies", {**ENTRY, "chaoskit_toxics": [{"type": "noop"}]})
        answer = json.loads(found.call("POST", "/proxies/a/toxics", {"type": "latency", "ttl": 60_000, "every": 2})[2])
        names = [toxic["name"] for toxic in json.loads(found.call("GET", "/proxies/a/toxics")[2])]
    ours = engine == "embedded"
    assert ("ttl" in answer, "every" in answer, "noop_downstream" in names) == (ours, ours, ours)
