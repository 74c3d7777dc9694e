"""What the original Toxiproxy cannot do, on the embedded server and on the tap in front of a real one: the same."""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.engine.toxiproxy_server import BINARY, Interposer
from chaoskit.faults import _toxic
from chaoskit.language.fault import FAULT_WINDOW, FAULTS, Fault, FaultWindow
from chaoskit.system.journal import Journal
from chaoskit.toxiproxy.client import ToxiproxyControl

if TYPE_CHECKING:
    from tests.faults.conftest import Echo, FaultContext, Talker

    Connect = Callable[..., Talker]

ENGINES = [
    "embedded",
    pytest.param("binary", marks=pytest.mark.skipif(shutil.which(BINARY) is None, reason=f"no {BINARY} on the PATH")),
]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ToxiproxyControl]]:
    """``start(engine, seed)`` gives the control of a server of its own."""
    folder = tmp_path_factory.mktemp("interposers")
    journal = Journal(folder / "undo.journal", run_id="own-toxics")
    started: list[Interposer] = []

    def begin(engine: str, seed: int | None = None) -> ToxiproxyControl:
        interposer = Interposer(engine, folder / str(len(started)), journal, seed)
        started.append(interposer)
        interposer.start()
        return interposer.control

    yield begin
    for interposer in started:
        interposer.stop()
    journal.undo_all()
    journal.close()


@pytest.fixture(scope="module", params=ENGINES)
def toxiproxy(request: pytest.FixtureRequest, start: Callable[..., ToxiproxyControl]) -> ToxiproxyControl:
    """Takes the place of the embedded server of the other tests."""
    return start(request.param)


def make(name: str, on: str = "echo", **arguments: Any) -> Fault:
    return FAULTS.get(name).model_validate({"on": on, **arguments})


def outcome(talker: Talker | Connect, limit: float = 0.25) -> str:
    """What comes of saying something, on a new connection too: ``answered``, ``closed``, ``reset`` or ``silence``."""
    try:
        (talker() if callable(talker) else talker).say(limit=limit)
    except EOFError:
        return "closed"
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "silence"
    return "answered"


# Connections


def test_refuse(context: FaultContext, connect: Connect) -> None:
    """New connections are reset, an open one at its next data; each is counted once; afterwards all is well."""
    old, idle = connect(), connect()
    assert old.say() < 5
    assert idle.say() < 5
    with make("refuse").inject(context) as evidence:
        assert [outcome(connect) for _ in range(3)] == ["reset"] * 3
        assert outcome(old) == "reset"
    assert evidence.touched == 4
    assert evidence.facts["toxic"]["cut"] == 4
    assert outcome(connect, 5) == outcome(idle, 5) == "answered"


def test_refuse_new_ones_only(context: FaultContext, connect: Connect) -> None:
    """``established: false`` leaves open connections alone."""
    old = connect()
    assert old.say() < 5
    with make("refuse", established=False).inject(context) as evidence:
        assert outcome(connect) == "reset"
        assert outcome(old, 5) == "answered"
    assert evidence.touched == 1


def test_blackhole(context: FaultContext, echo: Echo, connect: Connect) -> None:
    """Nothing is answered and nothing arrives; at the end held connections go on, and open ones are closed."""
    old = connect()
    assert old.say() < 5
    with make("blackhole").inject(context) as evidence:
        new = connect()
        assert outcome(old) == outcome(new) == "silence"
        assert echo.received == [b"hello"]
    assert evidence.touched == 2
    new.socket.settimeout(5)
    assert new.socket.recv(100) == b"hello", "what was said while it was held is answered"
    assert outcome(new, 5) == "answered"
    assert outcome(old, 5) in ("closed", "reset")


def test_blackhole_new_ones_only(context: FaultContext, connect: Connect) -> None:
    """``established: false`` leaves open connections alone."""
    old = connect()
    assert old.say() < 5
    with make("blackhole", established=False).inject(context) as evidence:
        assert outcome(old, 5) == "answered"
        assert outcome(connect) == "silence"
    assert evidence.touched == 1


@pytest.mark.parametrize("name", ["refuse", "blackhole"])
def test_nobody_came(name: str, context: FaultContext, connect: Connect) -> None:
    """An open connection on which nothing is sent has not been touched."""
    connect().say()
    with make(name).inject(context) as evidence:
        pass
    assert evidence.touched == 0


@pytest.mark.parametrize(
    ("chosen", "hit"),
    [
        ({"first": 2}, [True, True, False, False, False, False]),
        ({"after": 4}, [False, False, False, False, True, True]),
        ({"every": 3}, [False, False, True, False, False, True]),
        ({"after": 1, "every": 2, "first": 1}, [False, False, True, False, False, False]),
    ],
)
@pytest.mark.parametrize(
    ("name", "arguments", "seen"),
    [
        ("refuse", {}, "reset"),
        ("blackhole", {}, "silence"),
        ("reset", {}, "reset"),
        ("timeout", {}, "silence"),
        ("limit_data", {"bytes": "2B"}, "closed"),
        ("latency", {"delay": "700ms"}, "silence"),
    ],
)
def test_some_connections(
    name: str, arguments: Any, seen: str, chosen: Any, hit: list[bool], context: FaultContext, connect: Connect
) -> None:
    """``connections`` chooses in the order in which they come, those that are open first; exactly these are counted."""
    open_ones = [connect() for _ in range(2)]
    for talker in open_ones:
        talker.say()
    with make(name, connections=chosen, **arguments).inject(context) as evidence:
        seen_by = [outcome(talker) for talker in open_ones] + [outcome(connect) for _ in range(4)]
    assert seen_by == [seen if each else "answered" for each in hit]
    assert evidence.touched == sum(hit)


# Requests


class Handler(BaseHTTPRequestHandler):
    """Answers 200 and notes the path."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(context: FaultContext) -> Iterator[list[str]]:
    """A service ``web``; gives the paths that it has seen."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"seen": seen}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    context.add_proxy("web", server.server_port)
    yield seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(context: FaultContext, web: list[str]) -> Iterator[http.client.HTTPConnection]:
    """A connection to it that was used before the fault."""
    with closing(http.client.HTTPConnection(*context.proxied("web"), timeout=5)) as connection:
        assert ask(connection, "/before") == 200
        web.clear()
        yield connection


def ask(connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> int:
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_a_status_by_path_and_method(context: FaultContext, web: list[str], client: http.client.HTTPConnection) -> None:
    """Only what matches is answered, and never arrives; the connection lives on."""
    with make("http", on="web", status=503, path="/pay/*", method="POST").inject(context) as evidence:
        assert ask(client, "/pay/1", "POST") == 503
        assert ask(client, "/pay/1") == 200
        assert ask(client, "/other", "POST") == 200
        assert ask(client, "/pay/2?now", "POST") == 503
    assert ask(client, "/pay/1", "POST") == 200
    assert web == ["/pay/1", "/other", "/pay/1"]
    assert evidence.touched == 1
    assert evidence.facts["attributes"]["status"] == 503


def test_by_header(context: FaultContext, web: list[str], client: http.client.HTTPConnection) -> None:
    """A header that must be there, with a value."""
    with make("http", on="web", status=500, header="X-Tenant", value="gold").inject(context) as evidence:
        tenants = [{"x-tenant": "gold"}, {"x-tenant": "tin"}, {}]
        assert [ask(client, "/", **tenant) for tenant in tenants] == [500, 200, 200]
    assert evidence.touched == 1
    assert len(web) == 2


def test_the_first_requests(context: FaultContext, web: list[str], client: http.client.HTTPConnection) -> None:
    """``requests`` counts those that match, on all connections together."""
    with make("http", on="web", status=503, requests={"after": 1, "first": 3}).inject(context) as evidence:
        assert [ask(client, "/") for _ in range(3)] == [200, 503, 503]
        with closing(http.client.HTTPConnection(*context.proxied("web"), timeout=5)) as another:
            assert [ask(another, "/") for _ in range(2)] == [503, 200]
    assert evidence.touched == 2
    assert len(web) == 2


def test_delay_and_cut(context: FaultContext, web: list[str], client: http.client.HTTPConnection) -> None:
    """A delayed request arrives late; a cut one never does."""
    with make("http", on="web", delay="200ms").inject(context) as evidence:
        began = now()
        assert ask(client, "/") == 200
        assert now() - began >= 0.2
    assert evidence.touched == 1
    for cut, error in (("reset", ConnectionResetError), ("close", http.client.RemoteDisconnected)):
        with make("http", on="web", cut=cut).inject(context) as evidence:
            with pytest.raises(error):
                ask(client, "/")
            client.close()
        assert evidence.touched == 1
        assert evidence.facts["toxic"]["cut"] == 1
    assert web == ["/"]


def test_a_share_of_the_requests(context: FaultContext, web: list[str], client: http.client.HTTPConnection) -> None:
    """Some are taken, some are not."""
    with make("http", on="web", status=503, share="50%").inject(context):
        statuses = [ask(client, "/") for _ in range(100)]
    assert 20 <= statuses.count(503) <= 80
    assert len(web) == statuses.count(200)


def test_no_request_matched(context: FaultContext, client: http.client.HTTPConnection) -> None:
    """Traffic alone is no evidence."""
    with make("http", on="web", status=503, path="/never").inject(context) as evidence:
        assert ask(client, "/") == 200
    assert evidence.touched == 0


def test_beside_a_toxic_of_the_original(
    context: FaultContext, web: list[str], client: http.client.HTTPConnection
) -> None:
    """Both act, each tells its own, and the end of one leaves the other."""
    with make("latency", on="web", delay="100ms").inject(context) as slow:
        with make("http", on="web", status=503, path="/bad").inject(context) as bad:
            assert ask(client, "/bad") == 503
            began = now()
            assert ask(client, "/good") == 200
            assert now() - began >= 0.1
        assert ask(client, "/bad") == 200
    assert (slow.touched, bad.touched) == (1, 1)
    assert web == ["/good", "/bad"]


# Lease, names, seed


@pytest.fixture
def planned() -> Iterator[Callable[[FaultWindow], None]]:
    """``planned(window)`` says what the engine would, until the end of the test."""
    # The fixture's end runs in another context than the test, so what was set is undone by value.
    yield lambda window: FAULT_WINDOW.set(window) and None
    FAULT_WINDOW.set(None)


def test_a_lease_lifts_the_fault(
    context: FaultContext, connect: Connect, planned: Callable[[FaultWindow], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that hangs: the toxics are gone soon after the planned end. The fault that comes late is told so."""
    monkeypatch.setattr(_toxic, "_MARGIN", 0.1)
    planned(FaultWindow("slow/ä", 0.4))
    talker = connect()
    fault = make("latency", delay="100ms", connections={"first": 9})
    with ExitStack() as stack:
        evidence = stack.enter_context(fault.inject(context))
        assert talker.say() >= 0.1
        wait_for(lambda: talker.say() < 0.08, what="the lease to end", limit=5)
        with pytest.raises(BrokenError, match="was gone before its time"):
            stack.close()
    assert evidence.touched == 1


def test_an_unplanned_fault_has_a_lease_too(start: Callable[..., ToxiproxyControl], tmp_path: Path) -> None:
    """Ten minutes and the margin, as the server shows it."""
    import requests

    control = start("embedded")
    control.create_proxy("echo", "127.0.0.1:1")
    context: Any = type("FaultContext", (), {"toxiproxy": control})()
    url = control._consumer.url
    with make("latency", delay="1s").inject(context):
        (toxic,) = requests.get(f"{url}/proxies/echo/toxics", timeout=5).json()
    assert toxic["ttl"] == 610_000


@pytest.mark.parametrize("seeds", [(7, 7), (7, 8)], ids=["same seed", "another seed"])
def test_the_seed_repeats_the_choice(
    seeds: tuple[int, int], start: Callable[..., ToxiproxyControl], echo: Echo, planned: Callable[[FaultWindow], None]
) -> None:
    """The same connections are hit again in another run with the same seed, and others with another."""
    from tests.faults.conftest import Talker

    talkers, patterns = [], []

    def knock(address: tuple[str, int]) -> Talker:
        talkers.append(Talker(address))
        return talkers[-1]

    for seed in seeds:
        control = start("embedded", seed)
        made = control.create_proxy("echo", f"127.0.0.1:{echo.port}")
        context: Any = type("FaultContext", (), {"toxiproxy": control})()
        planned(FaultWindow("flaky", 5.0))
        with make("refuse", share="50%").inject(context):
            patterns += [outcome(partial(knock, (made.host, made.port)), 5) for _ in range(24)]
        for talker in talkers:
            talker.close()
    assert {"reset", "answered"} == set(patterns)
    assert (patterns[:24] == patterns[24:]) == (seeds[0] == seeds[1])
