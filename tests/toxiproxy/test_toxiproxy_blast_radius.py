"""A server that was told where its proxies may lead leads nowhere else; one that was not told leads anywhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.launch import server_command
from chaoskit.toxiproxy.server.onlink import OnLink


@pytest.fixture(scope="module")
def bounded(start: Any) -> Iterator[ToxiproxyControl]:
    """The control of a server whose proxies lead to loopback and to 192.0.2.77."""
    with start(server_command(upstreams=["192.0.2.77"])) as server:
        control = ToxiproxyControl(server.url)
        yield control
        control.close()


@pytest.mark.parametrize("place", ["192.0.2.7:80", "[2001:db8::1]:80", "[::ffff:192.0.2.7]:80", "10.0.0.1:1"])
def test_a_number_beyond_is_refused_at_once(bounded: ToxiproxyControl, upstream: Any, place: str) -> None:
    """By each way to say it; a proxy that stands goes on leading where it led."""
    with pytest.raises(BrokenError, match="beyond the blast radius"):
        bounded.create_proxy(f"far-{place}", place)
    near = upstream().address
    bounded.create_proxy(f"near-{place}", near)
    with pytest.raises(BrokenError, match="beyond the blast radius"):
        bounded.set_upstream(f"near-{place}", place)
    body = [{"name": f"near-{place}", "listen": "127.0.0.1:0", "upstream": place}]
    with pytest.raises(BrokenError, match="beyond the blast radius"):
        bounded._do("populate", lambda: bounded._post("/populate", body))
    shown = bounded._consumer.call("GET", "/proxies").json()
    assert f"far-{place}" not in shown
    assert (shown[f"near-{place}"]["upstream"], shown[f"near-{place}"]["enabled"]) == (near, True)


def test_an_allowed_number_may_be_led_to(bounded: ToxiproxyControl) -> None:
    """Whether somebody is there or not."""
    bounded.create_proxy("allowed", "192.0.2.77:80")
    bounded.create_proxy("mapped", "[::ffff:192.0.2.77]:80")


@pytest.mark.parametrize("host", ["far.example.com", "3221225991", "0xc0000207", "10.1", "evillocalhost"])
def test_where_a_name_leads_is_looked_at_when_it_is_dialled(bounded: ToxiproxyControl, connect: Any, host: str) -> None:
    """The client is hung up on, as where nobody is there, and nothing is sent."""
    address = bounded.create_proxy(f"by-name-{host}", f"{host}:80")
    with connect(address) as client, suppress(ConnectionResetError):
        client.settimeout(5)
        assert client.recv(1) == b""
    wait_for(
        lambda: bounded.counters()[f"by-name-{host}"].refused_upstream == 1, what="the refusal to be counted", limit=5
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "", "2130706433", "0x7f.1"])
def test_loopback_in_any_form(bounded: ToxiproxyControl, connect: Any, wire: Any, upstream: Any, host: str) -> None:
    """Is led to."""
    port = upstream().address.rpartition(":")[2]
    address = bounded.create_proxy(f"loopback-{host}", f"{host}:{port}")
    wire.round_trip(connect(address), b"one")


def test_a_server_that_was_not_told_leads_anywhere(control: ToxiproxyControl) -> None:
    """As the original does."""
    control.create_proxy("anywhere", "192.0.2.7:80")


def test_on_link() -> None:
    """A container's own networks are inside; what a router leads to is not."""
    radius = OnLink()
    assert radius.holds("127.0.0.1")
    assert radius.holds("::1")
    assert radius.names("anything")
    for number in ("203.0.113.7", "2001:db8:ffff::1", "no number"):
        assert not radius.holds(number)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.7", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has loopback only")
        assert radius.holds(probe.getsockname()[0])
