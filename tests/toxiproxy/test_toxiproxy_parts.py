"""The embedded server's parts on their own: timers, the ring of rows, the log, the framing of HTTP."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

from chaoskit.history.rows import Connection, Exchange
from chaoskit.toxiproxy.server import toxics
from chaoskit.toxiproxy.server.address import AddressError, split
from chaoskit.toxiproxy.server.decode import BodyError, float32
from chaoskit.toxiproxy.server.http1 import Head, Malformed, Messages
from chaoskit.toxiproxy.server.ledger import PAGE, Ledger
from chaoskit.toxiproxy.server.log import Log
from chaoskit.toxiproxy.server.reactor import Reactor


def test_timers() -> None:
    """In order of time, never early, cancelled ones not at all, and a failing one does not stop the loop."""
    failures: list[Exception] = []
    reactor = Reactor(failures.append)
    called: list[tuple[str, float]] = []
    began = time.monotonic()

    def note(name: str, delay: float) -> None:
        reactor.at(began + delay, lambda: called.append((name, time.monotonic() - began - delay)))

    for name, delay in (("c", 0.03), ("a", 0.0004), ("b", 0.0101)):
        note(name, delay)
    for _ in range(5000):
        reactor.cancel(reactor.at(began + 60, lambda: called.append(("never", 0))))
    assert len(reactor._timers) < 3000, "cancelled timers are thrown away"
    reactor.at(began + 0.02, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    reactor.at(began + 0.05, reactor.stop)
    reactor.run()
    assert [name for name, _ in called] == ["a", "b", "c"]
    assert all(late >= 0 for _, late in called)
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_calls_from_other_threads() -> None:
    """They run on the loop, soon; one that fails does not leave those behind it waiting."""
    failures: list[Exception] = []
    reactor = Reactor(failures.append)
    called: list[str] = []
    reactor.post(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    reactor.post(lambda: called.append("behind it"))
    reactor.at(time.monotonic() + 0.2, lambda: reactor.post(reactor.stop))
    reactor.at(time.monotonic() + 0.1, lambda: called.append("later"))
    reactor.run()
    assert called == ["behind it", "later"]
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_ring_drops_the_oldest() -> None:
    """What is lost is counted; what is left is given out in pages."""
    ledger = Ledger(capacity=PAGE + 10)
    for number in range(PAGE + 25):
        ledger.add("connections", {"conn": number})
    head, *lines = ledger.since(0, ["open"]).splitlines()
    assert json.loads(head) == {"next": 15 + PAGE, "dropped": 15, "more": True}
    assert (json.loads(lines[0])["row"]["conn"], len(lines)) == (15, PAGE)
    head, *lines = ledger.since(15 + PAGE, ["open"]).splitlines()
    assert json.loads(head) == {"next": 25 + PAGE, "dropped": 0, "more": False}
    assert (len(lines), lines[-1]) == (11, "open")
    assert json.loads(ledger.since(10**9).splitlines()[0])["next"] == 25 + PAGE


def test_log_keeps_lines_whole() -> None:
    """A pipe that is full loses lines, never parts of them."""
    read, write = os.pipe()
    log = Log(write, "info")
    for number in range(3000):
        log.info("x" * 100, number=number)
    log.flush()
    text = os.read(read, 1 << 20)
    log.debug("not at this level")
    log.info("later")
    log.flush()
    lines = (text + os.read(read, 1 << 20)).decode().splitlines()
    os.close(read)
    log.info("nobody there")
    log.flush()
    os.close(write)
    assert [json.loads(line)["message"][0] for line in lines] == ["x"] * (len(lines) - 1) + ["l"]
    assert len(lines) < 3000


class _Seen(Messages):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def on_head(self, head: Head) -> int:
        self.bodies.append(b"")
        return head.body_length() or 0

    def on_body(self, data: memoryview) -> None:
        self.bodies[-1] += bytes(data)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_framing_in_any_pieces(size: int) -> None:
    """However a stream is cut on its way, the same messages come out."""
    stream = (
        b"\r\nPOST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody"
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\nA;q\r\n0123456789\r\n2\r\nab\r\n0\r\nT: x\r\n\r\n"
        b"GET / HTTP/1.1\r\n\r\n"
    )
    seen = _Seen()
    for start in range(0, len(stream), size):
        seen.feed(memoryview(stream)[start : start + size])
    assert seen.bodies == [b"body", b"0123456789ab", b""]


def test_framing_stops_at_garbage() -> None:
    """It says so once, and ignores what comes then."""
    seen = _Seen()
    with pytest.raises(Malformed):
        seen.feed(memoryview(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"))
    seen.feed(memoryview(b"anything"))


def test_header_values() -> None:
    """Names without case, values trimmed, UTF-8 where not ASCII."""
    head = Head("GET / HTTP/1.1\r\nA:b\r\nX-Id: \t ü \r\nX-Id: second".encode())
    assert (head.get("a"), head.get("x-id"), head.get("x")) == ("b", "ü", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ("", 0)), (":80", ("", 80)), ("[::1]:5", ("::1", 5)), ("a:http", ("a", 80)), ("a:", ("a", 0))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    """As Go reads them."""
    assert split(text) == expected


@pytest.mark.parametrize("text", ["a", "[::1]", "::1:5", "a:-1", "a:nope", "a:65536"])
def test_wrong_addresses(text: str) -> None:
    """As Go refuses them."""
    with pytest.raises(AddressError):
        split(text)


def test_each_toxic_is_one_file() -> None:
    """The file is the name; the class in it says what its attributes are."""
    assert toxics.names() == sorted(
        [
            *("bandwidth", "blackhole", "http", "latency", "limit_data", "noop", "refuse"),
            *("reset_peer", "slicer", "slow_close", "timeout"),
        ]
    )
    for name in toxics.names():
        toxic = toxics.new(name)
        assert toxic is not None
        if name != "http":  # its attributes are not all numbers
            assert toxic.values() == dict.fromkeys(toxic.ATTRIBUTES, 0)
        assert type(toxic).__doc__
    assert toxics.new("base") is None


def test_exchanges_have_the_fields_of_the_history() -> None:
    """The server imports nothing of chaoskit, so its rows are held to the history's here."""
    import ast
    from pathlib import Path

    from chaoskit.toxiproxy.server import tap

    tree = ast.parse(Path(tap.__file__).read_text())
    keys = [
        [key.value for key in node.keys if isinstance(key, ast.Constant)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
    ]
    assert list(Exchange.__struct_fields__) in keys


@pytest.mark.parametrize("still_open", [False, True])
def test_connections_have_the_fields_of_the_history(still_open: bool) -> None:
    """Their line is put together by hand: it is JSON whatever the proxy is called, and lacks nothing."""
    from chaoskit.toxiproxy.server.link import Link
    from chaoskit.toxiproxy.server.proxy import Context, Proxy, connection_line

    name = 'a "quoted" \\ name\n\u00fc\U0001f600'
    context = Context(Reactor(lambda _: None), Log(), Ledger(), seed=1)
    client, other = socket.socketpair()
    with client, other:
        link = Link(Proxy(context, name, "127.0.0.1:0", "127.0.0.1:1"), 7, client, "[::1]:5000")
        line = json.loads(connection_line(link, 1e9 + 0.1, still_open))
    assert line.pop("kind") == "connections"
    assert line.pop("open", False) is still_open
    assert list(line["row"]) == list(Connection.__struct_fields__)
    assert line == {
        "row": {
            "proxy": name,
            "conn": 7,
            "client": "[::1]:5000",
            "opened": link.opened,
            "ended": 1e9 + 0.1,
            "sent": 0,
            "received": 0,
            "end": "",
            "reset": False,
        }
    }


@pytest.mark.parametrize("number", [1e39, 10**400, -(10**400)])
def test_a_number_beyond_32_bits_is_refused(number: float) -> None:
    """As Go does, and also where Python cannot make a float of it at all."""
    with pytest.raises(BodyError, match="float32"):
        float32(number)
