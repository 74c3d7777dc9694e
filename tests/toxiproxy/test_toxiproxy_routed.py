"""Several servers behind one control: proxies find theirs, and the ledger is one."""

from __future__ import annotations

import socket
import subprocess

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.launch import address_in, server_command
from chaoskit.toxiproxy.sharded import RoutedToxiproxy


@pytest.fixture
def upstream():
    """A listener that accepts by way of the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def routed(upstream):
    """Proxies a and c on one server, b on another."""
    processes, controls = [], []
    for _ in range(2):
        process = subprocess.Popen(server_command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        processes.append(process)
        host, port = next(filter(None, map(address_in, process.stdout)))
        controls.append(ToxiproxyControl(f"http://{host}:{port}"))
    control = RoutedToxiproxy({"a": controls[0], "b": controls[1], "c": controls[0]})
    yield control, {name: control.create_proxy(name, upstream) for name in "abc"}
    control.close()
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def visit(proxy):
    """One connection through a proxy."""
    socket.create_connection((proxy.host, proxy.port), timeout=5).close()


def rows(control, since=0, number=1):
    """What the ledger holds after ``since``, once there are so many."""
    return wait_for(
        lambda: told if len((told := control.events(since)).rows) >= number else None, what="the rows", limit=5
    )


def test_each_proxy_on_its_server(routed):
    """Toxics, counters, and switching off reach the proxy that they name, and no other."""
    control, proxies = routed
    for name in "abbc":
        visit(proxies[name])
    wait_for(lambda: sum(each.opened for each in control.counters().values()) == 4, what="the counts", limit=5)
    assert {name: each.opened for name, each in control.counters().items()} == {"a": 1, "b": 2, "c": 1}
    control.add_toxic("b", "slow", "latency", {"latency": 1})
    assert set(control.counters()["b"].toxics) == {"slow"}
    assert not control.counters()["a"].toxics
    control.set_enabled("b", False)
    with pytest.raises(ConnectionRefusedError):
        visit(proxies["b"])
    visit(proxies["a"])
    control.reset()
    visit(proxies["b"])
    assert control.remove_toxic("b", "slow") is False
    with pytest.raises(BrokenError, match="unknown proxy 'd'"):
        control.set_enabled("d", True)


def test_one_numbering(routed):
    """A cursor means the same as with one server: after it come the new rows of all, before it the old ones."""
    control, proxies = routed
    visit(proxies["a"])
    visit(proxies["b"])
    first = rows(control, number=2)
    assert {row.proxy for row in first.rows} == {"a", "b"}
    assert first.next == 2
    visit(proxies["c"])
    second = rows(control, since=first.next)
    assert [row.proxy for row in second.rows] == ["c"]
    assert second.next == 3
    assert control.events(2**53).next == 3
    assert control.events(2**53).rows == []
    assert [row.proxy for row in control.events(0).rows[2:]] == ["c"]
    with socket.create_connection((proxies["b"].host, proxies["b"].port), timeout=5):
        wait_for(lambda: control.counters()["b"].active, what="the connection", limit=5)
        assert [row.proxy for row in control.events(3, flush=True).open_rows] == ["b"]


def test_old_rows_are_told_as_dropped(routed, monkeypatch):
    """What was forgotten is counted for whoever asks for it."""
    control, proxies = routed
    monkeypatch.setattr("chaoskit.toxiproxy.sharded.KEPT", 2)
    for _ in range(5):
        visit(proxies["a"])
    wait_for(lambda: control.events(0).next == 5, what="the rows", limit=5)
    told = control.events(0)
    assert told.dropped + len(told.rows) == 5
    assert told.dropped == 3
    assert control.events(told.next).dropped == 0
