"""Send a deadly signal to a service, once or again and again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from chaoskit.base.clock import now
from chaoskit.base.units import counted, format_duration
from chaoskit.faults._background import Background
from chaoskit.language.fault import Evidence, Fault, FaultContext, Misfit
from chaoskit.language.types import Duration, ServiceName, problem

if TYPE_CHECKING:
    from chaoskit.services.base import Service

_LOOK = 0.01
"""Seconds between two looks at the process."""


class Kill(Fault):
    """Sends a signal to a service's process, as the OOM killer, an operator or a crash would.

    Rehearses that the service comes back (its supervisor restarts it), that accepted work is not lost, and that
    its callers live through the gap. A service whose restart policy is ``never``, or that was ended in an orderly
    way under ``on-failure``, stays dead until the scenario has ended; then it is started again.

    Arguments:

    - ``service``: which one.
    - ``signal``: ``KILL`` (the default: no chance to clean up), ``TERM``, ``INT``, ``QUIT``, ``HUP``, ``ABRT``,
      ``SEGV``.
    - ``times``: how often; 1 unless ``every`` is given, then as often as the window has room for.
    - ``every``: from one strike to the next. A service that is not ready again by then is struck as soon as it is: a
      strike at one that does not serve yet proves nothing.

    Recovery counts from the last strike, however long the window lasts.

    Evidence counts the ``exits`` that followed a strike; fewer than ``times`` are vacuous. ``strikes`` lists for each:
    ``at`` (seconds since the fault began), ``pid``, ``exit`` (status, negative for a signal), ``exited_after``,
    ``back_after`` and ``ready_after`` (seconds since the strike; null where it did not happen inside the window) and
    ``new_pid``.
    """

    service: ServiceName
    signal: Literal["KILL", "TERM", "INT", "QUIT", "HUP", "ABRT", "SEGV"] = "KILL"
    times: int | None = Field(None, ge=1)
    every: Duration | None = None

    @model_validator(mode="after")
    def _rhythm(self) -> Self:
        if self.every is None and self.times is not None and self.times > 1:
            raise problem("several times needs to know how often: every", ["every: 2s"])
        if self.every is not None and self.every < 0.1:
            raise problem("every is at least 100ms")
        return self

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    def misfit(self, seconds: float) -> Misfit | None:
        """Strikes for which the window is too short. One that is due as it ends may come or not."""
        if self.every is None or (self.times or 2) == 1:
            return None
        room = max(1, ceil(round(seconds / self.every, 6)))
        wanted = self.times or 2  # without a number, once more at least: else every means nothing
        if wanted <= room:
            return None
        every, last = format_duration(self.every), format_duration((wanted - 1) * self.every)
        held = f"{counted(room, 'strikes')}, one every {every}"
        legal = [f"for: longer than {last}", f"times: {room}" if self.times else "no every: it strikes once"]
        what = f"a window of {format_duration(seconds)} has room for {held}"
        return Misfit("times" if self.times else "every", f"{what}, not for {wanted}", legal)

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Strike at once, then as often as asked while the window lasts."""
        service = context.service(self.service)
        context.hold(service.start)
        campaign = _Campaign(self, service)
        evidence = Evidence(unit="exits", needed=self.times or 1, facts={"signal": self.signal})
        campaign.strike()
        background = Background(f"kill {self.service}", campaign.run)
        try:
            yield evidence
        finally:
            background.stop()
            campaign.last_look()
            evidence.touched = sum(strike.exited_after is not None for strike in campaign.strikes)
            evidence.over = campaign.last
            evidence.facts["strikes"] = [asdict(strike) for strike in campaign.strikes]
            background.check()


@dataclass
class _Strike:
    at: float
    pid: int
    exit: int | None = None
    exited_after: float | None = None
    new_pid: int | None = None
    back_after: float | None = None
    ready_after: float | None = None


class _Campaign:
    """The strikes of one window, and what became of each."""

    def __init__(self, fault: Kill, service: Service) -> None:
        self._service = service
        self._number = signal.Signals[f"SIG{fault.signal}"]
        self._began = now()
        self._every = fault.every
        self._left = 1 if fault.every is None else fault.times
        self._due = self._began
        self.last = self._began
        self.strikes: list[_Strike] = []

    def strike(self) -> None:
        """Send the signal, if there is a process to send it to."""
        pid, moment = self._service.pid, now()
        if pid is None or not self._service.kill(self._number):
            return
        self.strikes.append(_Strike(at=round(moment - self._began, 3), pid=pid))
        self.last = moment
        self._due = moment + (self._every or 0.0)
        if self._left is not None:
            self._left -= 1

    def run(self, stopped: threading.Event) -> None:
        """Watch, and strike again when it is time."""
        while not stopped.wait(_LOOK):
            self.look()
            if self._left != 0 and now() >= self._due and not self._away:
                self.strike()

    @property
    def _away(self) -> bool:
        """Whether the latest strike ended it, and it is not ready again."""
        return bool(self.strikes) and self.strikes[-1].exited_after is not None and self.strikes[-1].ready_after is None

    def last_look(self) -> None:
        """The final figures. What was struck, and is ending still, is waited for as long as its grace says."""
        deadline = now() + self._service.spec.stop.grace
        self.look()
        while self.strikes and self.strikes[-1].exited_after is None and now() < deadline:
            threading.Event().wait(_LOOK)
            self.look()

    def look(self) -> None:
        """See what became of the latest strike."""
        if not self.strikes:
            return
        last = self.strikes[-1]
        pid = self._service.pid
        since = round(now() - self._began - last.at, 3)
        if last.exited_after is None and pid != last.pid:
            last.exit, last.exited_after = self._service.last_exit, since
        if last.new_pid is None and pid is not None and pid != last.pid:
            last.new_pid, last.back_after = pid, since
        if last.new_pid is not None and last.ready_after is None and self._service.ready():
            last.ready_after = since
