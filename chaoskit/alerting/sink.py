"""The alert sink: where notifications of alerts arrive, and where their delivery can be made to fail.

It has three doors below one prefix (``{{ chaos.alerts_url }}``):

=================================  ==================================================================
``POST /webhook[/RECEIVER]``       Alertmanager's webhook
``POST /api/v2/alerts``            Prometheus' own notifications, as if the sink were an Alertmanager
``POST /notify``                   plain JSON of an application
=================================  ==================================================================

Every notification becomes rows of the history, however often the same one comes. A body that is no notification
is answered with 400 and the reason.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

import msgspec

from chaoskit.alerting import notifications
from chaoskit.alerting.notifications import NotificationError
from chaoskit.alerting.receiver import Answer, Call, Receiver
from chaoskit.base.clock import now
from chaoskit.history.rows import Alert, Row

PREFIX = "/alerts"
PROMETHEUS = "/api/v2/alerts"

Failure = Literal["refuse", "stall"] | int
"""How the sink fails: ``refuse`` resets the connection, ``stall`` answers nothing, a number is an HTTP status."""

Listener = Callable[[Alert], None]

_log = logging.getLogger(__name__)


class AlertSink:
    """Takes notifications and emits rows :class:`Alert` of state ``delivered`` and ``resolved``.

    Safe to use from all threads. A notification that comes while the sink fails is a row with ``refused`` set.
    """

    def __init__(self, emit: Callable[[Row], None]) -> None:
        self._emit = emit
        self._listeners: list[Listener] = []
        self._firing: dict[tuple[str, str, str], Alert] = {}
        self._failures: list[_Failing] = []
        self._refused = 0
        self._change = threading.Condition()

    def attach(self, receiver: Receiver) -> None:
        """Take what arrives below ``/alerts``, and where Prometheus posts by itself."""
        receiver.take(PREFIX, self.take)
        receiver.take(PROMETHEUS, self.take)

    # What is known

    def firing(self) -> list[Alert]:
        """What was delivered as firing and not resolved since: the latest notification of each alert and channel."""
        with self._change:
            return list(self._firing.values())

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` told of each row, refused ones included, once it is in the history; gives what ends that.

        It is called in the thread of the sender, who waits for it: it should only note what it is told.
        """
        with self._change:
            self._listeners.append(listener)

        def end() -> None:
            with self._change:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def clear(self) -> None:
        """Forget what is firing: another scenario begins. Who listens still does."""
        with self._change:
            self._firing.clear()

    # Failing

    @property
    def refused(self) -> int:
        """Notifications (HTTP requests) that were failed since the sink exists."""
        with self._change:
            return self._refused

    def fail(self, failure: Failure, *, receiver: str = "", until: float = inf) -> Callable[[], int]:
        """Fail deliveries, all or Alertmanager's to ``receiver``; gives what ends it, at the latest ``until`` does.

        What ends it tells how many deliveries it has failed. ``until`` is a time of the monotonic clock. Where several
        failures apply, the first one given counts.
        """
        failing = _Failing(failure, receiver, until)
        with self._change:
            self._failures.append(failing)

        def end() -> int:
            with self._change:
                self._failures = [other for other in self._failures if other is not failing]
                self._change.notify_all()
                return failing.failed

        return end

    def heal(self) -> None:
        """Take all deliveries again. Senders that were stalled see their connection reset."""
        with self._change:
            self._failures.clear()
            self._change.notify_all()

    # Taking

    def take(self, call: Call) -> Answer:
        """Answer a request: the receiver calls this in a thread of its own."""
        path = call.path.partition("?")[0].rstrip("/").removeprefix(PREFIX)
        if call.method != "POST":
            return _refusal(405, f"{call.method} is not taken here; legal: POST")
        try:
            rows = self._read(path, call)
        except NotificationError as error:
            return _refusal(400, str(error))
        if rows is None:
            doors = ", ".join(PREFIX + door for door in ("/webhook/RECEIVER", PROMETHEUS, "/notify"))
            return _refusal(404, f"no notification is taken at {call.path}; legal: {doors}")
        return self._deliver(rows)

    def _read(self, path: str, call: Call) -> list[Alert] | None:
        if path == PROMETHEUS:
            return notifications.prometheus(call.body, call.at, time.time())
        if path == "/notify":
            return notifications.application(call.body, call.at)
        if path == "/webhook" or path.startswith("/webhook/"):
            return notifications.webhook(call.body, call.at, path.removeprefix("/webhook").strip("/"))
        return None

    def _deliver(self, rows: list[Alert]) -> Answer:
        with self._change:
            failing = self._failing(rows)
            if failing is not None:
                self._refused += 1
                failing.failed += 1
                rows = [msgspec.structs.replace(row, refused=str(failing.how)) for row in rows]
            for row in rows:
                self._note(row)
            listeners = list(self._listeners)
        for row in rows:
            for listener in listeners:
                _tell(listener, row)
        if failing is None:
            return Answer()
        if failing.how == "stall":
            self._stall(failing)
        if isinstance(failing.how, str):
            return Answer(0)
        return _refusal(failing.how, "the rehearsal fails this delivery")

    def _failing(self, rows: list[Alert]) -> _Failing | None:
        """How these are to be failed, if they are."""
        return next((failing for failing in self._failures if failing.applies(rows)), None)

    def _stall(self, failing: _Failing) -> None:
        """Wait, as the sender does, until this failure ends."""
        with self._change:
            while any(other is failing for other in self._failures) and (left := failing.until - now()) > 0:
                self._change.wait(min(left, threading.TIMEOUT_MAX))

    def _note(self, row: Alert) -> None:
        self._emit(row)
        key = (row.source, row.receiver, row.fingerprint)
        if row.refused:
            return
        if row.state == "resolved":
            self._firing.pop(key, None)
        else:
            self._firing[key] = row


@dataclass(eq=False)
class _Failing:
    """``how`` deliveries are failed, to which receiver (empty: to all), until when."""

    how: Failure
    receiver: str
    until: float
    failed: int = 0

    def applies(self, rows: list[Alert]) -> bool:
        """Whether a delivery of these rows is failed now."""
        return now() < self.until and (not self.receiver or any(row.receiver == self.receiver for row in rows))


def _tell(listener: Listener, row: Alert) -> None:
    try:
        listener(row)
    except Exception:
        # The sender must not be told of our trouble: it would send the same again.
        _log.warning("a listener of the alert sink failed", exc_info=True)


def _refusal(status: int, why: str) -> Answer:
    return Answer(status, json.dumps({"error": why}).encode())
