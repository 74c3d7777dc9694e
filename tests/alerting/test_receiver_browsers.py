"""Web pages are refused on every path of the receiver, whatever name they have made lead here."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from chaoskit.alerting.receiver import Answer, Call, Receiver


@pytest.fixture
def running() -> Iterator[tuple[int, list[Call]]]:
    """The port, and what got through to those who take alerts, traces and calls of SOPs."""
    calls: list[Call] = []

    def take(call: Call) -> Answer:
        calls.append(call)
        return Answer()

    receiver = Receiver()
    for prefix in ("/alerts", "/otlp", "/sops"):
        receiver.take(prefix, take)
    receiver.start("127.0.0.1")
    yield int(receiver.addresses()["port"]), calls
    receiver.stop()


@pytest.mark.parametrize("path", ["/alerts/notify", "/otlp/v1/traces", "/sops/actions"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({}, 200),
    ],
)
def test_browsers(running: tuple[int, list[Call]], path: str, headers: dict[str, str], status: int) -> None:
    """By the header that pages cannot leave out, and by the name they were loaded from; nobody takes the call."""
    port, taken = running
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):  # on one connection: the refused body was read
        connection.request("POST", path, b'{"name": "A"}', headers)
        answer = connection.getresponse()
        assert (answer.status, b"not allowed" in answer.read()) == (status, status == 403)
    connection.close()
    assert len(taken) == (2 if status == 200 else 0)
