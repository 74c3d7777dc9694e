"""Take the way to a service away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import TimeoutExpired
from chaoskit.faults._toxic import counters_of
from chaoskit.history.rows import Connection
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName
from chaoskit.system.layers import State, asked, layer
from chaoskit.system.sockets import listens

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal
    from chaoskit.toxiproxy.client import ToxiproxyControl
    from chaoskit.toxiproxy.facts import Events

_BACK = 2000
"""Rows of the ledger that are read back: enough to tell whether anybody came."""

_KNOCK = 0.5
"""Seconds after the door has opened in which whoever comes in has been waiting before it."""

_END_OF_LEDGER = 2**53
"""A cursor beyond all rows: asked for them, the server tells where the ledger ends."""


class Down(Fault):
    """Takes a service's proxy down: open connections are closed, new ones are refused.

    Rehearses a dependency that is not there: a crashed server, a failed switch, a deployment without overlap. Callers
    are told at once, so what shows is fallbacks, breakers, and how soon they find their way back.

    Arguments:

    - ``on``: the service whose proxy goes down. The service itself runs on.

    Evidence counts ``connections``. Nobody can count connections that were refused (the kernel refuses them), so:

    1. if connections were open when it went down: those that were ``cut``;
    2. else the connections ``opened_before``: in a time as long as the window, just before it. Callers that had kept
       coming like that met a closed door, and one that stops coming (an open breaker) has met it too;
    3. else the connections that came ``back`` within half a second after it was up again: at a door that nobody
       used before, they had been knocking. For these it waits.

    All three at zero: nobody was there, and the fault has touched nothing. Facts: ``cut``, ``opened_before``,
    ``back`` (null where it was not waited for) and ``seconds`` down.

    Where several overlap on one proxy, it is down until the last of them ends. Those that end before it cannot see who
    comes back.
    """

    through_proxy: ClassVar[bool] = True
    hides_calls: ClassVar[bool] = True

    on: ServiceName

    @property
    def target(self) -> str:
        """The service behind the proxy."""
        return self.on

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Disable the proxy on entering, enable it on leaving."""
        control = context.toxiproxy
        evidence = Evidence(unit="connections")
        earlier = self._ledger(control)
        began = now()
        key = ("down", self.on)
        with layer(context.journal, key, True, lambda: _Door(context.journal, control, self.on)):
            cut = sum(row.end == "disabled" for row in self._rows(control.events(earlier.next)))
            opened = counters_of(control, self.on).opened
            yield evidence
        length = now() - began
        opened_before = sum(row.opened >= began - length for row in self._rows(earlier))
        back = None if cut or opened_before or asked(context.journal, key) else self._back(control, opened)
        evidence.touched = cut or opened_before or back or 0
        evidence.facts = {
            "cut": cut,
            "opened_before": opened_before,
            "back": back,
            "seconds": round(length, 3),
        }

    def _ledger(self, control: ToxiproxyControl) -> Events:
        """The latest rows, open connections included, and the cursor behind them."""
        end = control.events(_END_OF_LEDGER).next
        return control.events(max(0, end - _BACK), flush=True)

    def _rows(self, events: Events) -> Iterator[Connection]:
        for row in (*events.rows, *events.open_rows):
            if isinstance(row, Connection) and row.proxy == self.on:
                yield row

    def _back(self, control: ToxiproxyControl, before: int) -> int:
        try:
            return wait_for(
                lambda: counters_of(control, self.on).opened - before,
                what=f"somebody to come back to {self.on}",
                limit=_KNOCK,
            )
        except TimeoutExpired:
            return 0


class _Door(State):
    """A proxy, which is down while any fault asks for that."""

    def __init__(self, journal: Journal, control: ToxiproxyControl, proxy: str) -> None:
        super().__init__(journal)
        self._control = control
        self._proxy = proxy

    def begin(self) -> None:
        places = self._control.places(self._proxy)
        self.note("disabled", name=self._proxy, listens=listens(*(url for url, _ in places)), places=places)

    def set(self, asked: Sequence[Any]) -> None:  # noqa: ARG002  # one is as good as many
        self._control.set_enabled(self._proxy, False)

    def end(self) -> None:
        self._control.set_enabled(self._proxy, True)
        self.done()
