"""What a sweep undoes on a Toxiproxy server: as often as one likes, and no more than was changed."""

from __future__ import annotations

import socket

import pytest

from chaoskit.system.ports import free_port
from chaoskit.system.undo import Entry
from chaoskit.toxiproxy import undo as _registers  # noqa: F401


def test_a_toxic_is_removed(server, control):
    """That one; the second time, and where its proxy is gone, nothing happens."""
    control.create_proxy("db", "127.0.0.1:9")
    for name in ("ours", "theirs"):
        control.add_toxic("db", name, "latency", {"latency": 5})
    entry = Entry("toxic", {"url": server.url, "proxy": "db", "name": "ours"})
    entry.undo()
    entry.undo()
    assert not control.remove_toxic("db", "ours")
    assert control.remove_toxic("db", "theirs")
    control.delete_proxy("db")
    entry.undo()


def test_a_disabled_proxy_is_enabled(server, control):
    """Where it stands, under its name; one that is up stays up."""
    control.create_proxy("db", "127.0.0.1:9")
    control.set_enabled("db", False)
    entry = Entry("disabled", {"name": "db", "places": control.places("db")})
    for _ in range(2):
        entry.undo()
        assert b'"enabled":true' in server.call("GET", "/proxies/db")[2].encode().replace(b": ", b":")
    control.delete_proxy("db")
    entry.undo()


def test_a_server_that_is_gone_took_it_along():
    """Nobody listens there any more."""
    url = f"http://127.0.0.1:{free_port()}"
    Entry("toxic", {"url": url, "proxy": "db", "name": "ours"}).undo()
    Entry("disabled", {"places": [[url, "db"]]}).undo()


def test_a_refusal_is_told(server, control):
    """What the server cannot do is not done, and the entry stays open: another has taken the port."""
    made = control.create_proxy("db", "127.0.0.1:9")
    control.set_enabled("db", False)
    with socket.create_server((made.host, made.port)), pytest.raises(OSError, match=r"/proxies/db: \d+ "):
        Entry("disabled", {"places": control.places("db")}).undo()
    Entry("disabled", {"places": control.places("db")}).undo()
