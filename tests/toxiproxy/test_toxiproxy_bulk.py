"""Directions at full speed: moved in larger steps, which wait for those who have less to say."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from hashlib import sha256
from typing import Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.server.reactor import READ, Reactor

BLOCK = os.urandom(1_000_003)  # no multiple of a step
BLOCKS = 100


def send_blocks(sock: socket.socket) -> str:
    """Send them all; their hash."""
    digest = sha256()
    for _ in range(BLOCKS):
        sock.sendall(BLOCK)
        digest.update(BLOCK)
    return digest.hexdigest()


def received(sock: socket.socket, stall_at: int = -1) -> tuple[int, str]:
    """Read to the end, with a pause after ``stall_at`` bytes, when all buffers fill up; size and hash."""
    digest, size = sha256(), 0
    while data := sock.recv(1 << 20):
        digest.update(data)
        if size < stall_at <= size + len(data):
            time.sleep(0.3)
        size += len(data)
    return size, digest.hexdigest()


@pytest.mark.parametrize("stall_at", [-1, BLOCKS * len(BLOCK) // 3], ids=["steady", "stalls"])
def test_nothing_is_lost(control: ToxiproxyControl, upstream: Any, connect: Any, stall_at: int) -> None:
    """All arrives in order before the FIN behind it, upstream and downstream; counters and ledger agree."""
    found: list[tuple[int, str]] = []
    sent: list[str] = []
    up = control.create_proxy("up", upstream(lambda sock: found.append(received(sock, stall_at))).address)
    down = control.create_proxy("down", upstream(lambda sock: sent.append(send_blocks(sock))).address)

    sock = connect(up)
    digest = send_blocks(sock)
    sock.close()
    wait_for(lambda: found, what="the end at the upstream", limit=20)
    size = BLOCKS * len(BLOCK)
    assert found == [(size, digest)]
    assert received(connect(down), stall_at) == (size, sent[0])

    rows: Any = wait_for(
        lambda: (
            {row.proxy: row for row in control.events(0).rows}
            if not any(count.active for count in control.counters().values())
            else None
        ),
        what="both to end",
        limit=5,
    )
    assert (rows["up"].sent, rows["up"].received, rows["up"].end) == (size, 0, "client")
    assert (rows["down"].sent, rows["down"].received, rows["down"].end) == (0, size, "upstream")
    assert [row.reset for row in rows.values()] == [False, False]


def test_a_toxic_in_the_middle(control: ToxiproxyControl, upstream: Any, connect: Any) -> None:
    """It takes over a direction at full speed at once, and lets go of it, without loss."""
    sent: list[str] = []
    proxy = control.create_proxy("p", upstream(lambda sock: sent.append(send_blocks(sock))).address)
    sock = connect(proxy)
    digest, size, added = sha256(), 0, False
    while data := sock.recv(1 << 20):
        digest.update(data)
        size += len(data)
        if not added and size > 30_000_000:
            control.add_toxic("p", "slow", "bandwidth", {"rate": 1000})
            began, so_far, added = now(), control.counters()["p"].received, True
            time.sleep(0.3)
            passed = control.counters()["p"].received - so_far
            under_way = 1 << 20  # the step of bulk data that was read before the toxic came
            assert passed <= 1_000_000 * (now() - began) + under_way + 200_000
            control.remove_toxic("p", "slow")
    assert (size, digest.hexdigest()) == (BLOCKS * len(BLOCK), sent[0])


def test_what_a_stalled_reader_costs(server: Any, control: ToxiproxyControl, upstream: Any, connect: Any) -> None:
    """A reader that stops in full speed leaves one step in memory, not more with time."""
    go_on = threading.Event()
    count = 10

    def stall(sock: socket.socket) -> None:
        size = 0
        while size < 20_000_000:
            size += len(sock.recv(1 << 20))
        go_on.wait(20)

    proxy = control.create_proxy("p", upstream(stall).address)
    before = server.rss()

    def flood(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(BLOCK)

    floods = [threading.Thread(target=flood, args=(connect(proxy),)) for _ in range(count)]
    for thread in floods:
        thread.start()
    seen = [-1]

    def stalled() -> bool:
        seen.append(control.counters()["p"].sent)
        return seen[-1] == seen[-2] >= count * 20_000_000

    try:
        wait_for(stalled, what="all to stall", limit=20, every=0.3)
        assert server.rss() - before < count * 1_100_000 + 4_000_000
    finally:
        go_on.set()
        control.delete_proxy("p")
        for thread in floods:
            thread.join(10)


def test_a_reset_at_full_speed(control: ToxiproxyControl, upstream: Any, connect: Any, wire: Any) -> None:
    """The upstream resets in the middle: the client's connection ends, and the row says who did it."""

    def reset(sock: socket.socket) -> None:
        size = 0
        while size < 20_000_000:
            size += len(sock.recv(1 << 20))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    sock = connect(control.create_proxy("r", upstream(reset).address))
    with pytest.raises(ConnectionError):
        send_blocks(sock)
    row = wait_for(lambda: [row for row in control.events(0).rows if row.proxy == "r"], what="the row", limit=5)[0]
    assert (row.end, row.sent >= 20_000_000) == ("upstream", True)
    assert control.counters()["r"].reset_upstream == 1


def run_beside(reactor: Reactor, work: Any) -> None:
    """Run the loop on a thread while ``work()`` is done."""
    thread = threading.Thread(target=reactor.run)
    thread.start()
    try:
        work()
    finally:
        reactor.stop()
        thread.join(10)


def test_long_steps_do_not_hold_up_short_ones() -> None:
    """Fifty deferred steps of 4 ms are always waiting; an answer takes two or three of them, not fifty."""
    reactor = Reactor(lambda error: None)
    ours, theirs = socket.socketpair()

    def step() -> None:
        time.sleep(0.004)
        reactor.defer(step)

    took: list[float] = []

    def trips() -> None:
        for _ in range(20):
            began = time.monotonic()
            ours.sendall(b"?")
            assert ours.recv(1) == b"?"
            took.append(time.monotonic() - began)

    with ours, theirs:
        ours.settimeout(10)
        reactor.watch(theirs.fileno(), READ, lambda _: theirs.sendall(theirs.recv(1)))
        for _ in range(50):
            reactor.defer(step)
        run_beside(reactor, trips)
    assert sorted(took)[len(took) // 2] < 0.05, took


def test_short_steps_do_not_starve_long_ones() -> None:
    """Beside what is always ready, deferred steps get their half of the time, a failed one among them."""
    failures: list[Exception] = []
    reactor = Reactor(failures.append)
    ours, theirs = socket.socketpair()
    spent = {"short": 0.0, "long": 0.0}

    def work(what: str, seconds: float) -> None:
        began = time.monotonic()
        time.sleep(seconds)
        spent[what] += time.monotonic() - began

    def step() -> None:
        work("long", 0.001)
        reactor.defer(step)

    def fail() -> None:
        raise ValueError("broken")

    with ours, theirs:
        ours.sendall(b"x")  # never read: always ready
        reactor.watch(theirs.fileno(), READ, lambda _: work("short", 0.02))
        reactor.defer(fail)
        reactor.defer(step)
        run_beside(reactor, lambda: time.sleep(1))
    assert [str(failure) for failure in failures] == ["broken"]
    assert 0.3 < spent["long"] / spent["short"] < 3, spent
