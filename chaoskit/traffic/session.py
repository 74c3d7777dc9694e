"""One rehearsal's traffic in the worker: from ``begin`` to ``end``."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.errors import ChaosError
from chaoskit.history.rows import Request, Row, Schedule
from chaoskit.traffic.answer import CUT, UNSENT, Answer, judge, unpack
from chaoskit.traffic.http_driver import HttpDriver
from chaoskit.traffic.prepare import Recipe
from chaoskit.traffic.python_driver import PythonDriver
from chaoskit.traffic.spec import Operation, Stream
from chaoskit.traffic.stream import Due, RunningStream
from chaoskit.traffic.templates import Templates

BODY_CHARS = 2048
"""How much of an answer's body a row keeps."""

READ_CHARS = 65_536
"""How much of one that is read."""

READ_TOGETHER = 64 << 20
"""How many characters of bodies that are read are kept in all: a history stays one that can be kept and sent."""

UNANSWERED = "other: no answer when the traffic ended"


class Flight(NamedTuple):
    """A copy of a request that was sent and has not ended."""

    due: Due
    copy: int
    sent: float


class Session:
    """Sends what the streams ask for and emits a row for every request that ended.

    Raises ChaosError for an operation that cannot be prepared.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        emit: Callable[[Row], None],
        failed: Callable[[Exception], None],
        *,
        seed: int,
        operations: Sequence[Operation],
        variables: Mapping[str, Any],
        radius: BlastRadius,
    ) -> None:
        templates = Templates(variables)
        self._recipes = {operation.name: Recipe(operation, templates, seed) for operation in operations}
        self._loop = loop
        self._emit = emit
        self._failed = failed
        self._seed = seed
        self._http = HttpDriver(loop, radius, failed)
        self._python = PythonDriver(loop)
        self._streams: dict[str, RunningStream] = {}
        self._in_flight: dict[str, dict[int, Flight]] = {name: {} for name in self._recipes}
        self._number = 0
        self._planned = self._unsent = 0
        self._room = READ_TOGETHER
        self._lags = array("d")
        self._empty = asyncio.Event()

    def stream(self, stream: Stream) -> None:
        """Begin ``stream``. Raises ChaosError for an unknown operation, an id in use, or no rate."""
        if stream.op not in self._recipes:
            raise ChaosError(f"stream {stream.id!r}: there is no operation {stream.op!r}")
        if stream.id in self._streams:
            raise ChaosError(f"two streams have the id {stream.id!r}")
        try:
            running = RunningStream(self._loop, stream, self._recipes[stream.op], self._seed, self._fire, self._failed)
        except ValueError as error:
            raise ChaosError(str(error)) from None
        self._streams[stream.id] = running

    def stop(self, stream_id: str) -> None:
        """Send nothing further of a stream; requests in flight go on. Raises ChaosError for an unknown id."""
        if stream_id not in self._streams:
            raise ChaosError(f"there is no stream {stream_id!r}")
        running = self._streams[stream_id]
        unsent = running.stop()  # before the sum below reads the count: it fires, too
        self._planned += unsent * running.copies

    async def end(self, drain: float) -> Schedule:
        """Stop all streams, wait at most ``drain`` seconds for answers, and say how the schedule was kept.

        Requests that are unanswered then get a row that says so.
        """
        for stream_id in self._streams:
            self.stop(stream_id)
        self._empty.clear()
        if any(self._in_flight.values()):
            try:
                await asyncio.wait_for(self._empty.wait(), drain)
            except TimeoutError:
                self._give_up()
        self.close()
        return self._schedule()

    def close(self) -> None:
        """Drop everything at once; nothing is emitted any more."""
        for stream in self._streams.values():
            stream.cancel()
        for flights in self._in_flight.values():
            flights.clear()
        self._http.close()
        self._python.close()

    def _fire(self, due: Due) -> None:
        operation = due.recipe.operation
        self._planned += operation.copies
        for copy in range(operation.copies):
            if len(self._in_flight[operation.name]) < operation.in_flight:
                self._send(due, copy)
            else:
                self._refuse(due, copy)

    def _refuse(self, due: Due, copy: int) -> None:
        """Too many are in flight: a failed request that takes its whole timeout, as for whoever waits in line."""
        operation, now = due.recipe.operation, self._loop.time()
        self._unsent += 1
        self._lags.append(now - due.intended)
        answer = Answer(error=f"{UNSENT}: {operation.in_flight} requests in flight")
        self._end(Flight(due, copy, now), answer, due.intended + operation.timeout)

    def _send(self, due: Due, copy: int) -> None:
        operation = due.recipe.operation
        self._number += 1
        number = self._number
        sent = self._loop.time()
        self._in_flight[operation.name][number] = Flight(due, copy, sent)
        self._lags.append(sent - due.intended)
        driver = self._http if due.request.call is None else self._python

        def done(answer: Answer) -> None:
            self._done(operation.name, number, answer)

        driver.send(due.request, operation.timeout, done)

    def _done(self, name: str, number: int, answer: Answer) -> None:
        flight = self._in_flight[name].pop(number, None)
        if flight is None:  # of a session that was dropped
            return
        self._end(flight, answer, self._loop.time())
        if not any(self._in_flight.values()):
            self._empty.set()

    def _give_up(self) -> None:
        now = self._loop.time()
        for flights in self._in_flight.values():
            for flight in flights.values():
                self._end(flight, Answer(error=UNANSWERED), now)
            flights.clear()

    def _end(self, flight: Flight, answer: Answer, ended: float) -> None:
        read = flight.due.recipe.operation.read
        chars = BODY_CHARS
        if read is not None and (not read or answer.status in read):
            chars = max(chars, min(READ_CHARS, self._room))
        row = _row(flight, answer, ended, chars)
        self._room -= max(0, len(row.body) - BODY_CHARS)
        self._emit(row)

    def _schedule(self) -> Schedule:
        lags = sorted(self._lags) or [0.0]

        def share(part: float) -> float:
            return lags[min(len(lags) - 1, int(part * len(lags)))]

        return Schedule(
            at=self._loop.time(),
            planned=self._planned,
            sent=len(self._lags),
            unsent=self._unsent,
            lag_p50=share(0.50),
            lag_p99=share(0.99),
            lag_max=lags[-1],
        )


def _row(flight: Flight, answer: Answer, ended: float, chars: int) -> Request:
    due = flight.due
    operation, request = due.recipe.operation, due.request
    answer, unread = unpack(answer)
    ok, fallback, noted = judge(operation, answer)
    # Four bytes are the most that one character takes.
    body = answer.body[: 4 * chars].decode("utf-8", "replace")
    cut = len(body) > chars or len(answer.body) > 4 * chars
    return Request(
        op=operation.name,
        seq=due.seq,
        stream=due.stream,
        intended=due.intended,
        sent=flight.sent,
        ended=ended,
        status=answer.status,
        error=answer.error,
        ok=ok,
        fallback=fallback,
        id=request.id,
        traceparent=request.traceparent,
        idempotency_key=request.idempotency_key,
        copy=flight.copy,
        method=request.method,
        path=request.path,
        headers=dict(answer.headers),
        body=body[:chars],
        unread=unread or (CUT if cut else ""),
        size=answer.size,
        noted=noted,
        absent=[path for path in operation.note_json if path not in noted] if cut and not unread else [],
    )
