"""Services that live on: ``services: {worker: {ends: "<= 1"}}``.

A service that ends although nothing in the scenario makes it end is violated without being asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import ConfigDict, RootModel

from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._evidence import moment
from chaoskit.history import rows as r
from chaoskit.language.expectation import Expectation, Finding, Outcome
from chaoskit.language.types import CountBound, Model, ServiceName
from chaoskit.language.view import View
from chaoskit.system.pids import describe_exit

LINES = 5
"""Log lines before an end that are told."""


class Life(Model):
    """What is expected of one service."""

    ends: Literal["allowed"] | CountBound


class Services(Expectation, RootModel[dict[ServiceName, Life]]):
    """Expectations by service. ``ends`` is how often a process of it may end by itself: a bound, or ``allowed`` for any
    number. For services that are not named every such end is violated, unless the environment says ``ends: allowed``.

    Not counted are ends that the scenario brings about: by a fault that ends the service or sends it a signal, by an
    orderly restart, by an SOP. A fault on a proxy, or on what the service depends on, is no reason to end.

    A finding is ``services.SERVICE.ends``. It tells the exit status, when it was, whether the service came back, and
    the last lines that it wrote.
    """

    model_config = ConfigDict(extra=None)  # the keys are services, checked as such

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each service."""
        for service, life in self.root.items():
            exits = [event for event in view.unasked_ends if event.service == service]
            held = life.ends == "allowed" or life.ends.holds(len(exits))
            expected = f"{life.ends} ends by itself" if life.ends != "allowed" else "may end by itself"
            yield _finding(view, service, exits, expected, held=held, path=(service, "ends"))


def unasked_ends(view: View, others: Sequence[str]) -> Iterator[Finding]:
    """A violated finding for each service that ended by itself, but for ``others``, which are judged otherwise."""
    expected = "does not end by itself (else say: ends: allowed)"
    for service in dict.fromkeys(event.service for event in view.unasked_ends):
        if service not in others:
            exits = [event for event in view.unasked_ends if event.service == service]
            yield _finding(view, service, exits, expected, held=False)


def _finding(
    view: View, service: str, exits: Sequence[r.Event], expected: str, *, held: bool, path: tuple[str, ...] = ()
) -> Finding:
    return Finding(
        f"services.{service}.ends",
        Outcome.HELD if held else Outcome.VIOLATED,
        expected,
        _seen(view, exits) if exits else "it did not end",
        len(exits),
        path,
        rows=tuple(_last_lines(view, exits[0])) if exits else (),
    )


def _seen(view: View, exits: Sequence[r.Event]) -> str:
    first, last = exits[0], exits[-1]
    how = f" ({describe_exit(first.code)})" if first.code is not None else ""
    more = f" and {counted(len(exits) - 1, 'more times')}" if len(exits) > 1 else ""
    back = (event.at for event in view.history.rows(r.Event) if (event.service, event.what) == (last.service, "ready"))
    again = min((at for at in back if at > last.at), default=None)
    after = "did not come back" if again is None else f"was back after {format_duration(again - last.at)}"
    start = min((phase.start for phase in view.phases.values()), default=first.at)
    return f"it ended{how} at {moment(view, first.at, start)}{more} and {after}"


def _last_lines(view: View, end: r.Event) -> list[str]:
    lines = [row.line for row in view.history.rows(r.Log) if row.service == end.service and row.at <= end.at]
    return lines[-LINES:]
