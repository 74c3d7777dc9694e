"""The fault ``alert_channel``: the sink fails what is sent to it, and counts it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from chaoskit.alerting.receiver import Receiver
from chaoskit.base.clock import now, wait_for
from chaoskit.faults.alert_channel import AlertChannel
from chaoskit.history.rows import Alert
from chaoskit.system.undo import lease

if TYPE_CHECKING:
    from tests.faults.conftest import FaultContext


@pytest.fixture
def address(context: FaultContext) -> Iterator[tuple[str, int]]:
    """Where the context's sink listens."""
    receiver = Receiver()
    context.alerts.attach(receiver)
    receiver.start("127.0.0.1")
    found = receiver.addresses()
    yield found["host"], found["port"]
    context.alerts.heal()
    receiver.stop()


def post(address: tuple[str, int], path: str = "/alerts/notify") -> int:
    """The status; 0 for a reset."""
    connection = http.client.HTTPConnection(*address, timeout=10.0)
    body = {"name": "A", "alerts": [{"labels": {"alertname": "A"}}]}
    try:
        connection.request("POST", path, json.dumps(body))
        return connection.getresponse().status
    except ConnectionResetError:
        return 0
    finally:
        connection.close()


def refused(context: FaultContext) -> list[str]:
    return [row.refused for row in context.rows if isinstance(row, Alert)]


@pytest.mark.parametrize(("mode", "status"), [("refuse", 0), (500, 500), (599, 599)])
def test_deliveries_fail_inside_the_window(
    context: FaultContext, address: tuple[str, int], mode: Any, status: int
) -> None:
    """Inside they fail and are counted, before and after they arrive."""
    assert post(address) == 200
    with AlertChannel(mode=mode).inject(context) as evidence:
        assert [post(address), post(address)] == [status, status]
    assert post(address) == 200
    assert (evidence.touched, evidence.unit, evidence.facts) == (2, "deliveries", {"mode": mode})
    assert refused(context) == ["", str(mode), str(mode), ""]


def test_a_stall_ends_with_the_window(context: FaultContext, address: tuple[str, int]) -> None:
    """Who waits for an answer is let go without one."""
    ended: list[tuple[float, int]] = []
    with AlertChannel(mode="stall").inject(context) as evidence:
        thread = threading.Thread(target=lambda: ended.append((now(), post(address))))
        thread.start()
        wait_for(lambda: refused(context), what="the notification", limit=5.0)
        assert ended == []
    thread.join(5.0)
    assert [status for _, status in ended] == [0]
    assert evidence.touched == 1


def test_one_receiver(context: FaultContext, address: tuple[str, int]) -> None:
    """The others get theirs."""
    fault = AlertChannel(mode=503, receiver="pager")
    assert fault.target == "alerts to pager"
    with fault.inject(context) as evidence:
        assert post(address, "/alerts/webhook/pager") == 503
        assert post(address, "/alerts/webhook/chat") == 200
        assert post(address) == 200
    assert evidence.touched == 1


def test_it_fails_and_cures_as_often_as_one_likes(context: FaultContext, address: tuple[str, int]) -> None:
    """Two windows at once: the first one fails all, and only that is its evidence; nothing is left of them."""
    with AlertChannel(mode=503).inject(context) as outer:
        with AlertChannel(mode="refuse").inject(context) as inner:
            assert post(address) == 503
        assert post(address) == 503
    assert post(address) == 200
    assert (outer.touched, inner.touched) == (2, 0)
    with AlertChannel(mode=503).inject(context) as nobody:
        pass
    assert nobody.touched == 0


def test_it_ends_with_its_lease(context: FaultContext, address: tuple[str, int]) -> None:
    """An engine that hangs does not keep the channel broken."""
    with lease(now() + 0.2), AlertChannel(mode=503).inject(context):
        assert post(address) == 503
        wait_for(lambda: post(address) == 200, what="the end of the lease", limit=5.0)


@pytest.mark.parametrize("mode", ["refused", 404, 499, 600, None])
def test_mistakes(mode: Any) -> None:
    """Alertmanager does not try again after a 4xx, so nothing would be rehearsed."""
    with pytest.raises(ValidationError):
        AlertChannel.model_validate({"mode": mode})
