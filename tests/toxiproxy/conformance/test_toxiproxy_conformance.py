"""The API, table-driven: the same table holds for the embedded server and for the original.

The original is tried when ``toxiproxy-server`` (2.12) is on PATH. The wire, the command and the differences
have tables of their own beside this one.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
from typing import Any, NamedTuple

import pytest


class Case(NamedTuple):
    """``steps`` (method, path, body) come before, and must succeed. ``body``: JSON as an object, text exactly,
    or a compiled pattern. PORT stands for a port that the server chose (from 15000 on); 99 is the port of
    proxies that never listen."""

    name: str
    method: str
    path: str
    status: int
    sent: Any = None
    body: Any = None
    steps: tuple[tuple[str, str, Any], ...] = ()
    headers: dict[str, str | None] = {}
    request_headers: dict[str, str] = {}


JSON = {"content-type": "application/json"}
ERROR = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
UNROUTED = {"x-toxiproxy-request-id": None}

A = ("POST", "/proxies", {"name": "a", "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0"})
DISABLED = ("POST", "/proxies", {"name": "a", "upstream": "u", "listen": "127.0.0.1:99", "enabled": False})
LATENCY = ("POST", "/proxies/a/toxics", {"type": "latency", "attributes": {"latency": 5}})


def proxy(name: str = "a", toxics: list[Any] | None = None, **other: Any) -> dict[str, Any]:
    """A proxy as the API shows it."""
    shown = {
        "name": name,
        "listen": "127.0.0.1:PORT",
        "upstream": "127.0.0.1:9",
        "enabled": True,
        "Logger": {},
    }
    return {**shown, "toxics": toxics or [], **other}


def toxic(kind: str, attributes: dict[str, int], **other: Any) -> dict[str, Any]:
    """A toxic as the API shows it."""
    shown = {"attributes": attributes, "name": f"{kind}_downstream", "type": kind, "stream": "downstream"}
    return {**shown, "toxicity": 1, **other}


def error(text: str, status: int) -> str:
    """An error as the API shows it, byte by byte."""
    return json.dumps({"error": text, "status": status}, separators=(",", ":")) + "\n"


def refused(name: str, method: str, path: str, sent: Any, text: str, status: int = 400, *steps: Any) -> Case:
    """A case whose answer is an error."""
    return Case(name, method, path, status, sent, error(text, status), steps, ERROR)


def bad(name: str, method: str, path: str, sent: Any, text: str, *steps: Any) -> Case:
    """A case whose body cannot be read."""
    return refused(name, method, path, sent, f"bad request body: {text}", 400, *steps)


TOXICS = {
    "latency": {"latency": 100, "jitter": 20},
    "bandwidth": {"rate": 100},
    "slow_close": {"delay": 100},
    "timeout": {"timeout": 100},
    "reset_peer": {"timeout": 100},
    "slicer": {"average_size": 100, "size_variation": 10, "delay": 5},
    "limit_data": {"bytes": 1000},
    "noop": {},
}
POPULATE_ERROR = '{{"error":"{}","status":{},"proxies":null}}'
LAT = toxic("latency", {"latency": 5, "jitter": 0})

# fmt: off
CASES = [
    Case("version", "GET", "/version", 200, body=re.compile(r'\{"version": "[^"]+"\}\n'),
         headers={"content-type": "application/json;charset=utf-8"}),
    Case("no proxies", "GET", "/proxies", 200, body="{}", headers=JSON),
    Case("proxies by name", "GET", "/proxies", 200, body={"a": proxy()}, steps=(A,), headers=JSON),
    Case("create", *A[:2], 201, A[2], proxy(), headers=JSON),
    Case("create disabled", *DISABLED[:2], 201, DISABLED[2],
         proxy(listen="127.0.0.1:99", upstream="u", enabled=False)),
    Case("create on all addresses", "POST", "/proxies", 201, {"name": "a", "upstream": "127.0.0.1:9"},
         proxy(listen="[::]:PORT")),
    Case("create on all addresses by number", "POST", "/proxies", 201,
         {"name": "a", "listen": "0.0.0.0:0", "upstream": "127.0.0.1:9"}, proxy(listen="[::]:PORT")),
    Case("create by localhost", "POST", "/proxies", 201,
         {"name": "a", "upstream": "127.0.0.1:9", "listen": "localhost:0"}, proxy()),
    Case("create ignores toxics", *A[:2], 201, {**A[2], "toxics": [LATENCY[2]]}, proxy()),
    Case("create ignores unknown fields", *A[:2], 201, {**A[2], "x": 1, "Logger": {}}, proxy()),
    Case("create without case", "POST", "/proxies", 201,
         '{"NAME": "a", "Upstream": "127.0.0.1:9", "liSten": "127.0.0.1:0"} and more', proxy()),
    Case("create escapes", "POST", "/proxies", 201,
         {"name": "<ü>", "upstream": "u", "listen": "127.0.0.1:99", "enabled": False},
         re.compile(r'\{"name":"\\u003cü\\u003e",.*')),
    refused("create twice", *A, "proxy already exists", 409, A),
    refused("create without name", "POST", "/proxies", {"upstream": "u"}, "missing required field: name"),
    refused("create null", "POST", "/proxies", "null", "missing required field: name"),
    refused("create without upstream", "POST", "/proxies", {"name": "a"}, "missing required field: upstream"),
    refused("create without a port", "POST", "/proxies", {**A[2], "listen": "foo"},
            "listen tcp: address foo: missing port in address", 500),
    refused("create on a large port", "POST", "/proxies", {**A[2], "listen": "127.0.0.1:99999"},
            "listen tcp: address 99999: invalid port", 500),
    bad("create empty", "POST", "/proxies", "", "EOF"),
    bad("create not JSON", "POST", "/proxies", "x", "invalid character 'x' looking for beginning of value"),
    bad("create half", "POST", "/proxies", '{"name":"b"', "unexpected EOF"),
    bad("create half a value", "POST", "/proxies", '{"name":"b', "unexpected EOF"),
    bad("create without comma", "POST", "/proxies", '{"name":"b" "x"}',
        "invalid character '\"' after object key:value pair"),
    bad("create without colon", "POST", "/proxies", '{"a" 1}', "invalid character '1' after object key"),
    bad("create without quotes", "POST", "/proxies", '{name:"b"}',
        "invalid character 'n' looking for beginning of object key string"),
    bad("create with half a literal", "POST", "/proxies", '{"name":tru}',
        "invalid character '}' in literal true (expecting 'e')"),
    bad("create an array", "POST", "/proxies", "[]",
        "json: cannot unmarshal array into Go value of type toxiproxy.Proxy"),
    bad("create with a number for a text", "POST", "/proxies", {"name": "b", "upstream": 5},
        "json: cannot unmarshal number into Go struct field Proxy.upstream of type string"),
    bad("create with a text for a flag", "POST", "/proxies", {"name": "b", "enabled": "yes"},
        "json: cannot unmarshal string into Go struct field Proxy.enabled of type bool"),
    Case("show", "GET", "/proxies/a", 200, body=proxy(toxics=[LAT]), steps=(A, LATENCY), headers=JSON),
    refused("show none", "GET", "/proxies/a", None, "proxy not found", 404),
    Case("disable", "PATCH", "/proxies/a", 200, {"enabled": False}, proxy(enabled=False), (A,), JSON),
    Case("disable in the old form", "POST", "/proxies/a", 200, {"enabled": False}, proxy(enabled=False), (A,)),
    Case("update nothing", "PATCH", "/proxies/a", 200, {}, proxy(), (A,)),
    Case("update keeps the name", "PATCH", "/proxies/a", 200, {"name": "b"}, proxy(), (A,)),
    Case("update upstream", "PATCH", "/proxies/a", 200, {"upstream": "x:1"},
         proxy(upstream="x:1", toxics=[LAT]), (A, LATENCY)),
    Case("update listen", "PATCH", "/proxies/a", 200, {"listen": "127.0.0.1:0"}, proxy(toxics=[LAT]), (A, LATENCY)),
    refused("update none", "PATCH", "/proxies/a", {}, "proxy not found", 404),
    refused("update without a port", "PATCH", "/proxies/a", {"listen": "foo"},
            "address foo: missing port in address", 500, A),
    bad("update empty", "PATCH", "/proxies/a", "", "EOF", A),
    bad("update with a number", "PATCH", "/proxies/a", {"listen": 5},
        "json: cannot unmarshal number into Go struct field Proxy.listen of type string", A),
    Case("delete", "DELETE", "/proxies/a", 204, body="", steps=(A,), headers={"content-length": None}),
    refused("delete none", "DELETE", "/proxies/a", None, "proxy not found", 404),
    Case("populate", "POST", "/populate", 201,
         [A[2], {"name": "b", "upstream": "u", "listen": "127.0.0.1:99", "enabled": False}],
         {"proxies": [proxy(), proxy("b", listen="127.0.0.1:99", upstream="u", enabled=False)]}, headers=JSON),
    Case("populate nothing", "POST", "/populate", 201, "[]", '{"proxies":null}', headers=JSON),
    Case("populate keeps what is the same", "POST", "/populate", 201,
         [{"name": "a", "upstream": "u", "listen": "127.0.0.1:99", "enabled": True}],
         {"proxies": [proxy(listen="127.0.0.1:99", upstream="u", enabled=False, toxics=[LAT])]},
         steps=(DISABLED, LATENCY)),
    Case("populate replaces another upstream", "POST", "/populate", 201,
         [{"name": "a", "upstream": "v", "listen": "127.0.0.1:99", "enabled": False}],
         {"proxies": [proxy(listen="127.0.0.1:99", upstream="v", enabled=False)]}, steps=(DISABLED, LATENCY)),
    Case("populate with port 0 replaces", "POST", "/populate", 201, [A[2]], {"proxies": [proxy()]},
         steps=(A, LATENCY)),
    Case("populate without upstream", "POST", "/populate", 400, [A[2], {"name": "p"}],
         POPULATE_ERROR.format("missing required field: upstream at proxy 2", 400), headers=JSON),
    Case("populate without name", "POST", "/populate", 400, [{}],
         POPULATE_ERROR.format("missing required field: name at proxy 1", 400)),
    Case("populate empty", "POST", "/populate", 400, "", POPULATE_ERROR.format("bad request body: EOF", 400)),
    Case("populate an object", "POST", "/populate", 400, "{}", re.compile(
        r'\{"error":"bad request body: json: cannot unmarshal object into Go value of type \[\]struct .*'
        r'"status":400,"proxies":null\}')),
    Case("populate with a number", "POST", "/populate", 400, [{"name": 5}], POPULATE_ERROR.format(
        "bad request body: json: cannot unmarshal number into Go struct field .Proxy.name of type string", 400)),
    Case("populate partly", "POST", "/populate", 500, [A[2], {**A[2], "name": "b", "listen": "foo"}],
         {"error": "listen tcp: address foo: missing port in address", "status": 500, "proxies": [proxy()]}),
    Case("reset", "POST", "/reset", 204, body="", steps=(A, LATENCY)),
    Case("after reset", "GET", "/proxies/a", 200, body=proxy(),
         steps=(A, LATENCY, ("PATCH", "/proxies/a", {"enabled": False}), ("POST", "/reset", None))),
    Case("no toxics", "GET", "/proxies/a/toxics", 200, body="[]", steps=(A,), headers=JSON),
    Case("toxics, upstream first", "GET", "/proxies/a/toxics", 200,
         body=[toxic("noop", {}, name="n", stream="upstream"), LAT],
         steps=(A, LATENCY, ("POST", "/proxies/a/toxics", {"type": "noop", "name": "n", "stream": "upstream"}))),
    refused("toxics of none", "GET", "/proxies/a/toxics", None, "proxy not found", 404),
    *(Case(f"add {kind}", "POST", "/proxies/a/toxics", 200, {"type": kind, "attributes": values},
           toxic(kind, values), (A,), JSON) for kind, values in TOXICS.items()),
    *(Case(f"add {kind} with defaults", "POST", "/proxies/a/toxics", 200, {"type": kind},
           toxic(kind, dict.fromkeys(values, 0)), (A,)) for kind, values in TOXICS.items() if kind != "slicer"),
    Case("add upstream", "POST", "/proxies/a/toxics", 200,
         {"type": "noop", "name": "x", "stream": "UPstream", "toxicity": 0.3},
         '{"attributes":{},"name":"x","type":"noop","stream":"UPstream","toxicity":0.3}', (A,)),
    Case("add with a default name", "POST", "/proxies/a/toxics", 200, {"type": "noop", "stream": "UPstream"},
         toxic("noop", {}, name="noop_UPstream", stream="UPstream"), (A,)),
    *(Case(f"add with toxicity {given}", "POST", "/proxies/a/toxics", 200, {"type": "noop", "name": '"toxicity":1e-9',
           "toxicity": float(given)},
           '{"attributes":{},"name":"\\"toxicity\\":1e-9","type":"noop","stream":"downstream",'
           f'"toxicity":{shown}}}', (A,))
      for given, shown in {"1e-5": "0.00001", "1e21": "1e+21", "1e20": "100000000000000000000", "1e-9": "1e-9",
                           "-1.2345e-6": "-0.0000012345", "1.5e-7": "1.5e-7", "0": "0", "2": "2"}.items()),
    Case("add with any toxicity", "POST", "/proxies/a/toxics", 200, {"type": "noop", "toxicity": 0.333333333333},
         toxic("noop", {}, toxicity=0.33333334), (A,)),
    Case("add null attributes", "POST", "/proxies/a/toxics", 200, {"type": "latency", "attributes": None},
         toxic("latency", {"latency": 0, "jitter": 0}), (A,)),
    refused("add to none", "POST", "/proxies/a/toxics", LATENCY[2], "proxy not found", 404),
    refused("add twice", *LATENCY, "toxic already exists", 409, A, LATENCY),
    refused("add without type", "POST", "/proxies/a/toxics", {}, "invalid toxic type", 400, A),
    refused("add of an unknown type", "POST", "/proxies/a/toxics", {"type": "base"}, "invalid toxic type", 400, A),
    refused("add to no stream", "POST", "/proxies/a/toxics", {"type": "?", "stream": "side"},
            "stream was invalid, can be either upstream or downstream", 400, A),
    bad("add empty", "POST", "/proxies/a/toxics", "", "EOF", A),
    bad("add with a text for a number", "POST", "/proxies/a/toxics",
        {"type": "latency", "attributes": {"latency": "5"}},
        "json: cannot unmarshal string into Go struct field LatencyToxic.attributes.latency of type int64", A),
    bad("add with a fraction", "POST", "/proxies/a/toxics", {"type": "latency", "attributes": {"latency": 5.5}},
        "json: cannot unmarshal number 5.5 into Go struct field LatencyToxic.attributes.latency of type int64", A),
    bad("add with a number for attributes", "POST", "/proxies/a/toxics", {"type": "latency", "attributes": 5},
        "json: cannot unmarshal number into Go struct field ToxicWrapper.attributes of type toxics.NoopToxic", A),
    bad("add with a text for toxicity", "POST", "/proxies/a/toxics", {"type": "latency", "toxicity": "a"},
        "json: cannot unmarshal string into Go struct field ToxicWrapper.toxicity of type float32", A),
    Case("show toxic", "GET", "/proxies/a/toxics/latency_downstream", 200, body=LAT, steps=(A, LATENCY),
         headers=JSON),
    refused("show no toxic", "GET", "/proxies/a/toxics/t", None, "toxic not found", 404, A),
    refused("show toxic of none", "GET", "/proxies/a/toxics/t", None, "proxy not found", 404),
    *(Case(f"update toxic by {method}", method, "/proxies/a/toxics/latency_downstream", 200,
           {"attributes": {"jitter": 3}, "toxicity": 0.5, "name": "q", "stream": 5},
           {**LAT, "attributes": {"latency": 5, "jitter": 3}, "toxicity": 0.5}, (A, LATENCY), JSON)
      for method in ("PATCH", "POST")),
    refused("update no toxic", "PATCH", "/proxies/a/toxics/t", {}, "toxic not found", 404, A),
    bad("update toxic with a text", "PATCH", "/proxies/a/toxics/latency_downstream", {"toxicity": "3"},
        "json: cannot unmarshal string into Go struct field .toxicity of type float32", A, LATENCY),
    Case("remove toxic", "DELETE", "/proxies/a/toxics/latency_downstream", 204, body="", steps=(A, LATENCY)),
    refused("remove no toxic", "DELETE", "/proxies/a/toxics/t", None, "toxic not found", 404, A),
    Case("request id", "GET", "/proxies", 200,
         headers={"x-toxiproxy-request-id": "[0-9a-v]{20}"}),
    Case("unknown path", "GET", "/nope", 404, body="404 page not found\n", headers={**ERROR, **UNROUTED}),
    Case("trailing slash", "GET", "/proxies/", 404, body="404 page not found\n"),
    Case("encoded slash", "GET", "/proxies/a%2Fb", 404, body="404 page not found\n"),
    Case("double slash", "GET", "//proxies", 301, body="", headers={"location": "/proxies"}),
    Case("query", "GET", "/proxies?x=1", 200, body="{}"),
    Case("wrong method", "PUT", "/proxies", 405, body="", headers={"content-type": None, **UNROUTED}),
    Case("wrong method of reset", "GET", "/reset", 405, body=""),
    Case("no metrics without a flag", "GET", "/metrics", 404),
    Case("browser", "GET", "/proxies", 403, body="User agent not allowed\n", headers=ERROR,
         request_headers={"User-Agent": "Mozilla/5.0"}),
    Case("browser on an unknown path", "GET", "/nope", 404, request_headers={"User-Agent": "Mozilla/5.0"}),
]
# fmt: on


def test_the_original_takes_part() -> None:
    """Not on this machine, perhaps: then this is skipped, and everything holds for the embedded server alone."""
    if shutil.which("toxiproxy-server") is None:
        pytest.skip("toxiproxy-server is not on PATH: conformance is tried on the embedded server only")


def without_ports(text: str) -> str:
    """Ports chosen by the server are not compared; the one that cases ask for is."""
    return re.sub(r'("listen":\s*"[^"]*:)(?!99")\d+"', r'\1PORT"', text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_api(case: Case, api: Any) -> None:
    """Status, headers and body are those of the table."""
    for step in case.steps:
        assert api.call(*step)[0] < 300, step
    status, headers, body = api.call(case.method, case.path, case.sent, case.request_headers)
    assert (status, body) == (case.status, body)
    for name, value in case.headers.items():
        found = headers.get(name)
        assert found == value or (value is not None and found is not None and re.fullmatch(value, found)), name
    if isinstance(case.body, re.Pattern):
        assert case.body.fullmatch(body), body
    elif isinstance(case.body, str):
        assert body == case.body
    elif case.body is not None:
        shown = without_ports(body)
        assert json.loads(shown) == case.body
        assert shown == json.dumps(case.body, separators=(",", ":")), "order of the fields"


def test_bind_error(api: Any) -> None:
    """A taken port is reported in Go's words."""
    address = f"127.0.0.1:{api.port}"
    status, _, body = api.call("POST", "/proxies", {"name": "a", "upstream": "u", "listen": address})
    assert (status, body) == (500, error(f"listen tcp {address}: bind: address already in use", 500))


def test_port_survives_disabling(api: Any) -> None:
    """The port chosen for port 0 stays the proxy's."""
    first = json.loads(api.call(*A)[2])["listen"]
    api.call("PATCH", "/proxies/a", {"enabled": False})
    again = json.loads(api.call("PATCH", "/proxies/a", {"enabled": True})[2])
    assert (again["listen"], again["enabled"]) == (first, True)


@pytest.mark.parametrize("call", [("POST", "/reset", None), ("PATCH", "/proxies/a", {"enabled": True})])
def test_a_port_taken_meanwhile(api: Any, call: tuple[str, str, Any]) -> None:
    """What would enable a proxy whose port is somebody else's by now says so, and it stays disabled."""
    listen = json.loads(api.call(*A)[2])["listen"]
    api.call("PATCH", "/proxies/a", {"enabled": False})
    host, _, port = listen.rpartition(":")
    with socket.create_server((host, int(port))):
        assert api.call(*call)[::2] == (500, error(f"listen tcp {listen}: bind: address already in use", 500))
    assert json.loads(api.call("GET", "/proxies/a")[2])["enabled"] is False


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("POST /populate HTTP/1.1\nTransfer-Encoding: gzip\n\n[]", "HTTP/1.1 501"),
        ("POST /populate HTTP/1.1\nTransfer-Encoding: Chunked\n\n2;a=b\n[]\n0\nX: y\n\n", "HTTP/1.1 201"),
        ("POST /populate HTTP/1.1\nContent-Length: 2\nContent-Length: 3\n\n[] ", "HTTP/1.1 400"),
        ("POST /populate HTTP/1.1\nContent-Length: 2\nContent-Length: 2\n\n[]", "HTTP/1.1 201"),
        ("POST /populate HTTP/1.1\nContent-Length: 2\nTransfer-Encoding: chunked\n\n2\n[]\n0\n\n", "HTTP/1.1 201"),
        ("POST /populate HTTP/1.1\nContent-Length: -2\n\n[]", "HTTP/1.1 400"),
        ("POST /populate HTTP/1.1\nContent-Length: +2\n\n[]", "HTTP/1.1 400"),
        ("POST /reset HTTP/1.1\n\n", "HTTP/1.1 204"),
        ("GET /version HTTP/1.2\n\n", "HTTP/1.1 200"),
        ("GET /version HTTP/1.x\n\n", "HTTP/1.1 400"),
        ("GET /version HTTP/1.0\n\n", "HTTP/1.0 200"),
        ("GET /version\n\n", "HTTP/1.1 400"),
        ("GET /ver sion HTTP/1.1\n\n", "HTTP/1.1 400"),
        ("GET /version HTTP/1.1\nX: a\0b\n\n", "HTTP/1.1 400"),
        ("OPTIONS /version HTTP/1.1\n\n", "HTTP/1.1 405"),
        ("FOO /version HTTP/1.1\n\n", "HTTP/1.1 405"),
    ],
)
def test_framing(api: Any, lines: str, status: str) -> None:
    """Where a body ends is never guessed."""
    first, _, rest = lines.partition("\n")
    with socket.create_connection((api.host, api.port), timeout=5) as sock:
        sock.sendall(f"{first}\nHost: localhost\n{rest}".replace("\n", "\r\n").encode())
        assert sock.recv(4096).decode().startswith(status)
