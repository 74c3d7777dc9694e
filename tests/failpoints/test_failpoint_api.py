"""gofail's HTTP API over real sockets, and its client."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chaoskit.failpoints import FailpointsError, failpoint, register
from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.failpoints.server import LARGEST_BODY, Server, serve

MISSING = "failpoint: failpoint does not exist"
DISABLED = "failpoint: failpoint is disabled"


@pytest.fixture
def server() -> Iterator[Server]:
    """The API at a free port."""
    server = serve("127.0.0.1:0")
    yield server
    server.close()


def ask(
    server: Server,
    method: str,
    path: str,
    body: str | bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Status and text of one request."""
    port = int(server.server_address[1])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_failpoints_life(server: Server) -> None:
    """Registered, set, hit, counted, set anew, switched off: statuses and bodies as gofail's."""
    assert ask(server, "GET", "/") == (200, "\n")
    register("orders/charge")
    assert ask(server, "GET", "/") == (200, "orders/charge=\n")
    assert ask(server, "GET", "/orders/charge") == (404, f"failed to GET: {DISABLED}\n\n")
    assert ask(server, "GET", "/orders/charge/count") == (500, f"failed to GET: {DISABLED}\n")
    assert ask(server, "DELETE", "/orders/charge") == (400, f"failed to delete failpoint {DISABLED}\n")
    assert ask(server, "PUT", "/orders/charge", '2*return("x")') == (204, "")
    assert ask(server, "GET", "/orders/charge") == (200, '2*return("x")\n')
    assert ask(server, "GET", "/orders/charge/count") == (200, "0")
    for _ in range(3):
        failpoint("orders/charge")
    assert ask(server, "GET", "/orders/charge/count") == (200, "2")
    assert ask(server, "PUT", "/orders/charge", "off\n") == (204, "")
    assert ask(server, "GET", "/orders/charge/count") == (200, "0")
    assert ask(server, "GET", "/failpoints") == (200, "orders/charge=off\n")
    assert ask(server, "DELETE", "/orders/charge") == (204, "")
    assert ask(server, "GET", "/failpoints") == (200, "orders/charge=\n")


def test_unknown_names(server: Server) -> None:
    """404 everywhere, with gofail's texts."""
    assert ask(server, "GET", "/nope") == (404, f"failed to GET: {MISSING}\n\n")
    assert ask(server, "GET", "/nope/count") == (404, f"failed to GET: {MISSING}\n")
    assert ask(server, "PUT", "/nope", "panic") == (404, f"fail to set failpoint: {MISSING}\n")
    assert ask(server, "DELETE", "/nope") == (404, f"failed to delete failpoint {MISSING}\n")
    status, text = ask(server, "PUT", "/shop:charge", "panic")
    assert status == 404
    assert "chaoskit.failpoints.agent" in text


def test_several_at_once(server: Server) -> None:
    """PUT /failpoints sets all it names, or nothing; quoted values may hold ; and =."""
    for name in "abc":
        register(name)
    assert ask(server, "PUT", "/failpoints", 'a=return("x;y=z\\"");b=1*panic;') == (204, "")
    assert ask(server, "GET", "/") == (200, 'a=return("x;y=z\\"")\nb=1*panic\nc=\n')
    for body, status, why in [
        ("c=panic;nope=panic", 404, MISSING),
        ("c=panic;a=pnic", 400, "at character 1 of 'pnic'"),
        ("c=panic;a", 400, "bad failpoint 'a'"),
        ("c=panic;c=off", 400, "given twice"),
        ("c=", 400, "could not parse terms"),
    ]:
        got, text = ask(server, "PUT", "/failpoints", body)
        assert (got, why in text) == (status, True), text
    assert ask(server, "GET", "/") == (200, 'a=return("x;y=z\\"")\nb=1*panic\nc=\n')


def test_bad_terms(server: Server) -> None:
    """400, the place, and the legal types; the failpoint stays as it was."""
    register("a")
    status, text = ask(server, "PUT", "/a", "2*pnic")
    assert status == 400
    assert text.startswith("fail to set failpoint: failpoint: could not parse terms: at character 3 of '2*pnic'")
    assert "off, return, sleep, panic, break, print" in text
    assert ask(server, "PUT", "/a", "")[0] == 400
    assert ask(server, "PUT", "/a", b"\xff")[0] == 400
    assert ask(server, "GET", "/a")[0] == 404


def test_one_line_each_in_the_list(server: Server) -> None:
    """Terms written over several lines are listed in one."""
    register("a")
    assert ask(server, "PUT", "/a", 'return({"a":\n1})') == (204, "")
    assert ask(server, "GET", "/a") == (200, 'return({"a": 1})\n')


def test_other_methods(server: Server) -> None:
    """405 with the legal ones."""
    for method in ("POST", "PATCH", "OPTIONS"):
        assert ask(server, method, "/a") == (405, "Method not allowed\n")
    assert ask(server, "HEAD", "/a") == (405, "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "127.0.0.2:1234"}, 200),
        ({"Host": "[::1]:1234"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": "10.0.0.1:80"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Length": "x"}, 411),
        ({"Content-Length": str(LARGEST_BODY + 1)}, 413),
    ],
)
def test_strangers_are_refused(server: Server, headers: dict[str, str], status: int) -> None:
    """Web pages, names that only lead here, and bodies of unknown or senseless size."""
    assert ask(server, "GET", "/", headers=headers)[0] == status


def test_a_kept_connection_serves_many_requests(server: Server) -> None:
    """HTTP/1.1: one connection, several requests; a refused one ends it."""
    register("a")
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)) as connection:
        for _ in range(5):
            connection.request("PUT", "/a", "panic")
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, answer.will_close) == (204, False)
        connection.request("GET", "/", headers={"Origin": "http://x"})
        answer = connection.getresponse()
        answer.read()
        assert answer.will_close


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (":1234", "not loopback"),
        ("0.0.0.0:1234", "not loopback"),
        ("10.0.0.1:1234", "not loopback"),
        ("127.0.0.1.example:1234", "not loopback"),
        ("127.0.0.1", "not HOST:PORT"),
        ("127.0.0.1:x", "not HOST:PORT"),
        ("127.0.0.1:70000", "not HOST:PORT"),
    ],
)
def test_only_loopback_is_served(address: str, why: str) -> None:
    """Any other address is refused before anything listens."""
    with pytest.raises(FailpointsError, match=why):
        serve(address)


def test_localhost_and_ipv6() -> None:
    """The other names of loopback."""
    for address in ("localhost:0", "[::1]:0"):
        if address.startswith("[") and not socket.has_ipv6:
            continue
        server = serve(address)
        assert FailpointClient(server.url).list() == {}
        server.close()


def test_a_taken_address_is_an_error(server: Server) -> None:
    """The text says which."""
    with pytest.raises(FailpointsError, match=r"cannot serve the failpoint API at 127\.0\.0\.1:"):
        serve(f"127.0.0.1:{server.server_address[1]}")


def test_the_client(api: FailpointClient) -> None:
    """Every method, and deleting twice is fine."""
    register("orders/charge")
    register("b")
    api.put("orders/charge", "return(1)")
    failpoint("orders/charge")
    assert api.count("orders/charge") == 1
    assert api.get("orders/charge") == "return(1)"
    api.put("b", 'return("ü;=")')
    api.put("orders/charge", "off")
    assert api.list() == {"b": 'return("ü;=")', "orders/charge": "off"}
    for _ in range(2):
        api.delete("orders/charge")
        api.delete("nope")
    assert api.get("orders/charge") is None
    assert api.list()["orders/charge"] == ""


def test_the_clients_errors(api: FailpointClient) -> None:
    """Request, status and the server's text."""
    with pytest.raises(FailpointError, match=r"PUT http://127.*/nope: 404 .*does not exist") as error:
        api.put("nope", "panic")
    assert error.value.status == 404
    register("a")
    with pytest.raises(FailpointError, match=r"400 .*at character 1"):
        api.put("a", "pnic")
    with pytest.raises(FailpointError, match=r"500 .*is disabled"):
        api.count("a")
    with pytest.raises(FailpointError, match="404"):
        api.get("nope")


def test_the_client_without_a_server() -> None:
    """A hint what to look for; no status."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(FailpointError, match=rf"GOFAIL_HTTP=127\.0\.0\.1:{port}") as error:
        FailpointClient(f"http://127.0.0.1:{port}").list()
    assert error.value.status is None


def test_the_client_with_a_silent_server() -> None:
    """The limit holds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = FailpointClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(FailpointError, match="timed out"):
            client.count("a")


def test_the_client_and_a_real_gofail_that_does_not_know_the_name() -> None:
    """gofail answers 400 where we answer 404; deleting is fine with both, but bad terms are not."""
    said = [f"failed to delete failpoint {MISSING}\n", "something else\n"]

    class Gofail(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(said.pop(0).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Gofail) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        client = FailpointClient(f"http://127.0.0.1:{server.server_address[1]}")
        client.delete("a")
        with pytest.raises(FailpointError, match="something else"):
            client.delete("a")
        server.shutdown()
        thread.join()
