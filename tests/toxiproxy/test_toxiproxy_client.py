"""The client adapter, and the extensions that are no taps: counters, wrong calls."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.observers.tap_poller import TapPoller
from chaoskit.toxiproxy.client import ToxiproxyControl


@pytest.mark.parametrize("path", ["/chaoskit/events?since=x", "/chaoskit/events?since=-1"])
def test_wrong_cursor(server: Any, path: str) -> None:
    """A cursor is a number."""
    assert server.call("GET", path)[0] == 400


@pytest.mark.parametrize("body", ["", "[]", '{"protocol":"redis"}', '{"id_headers":"x"}', '{"note_headers":[5]}'])
def test_wrong_tap(control: Any, server: Any, body: str) -> None:
    """A wrong body is refused in words."""
    control.create_proxy("wrong", "u:1")
    status, _, text = server.call("PUT", "/chaoskit/taps/wrong", body)
    assert (status, "bad request body" in text) == (400, True)
    assert server.call("PUT", "/chaoskit/taps/none", "{}")[0] == 404


def test_counters(control: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """Live, per direction, monotonic; those of a removed toxic stay."""
    address = control.create_proxy("counted", upstream().address)
    sock = connect(address)
    wire.round_trip(sock, b"12345")
    live = control.counters()["counted"]
    assert (live.opened, live.active, live.sent, live.received, live.requests) == (1, 1, 5, 5, 0)
    control.add_toxic("counted", "l", "latency", {"latency": 1})
    wire.round_trip(sock, b"678")
    control.remove_toxic("counted", "l")
    sock.close()
    done = wait_for(lambda: c if not (c := control.counters()["counted"]).active else None, what="end", limit=5)
    assert (done.opened, done.sent, done.received) == (1, 8, 8)
    assert (done.toxics["l"].connections, done.toxics["l"].bytes, done.toxics["l"].cut) == (1, 3, 0)
    control.add_toxic("counted", "l", "noop", {})
    assert control.counters()["counted"].toxics["l"].connections == 0


def test_what_is_still_open_is_told_at_the_end(control: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """The last look takes connections and requests that have not ended: a pool's, a call that hangs."""
    silent = upstream(lambda sock: sock.recv(100) and sock.recv(100))
    address = control.create_proxy("open", silent.address)
    control.set_tap("open", id_headers=[], note_headers=[])
    connect(address).sendall(b"GET /hangs HTTP/1.1\r\nhost: x\r\n\r\n")
    wait_for(lambda: control.counters()["open"].requests, what="the request", limit=5)
    rows: list[Any] = []
    TapPoller(control, rows.append).drain()
    request, connection = sorted((row for row in rows if row.proxy == "open"), key=lambda row: type(row).__name__)[::-1]
    assert (connection.end, connection.reset, connection.sent > 0) == ("open", False, True)
    assert (request.path, request.status, request.end) == ("/hangs", None, "closed")


def test_errors_are_broken(server: Any, control: Any) -> None:
    """Whatever goes wrong is a BrokenError that says what was tried."""
    with pytest.raises(BrokenError, match=r"refused to create proxy 'x': listen tcp: address foo"):
        control.create_proxy("x", "u:1", "foo")
    with pytest.raises(BrokenError, match=r"refused to add toxic 't' to 'none': proxy not found"):
        control.add_toxic("none", "t", "latency", {})
    with pytest.raises(BrokenError, match=r"cannot be reached to reset; is it running"):
        ToxiproxyControl("http://127.0.0.1:1").reset()
    assert control.version() == "2.12.0"


def test_silence_is_broken(upstream: Any) -> None:
    """A server that does not answer is given up in time."""
    mute = upstream(lambda sock: sock.recv(1) and time.sleep(1))
    with pytest.raises(BrokenError, match="did not answer in time when asked to reset"):
        ToxiproxyControl(f"http://{mute.address}", timeout=0.2).reset()


def test_control_from_many_threads(control: Any) -> None:
    """One object, several threads, several servers: every call is answered."""
    control.create_proxy("shared", "u:1")
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                control.add_toxic("shared", f"t{number}", "noop", {})
                control.counters()
                assert control.remove_toxic("shared", f"t{number}")
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
