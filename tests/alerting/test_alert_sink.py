"""The alert sink over real sockets: its three doors, what it knows, and how it fails."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.alerting import notifications
from chaoskit.alerting.notifications import NotificationError
from chaoskit.alerting.receiver import Answer, Receiver
from chaoskit.alerting.sink import AlertSink
from chaoskit.base.clock import now, wait_for
from chaoskit.history.alerts import fingerprint, incidents
from chaoskit.history.rows import Alert, Row
from chaoskit.history.store import History, load

ZERO = "0001-01-01T00:00:00Z"


class Sink:
    """A sink that listens, and a client that posts to it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.sink = AlertSink(self.rows.append)
        self.receiver = Receiver()
        self.sink.attach(self.receiver)
        self.receiver.start("127.0.0.1")
        self.address = self.receiver.addresses()

    def post(self, path: str, body: Any, *, method: str = "POST", limit: float = 5.0) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address["host"], self.address["port"], timeout=limit)
        try:
            connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def alerts(self) -> list[Alert]:
        return [row for row in self.rows if isinstance(row, Alert)]


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.sink.heal()
    made.receiver.stop()


def webhook(name: str = "OrdersDown", status: str = "firing", **more: Any) -> dict[str, Any]:
    labels = {"alertname": name, "severity": "P1"}
    alert = {
        "status": status, "labels": labels, "annotations": {"summary": "down"}, "startsAt": "2024-05-01T10:00:00Z",
        "endsAt": ZERO, "generatorURL": "", "fingerprint": fingerprint(labels), **more,
    }  # fmt: skip
    return {"version": "4", "status": status, "receiver": "pager", "alerts": [alert], "groupLabels": {}}


def test_the_webhook_of_alertmanager(sink: Sink) -> None:
    """Firing and resolved become rows; the receiver's name is the body's, before that of the path."""
    assert sink.post("/alerts/webhook/other", webhook())[0] == 200
    assert [alert.name for alert in sink.sink.firing()] == ["OrdersDown"]
    assert sink.post("/alerts/webhook", webhook(status="resolved"))[0] == 200
    fired, resolved = sink.alerts
    assert (fired.state, fired.source, fired.receiver) == ("delivered", "alertmanager", "pager")
    assert fired.annotations == {"summary": "down"}
    assert (resolved.state, resolved.fingerprint) == ("resolved", fired.fingerprint)
    assert sink.sink.firing() == []


def test_the_receiver_of_the_path(sink: Sink) -> None:
    """It counts where the body names none."""
    body = webhook()
    del body["receiver"]
    sink.post("/alerts/webhook/chat", body)
    assert [row.receiver for row in sink.alerts] == ["chat"]


@pytest.mark.parametrize("path", ["/api/v2/alerts", "/alerts/api/v2/alerts", "/alerts/api/v2/alerts?x=1"])
def test_prometheus_by_itself(sink: Sink, path: str) -> None:
    """What ends in the future, or never, fires; what has ended is resolved."""
    labels = {"alertname": "OrdersSlow"}
    for end in ("2999-01-01T00:00:00.123456789Z", ZERO, "2001-01-01T00:00:00Z"):
        assert sink.post(path, [{"labels": labels, "startsAt": "2001-01-01T00:00:00Z", "endsAt": end}])[0] == 200
    assert [row.state for row in sink.alerts] == ["delivered", "delivered", "resolved"]
    assert {row.source for row in sink.alerts} == {"prometheus"}


def test_plain_json(sink: Sink) -> None:
    """One or a list; plain values beside the name are labels, texts for people are annotations."""
    sink.post("/alerts/notify", {"name": "PoolEmpty", "severity": "P1", "service": "orders", "message": "no more"})
    sink.post("/alerts/notify", [{"alertname": "PoolEmpty", "status": "ok", "severity": "P1", "service": "orders"}])
    fired, resolved = sink.alerts
    assert fired.labels == {"alertname": "PoolEmpty", "severity": "P1", "service": "orders"}
    assert fired.annotations == {"message": "no more"}
    assert (fired.state, resolved.state, fired.source) == ("delivered", "resolved", "application")
    assert fired.fingerprint == resolved.fingerprint


def test_each_repetition_is_a_row(sink: Sink) -> None:
    """The same notification three times: three rows, one alert that fires, one life."""
    for _ in range(3):
        sink.post("/alerts/webhook/pager", webhook())
    assert len(sink.alerts) == 3
    assert len(sink.sink.firing()) == 1
    assert len(incidents(sink.alerts)) == 1


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/alerts/notify", b"\xff\xfe", "no JSON"),
        ("/alerts/notify", b"", "no JSON"),
        ("/alerts/notify", b'{"name": "\\ud800"}', "no JSON"),
        ("/alerts/notify", b"[" * 200_000, "too deeply"),
        ("/alerts/notify", [{"name": "A"}, 7], "alerts[1]: an object is expected, found int"),
        ("/alerts/notify", {"state": "firing"}, "'name' is missing"),
        ("/alerts/notify", {"name": "A", "state": "fireing"}, "did you mean 'firing'?"),
        ("/alerts/notify", {"name": "A", "labels": {"x": {}}}, "alerts[0].labels.x: text is expected, found dict"),
        ("/alerts/webhook", [], "an object with a list of alerts"),
        ("/alerts/webhook", {**webhook(), "version": "5"}, "version 5 is not understood"),
        ("/alerts/webhook", {"alerts": [{"labels": {}}]}, "'alertname' is missing"),
        ("/alerts/webhook", {"alerts": [{"labels": "x"}]}, "alerts[0].labels: an object is expected"),
        ("/api/v2/alerts", {}, "a list of alerts"),
        ("/api/v2/alerts", [{"labels": {"alertname": "A"}, "endsAt": "soon"}], "'soon' is no time"),
        ("/api/v2/alerts", [{"labels": {"alertname": "A"}, "endsAt": 5}], "a time as text"),
        ("/api/v2/alerts", [{}] * 10_001, "at most 10000"),
    ],
)
def test_what_is_no_notification(sink: Sink, path: str, body: Any, words: str) -> None:
    """It is refused as a whole, with the reason, and leaves no row."""
    status, told = sink.post(path, body)
    assert status == 400
    assert words in json.loads(told)["error"]
    assert sink.rows == []
    assert sink.post("/alerts/notify", {"name": "A"})[0] == 200


def test_other_paths_and_methods(sink: Sink) -> None:
    """They tell what is legal."""
    status, told = sink.post("/alerts/slack", {})
    assert (status, "/alerts/webhook/RECEIVER" in told) == (404, True)
    assert sink.post("/alerts/notify", {}, method="GET")[0] == 405


def test_a_body_that_is_too_large(sink: Sink) -> None:
    """It is not read: the answer comes at once, and the next caller is served."""
    connection = http.client.HTTPConnection(sink.address["host"], sink.address["port"], timeout=5.0)
    connection.putrequest("POST", "/alerts/notify")
    connection.putheader("content-length", str(10**10))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert sink.post("/alerts/notify", {"name": "A"})[0] == 200


def test_many_at_once(sink: Sink) -> None:
    """No notification is lost, merged or torn."""

    def post(number: int) -> int:
        return sink.post("/alerts/notify", {"name": f"Alert{number % 10}", "number": number})[0]

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(post, range(200))) == {200}
    assert sorted(int(row.labels["number"]) for row in sink.alerts) == list(range(200))
    assert len(sink.sink.firing()) == 200


def test_rows_survive_the_file(sink: Sink, tmp_path: Any) -> None:
    """What came in any letters is read back the same."""
    history = History(tmp_path)
    sink.sink._emit = history.add
    sink.post("/alerts/notify", {"name": "Größe ☃", "summary": "\u0000\U0001f600"})
    history.close()
    assert load(tmp_path).rows(Alert) == history.rows(Alert)
    assert history.rows(Alert)[0].annotations == {"summary": "\u0000\U0001f600"}


# Failing


def test_refuse(sink: Sink) -> None:
    """The sender sees a reset; the row says so; nothing fires."""
    sink.sink.fail("refuse")
    with pytest.raises(ConnectionResetError):
        sink.post("/alerts/notify", {"name": "A"})
    assert [(row.state, row.refused) for row in sink.alerts] == [("delivered", "refuse")]
    assert (sink.sink.refused, sink.sink.firing()) == (1, [])
    sink.sink.heal()
    assert sink.post("/alerts/notify", {"name": "A"})[0] == 200
    assert len(sink.sink.firing()) == 1


def test_a_status(sink: Sink) -> None:
    """The sender is answered with it, for as long as the failure lasts."""
    end = sink.sink.fail(503)
    assert sink.post("/alerts/webhook", webhook())[0] == 503
    assert [row.refused for row in sink.alerts] == ["503"]
    end()
    assert sink.post("/alerts/webhook", webhook())[0] == 200


def test_one_receiver_of_several(sink: Sink) -> None:
    """Only what goes there fails; two failures end on their own."""
    end_pager, end_chat = sink.sink.fail(500, receiver="pager"), sink.sink.fail(502, receiver="chat")
    chat, mail = {**webhook(), "receiver": "chat"}, {**webhook(), "receiver": "mail"}
    assert [sink.post("/alerts/webhook", body)[0] for body in (webhook(), chat, mail)] == [500, 502, 200]
    end_pager()
    assert [sink.post("/alerts/webhook", body)[0] for body in (webhook(), chat)] == [200, 502]
    end_chat()
    assert sink.post("/alerts/webhook", chat)[0] == 200


def test_a_stall_holds_up_nobody_else(sink: Sink) -> None:
    """The stalled sender waits until it is healed; meanwhile other paths are served, and rows are there at once."""
    sink.receiver.take("/other", lambda call: Answer())
    sink.sink.fail("stall", receiver="pager")
    ended: list[object] = []

    def stalled() -> None:
        try:
            ended.append(sink.post("/alerts/webhook", webhook(), limit=30.0))
        except ConnectionResetError as error:
            ended.append(error)

    threads = [threading.Thread(target=stalled) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(sink.alerts) == 20, what="the stalled notifications", limit=5.0)
    assert sink.post("/alerts/notify", {"name": "B"})[0] == 200
    assert sink.post("/other", {})[0] == 200
    assert ended == []
    sink.sink.heal()
    for thread in threads:
        thread.join(5.0)
    assert [type(end) for end in ended] == [ConnectionResetError] * 20
    assert {row.refused for row in sink.alerts} == {"stall", ""}


def test_a_failure_ends_by_itself(sink: Sink) -> None:
    """``until`` holds even if nobody heals: an engine that hangs does not keep the channel broken."""
    sink.sink.fail("stall", until=now() + 0.3)
    began = now()
    with pytest.raises(ConnectionResetError):
        sink.post("/alerts/notify", {"name": "A"})
    assert 0.25 <= now() - began < 3.0
    assert sink.post("/alerts/notify", {"name": "A"})[0] == 200


# Listening


def test_listeners(sink: Sink) -> None:
    """They are told of each row once, refused ones too, until they end it; one that fails harms nobody."""
    told: list[Alert] = []

    def bad(row: Alert) -> None:
        raise RuntimeError(row.name)

    sink.sink.listen(bad)
    end = sink.sink.listen(told.append)
    sink.sink.fail(500)
    sink.post("/alerts/notify", {"name": "A"})
    sink.sink.heal()
    assert sink.post("/alerts/notify", {"name": "B"})[0] == 200
    end()
    end()
    sink.post("/alerts/notify", {"name": "C"})
    assert [(row.name, row.refused) for row in told] == [("A", "500"), ("B", "")]
    assert told == sink.alerts[:2]


def test_a_listener_may_ask_the_sink(sink: Sink) -> None:
    """It is told outside of the lock."""
    seen: list[int] = []
    sink.sink.listen(lambda row: seen.append(len(sink.sink.firing())))
    sink.post("/alerts/notify", {"name": "A"})
    assert seen == [1]


def test_clear(sink: Sink) -> None:
    """What fired belongs to an earlier scenario."""
    sink.post("/alerts/notify", {"name": "A"})
    sink.sink.clear()
    assert sink.sink.firing() == []


# Any body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["labels", "alerts", "status", "state", "name", "alertname", "startsAt", "endsAt", "version",
                         "annotations", "receiver", "fingerprint", "x"]), inner, max_size=5
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.binary(max_size=200) | JSON.map(lambda data: json.dumps(data).encode()))
def test_any_body_is_understood_or_refused(body: bytes) -> None:
    """Each reader gives rows that can be written down, or a reason: it never crashes."""
    for read in (
        lambda: notifications.webhook(body, 1.0),
        lambda: notifications.prometheus(body, 1.0, 1e9),
        lambda: notifications.application(body, 1.0),
    ):
        with contextlib.suppress(NotificationError):
            for row in read():
                assert msgspec.json.decode(msgspec.json.encode(row), type=Alert) == row
