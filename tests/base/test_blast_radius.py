"""Who may be connected to: judged by the address that a connection really goes to, however it is written."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.base.blast_radius import BeyondError, BlastRadius
from chaoskit.base.errors import BrokenError
from chaoskit.base.http_calls import CallFailed, Outgoing
from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.observers.metrics_scraper import MetricsScraper
from chaoskit.toxiproxy.client import ToxiproxyControl

INSIDE = [
    "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST", "0.0.0.0",
    "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1",
]  # fmt: skip
"""All of them this machine's loopback."""

OUTSIDE = [
    "192.0.2.7", "10.1", "167772161", "0x0a000001", "012.0.0.1", "2001:db8::1", "::ffff:192.0.2.7", "::192.0.2.7",
    "64:ff9b::7f00:1", "fe80::1%lo", "127.0.0.1.example.com", "evillocalhost", "localhost.example.com", "far",
    "example.com", "127.0.0.1 example.com", "localhost\0.example.com", "a" * 70 + ".localhost.example.com", "",
]  # fmt: skip
"""None of them."""


def own_address() -> str:
    """An address of this machine that is not loopback; skips where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has loopback only")
        return str(probe.getsockname()[0])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listens on all addresses, so also on those beyond loopback."""
    with socket.create_server(("0.0.0.0", 0)) as made:
        yield made


@pytest.mark.parametrize("host", INSIDE)
def test_loopback_in_any_form(host: str) -> None:
    """May be connected to, and leads there."""
    targets = BlastRadius().resolve(host, 80)
    assert targets
    for _, (number, *_) in targets:
        ip = ipaddress.ip_address(number)
        assert (getattr(ip, "ipv4_mapped", None) or ip).is_loopback or number == "0.0.0.0"


@pytest.mark.parametrize("host", OUTSIDE)
def test_beyond_in_any_form(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Is neither connected to nor, where it is a name, looked up: a name server must not be told it."""
    real, asked = socket.getaddrinfo, []

    def watched(name: str, *rest: object, flags: int = 0, **more: object) -> object:
        if not flags & socket.AI_NUMERICHOST:
            asked.append(name)
        return real(name, *rest, flags=flags, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    with pytest.raises(BeyondError, match="neither on loopback nor a service"):
        BlastRadius(["near.example.com", "192.0.2.77"]).resolve(host, 80)
    assert asked == []


@pytest.mark.parametrize("host", ["evillocalhost", "localhost.evil", "xlocalhost.", "notlocalhost", "localhost1"])
def test_what_merely_ends_like_localhost(host: str) -> None:
    """Another host."""
    assert not BlastRadius().names(host)
    assert BlastRadius().names("evil.localhost")


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda label: label != "localhost"))
def test_only_a_dot_makes_a_name_below_localhost(label: str) -> None:
    """Whatever stands before or behind the word."""
    radius = BlastRadius()
    assert radius.names(f"{label}.localhost")
    assert not any(map(radius.names, (f"{label}localhost", f"localhost.{label}", f"localhost{label}")))


def test_an_address_is_allowed_by_its_number(listener: socket.socket) -> None:
    """In whatever form it is written, on either side; and no other."""
    here, port = own_address(), listener.getsockname()[1]
    with pytest.raises(BeyondError, match=f"--chaos-allow {here}"):
        BlastRadius().connect(here, port, 1.0)
    number = int(ipaddress.ip_address(here))
    for form in (here, f"::ffff:{here}", f"[::FFFF:{here}]", str(number), hex(number)):
        with closing(BlastRadius([form]).connect(form.strip("[]"), port, 5.0)) as connection:
            assert connection.getpeername()[0].removeprefix("::ffff:") == here
        with closing(BlastRadius([form]).connect(here, port, 5.0)) as connection:
            assert connection.getpeername()[0] == here
    with pytest.raises(BeyondError):
        BlastRadius([f"{here}0", "192.0.2.200"]).connect(here, port, 1.0)


def test_a_name_is_asked_for_once(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at is what is connected to, though the name leads elsewhere a moment later (DNS rebinding)."""
    here, port = own_address(), listener.getsockname()[1]
    answers = iter(["127.0.0.1", here, here])

    def changing(name: str, its_port: int, *_: object, flags: int = 0, **__: object) -> object:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), its_port))]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with closing(BlastRadius().connect("shop.localhost", port, 5.0)) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"
    with pytest.raises(BeyondError, match=f"shop.localhost, which leads to {here}, is neither"):
        BlastRadius().connect("shop.localhost", port, 1.0)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost@{here}:{port}/", "http://127.0.0.1:80@{here}:{port}/", "http://{here}:{port}\\@localhost/",
        "http://localhost\\@{here}:{port}/", "http://{here}:{port}/@localhost", "http://{here}:{port}#@localhost/",
        "http://{here}:{port}?@localhost/", "http://[::ffff:{here}]:{port}/", "http://{here}:{port}/",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/info", "unix:///var/run/docker.sock", "//{here}:{port}/",
    ],
)  # fmt: skip
def test_no_url_leads_a_call_elsewhere(listener: socket.socket, url: str) -> None:
    """Whatever stands before or behind the host, or for it."""
    here, port = own_address(), listener.getsockname()[1]
    with pytest.raises(CallFailed):
        Outgoing("GET", url.format(here=here, port=port), timeout=1.0).send(BlastRadius())
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("ask", ["failpoints", "toxiproxy", "call", "metrics"])
def test_no_answer_leads_anybody_elsewhere(ask: str) -> None:
    """Redirects are not followed: the other server is not asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(307)
            self.send_header("location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        if ask == "failpoints":
            with pytest.raises(FailpointError, match="307"):
                FailpointClient(url).get("name")
        elif ask == "toxiproxy":
            with closing(ToxiproxyControl(url)) as control, pytest.raises(BrokenError):
                control.version()
        elif ask == "call":
            assert Outgoing("GET", f"{url}/x").send(BlastRadius()).status == 307
        else:
            scraper = MetricsScraper("shop", f"{url}/metrics", lambda _: None, BlastRadius())
            with pytest.raises(ValueError, match="status 307"):
                scraper.observe()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert len(asked) == 1
    assert asked[0] != "/elsewhere"


def test_a_call_to_what_was_allowed_arrives(listener: socket.socket) -> None:
    """So the tests above would have seen one."""
    here, port = own_address(), listener.getsockname()[1]

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: http://example.com/\r\ncontent-length: 0\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    reply = Outgoing("GET", f"http://{here}:{port}/", timeout=5.0).send(BlastRadius([here]))
    thread.join(5)
    assert reply.status == 302
