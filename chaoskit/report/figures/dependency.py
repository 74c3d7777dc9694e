"""What reached a dependency, seen at its proxy: calls per second by how they ended, or connections that ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from chaoskit.base.units import counted, format_duration, format_rate
from chaoskit.expectations.breaker import Breaker
from chaoskit.expectations.retries import Retries
from chaoskit.history import rows as r
from chaoskit.report.figures import canvas, style, timeaxis
from chaoskit.report.figures.buckets import Buckets
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Note, note_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")

MOST = 3

_ENDS = (
    ("answered", style.BLUE, ""),
    ("5xx", style.ORANGE, "\\\\\\\\"),
    ("no answer", style.VERMILLION, "xxxx"),
)


def dependencies(facts: Facts) -> list[str]:
    """Proxies that are judged, then those that a fault acts on; not the door through which the traffic comes in."""
    asked = [planned.expectation for planned in facts.scenario.expectations]
    judged = [expectation.on for expectation in asked if isinstance(expectation, (Breaker, Retries))]
    aimed = [planned.fault.target for planned, _ in facts.faults]
    doors = {
        name
        for operation in facts.scenario.model.traffic.values()
        for name in facts.scenario.environment.services
        if re.search(rf"\b{re.escape(name)}\b", operation.url)
    }
    wanted = dict.fromkeys([*judged, *(name for name in aimed if name not in doors)])
    shown = facts.range
    seen = {row.proxy for row in facts.history.rows(r.Exchange)}
    seen |= {row.proxy for row in facts.history.rows(r.Connection) if shown.start <= facts.at(row.ended) <= shown.end}
    return [name for name in wanted if name in seen][:MOST]


def panels(facts: Facts) -> list[canvas.Panel]:
    """One panel for each dependency."""
    return [
        canvas.Panel(1.1, (_Calls if facts.view.exchanges(name) else _Connections)(facts, name).draw)
        for name in dependencies(facts)
    ]


def ending(exchange: r.Exchange) -> str:
    """How a call ended, as it is drawn."""
    if exchange.status is None or exchange.end != "complete":
        return "no answer"
    return "5xx" if exchange.status >= 500 else "answered"


def retry_notes(facts: Facts, name: str) -> list[Note]:
    """What was found of the retries at ``name``."""
    notes = []
    for finding in facts.findings(f"retries.{name}"):
        words = finding.id.removeprefix(f"retries.{name}.").replace("_", " ")
        note = note_of(finding, f"{words} {finding.expected}")
        short = note.text.replace(" per call", " each").replace(" after the deadline", "")
        notes.append(replace(note, text=short))
    return notes


class _Calls:
    """Calls per second, stacked by their end, with the usual rate; and what a breaker did, where one is judged."""

    def __init__(self, facts: Facts, name: str) -> None:
        self.facts = facts
        self.name = name

    def draw(self, axes: Axes) -> None:
        facts, name = self.facts, self.name
        timeaxis.prepare(axes, facts, f"calls-{name}")
        timeaxis.recovered(axes, facts)
        calls = facts.view.exchanges(name)
        buckets = Buckets.over(facts.range, len(facts.view.requests()) or len(calls))
        slices = buckets.sort((facts.at(row.started), ending(row)) for row in calls)
        high = _stack(axes, slices, buckets, [(*look, look[0]) for look in _ENDS])
        steady = facts.view.phases.get("steady")
        notes: list[tuple[float | None, Note]] = []
        if steady is not None and steady.length:
            usual = len(facts.view.exchanges(name, [steady])) / steady.length
            high = max(high, usual)
            axes.axhline(usual, color=style.INK, linewidth=0.9, linestyle=(0, (1, 1.5)))
            notes.append((usual, Note(f"{format_rate(usual)} in the steady phase")))
        strips = [
            planned.expectation
            for planned in facts.scenario.expectations
            if isinstance(planned.expectation, Breaker) and planned.expectation.on == name
        ]
        axes.set_ylim(0, high * (1.4 if strips else 1.08))
        for breaker in strips:
            _circuit(axes, facts, breaker)
        for finding in facts.findings(f"breaker.{name}"):
            # "opens within 2s of the fault": the expectation's own words say what is bounded.
            notes.append((None, note_of(finding, finding.expected.partition(" of the fault")[0])))
        notes += [(None, note) for note in retry_notes(facts, name)]
        canvas.title(axes, f"calls to {name}", f"per second, over {format_duration(buckets.width)}, at its proxy")
        canvas.legend(axes, 3)
        canvas.margin(axes, notes)


def _circuit(axes: Axes, facts: Facts, breaker: Breaker) -> None:
    """The circuit as a strip along the top: a line while closed, a bar while open, a diamond for each probe."""
    seen = breaker.look(facts.view)
    opened = [] if isinstance(seen, str) else [circuit for circuit in seen if circuit.opened is not None]
    if not opened:
        return
    across, y, closed_since = axes.get_xaxis_transform(), 0.9, facts.range.start

    def closed_until(end: float) -> None:
        axes.plot([closed_since, end], [y, y], transform=across, color=style.GREEN, linewidth=1.4)

    for circuit in opened:
        assert circuit.opened is not None
        start = max(facts.at(circuit.opened), closed_since)
        closed_until(start)
        last = facts.range.end if circuit is opened[-1] else facts.at(circuit.until)
        closed_since = facts.at(circuit.closed) if circuit.closed is not None else last
        axes.plot([start, closed_since], [y, y], transform=across, color=style.INK, linewidth=7, solid_capstyle="butt")
        moments = [facts.at(probe[0].started) for probe in circuit.probes]
        axes.plot(
            moments, [y] * len(moments), transform=across, linestyle="none", marker="D", markersize=4,
            color=style.PAPER, markeredgecolor=style.INK, markeredgewidth=0.8, zorder=5,
        )  # fmt: skip
        words = f"circuit open {format_duration(closed_since - start)}, {counted(len(moments), 'probes')}"
        axes.text((start + closed_since) / 2, 0.75, words, transform=across, ha="center", va="center")
    closed_until(facts.range.end)
    left = facts.range.start + 0.005 * facts.range.length
    axes.text(left, 0.75, "circuit closed", transform=across, color=style.GREEN, va="center")


class _Connections:
    """Connections that ended, per second. (One that outlives the scenario has no row, so none are counted as held.)"""

    def __init__(self, facts: Facts, name: str) -> None:
        self.facts = facts
        self.rows = [row for row in facts.history.rows(r.Connection) if row.proxy == name]
        self.name = name

    def draw(self, axes: Axes) -> None:
        facts = self.facts
        timeaxis.prepare(axes, facts, f"connections-{self.name}")
        timeaxis.recovered(axes, facts)
        buckets = Buckets.over(facts.range, len(facts.view.requests()) or len(self.rows))
        slices = buckets.sort((facts.at(row.ended), _cut(row)) for row in self.rows)
        kinds = (("closed by client or server", style.BLUE, "", False), ("cut", style.VERMILLION, "xxxx", True))
        high = _stack(axes, slices, buckets, kinds)
        axes.set_ylim(0, high * 1.08)
        canvas.title(axes, f"connections to {self.name}", f"ended per second, over {format_duration(buckets.width)}")
        canvas.legend(axes, 2)


def _cut(connection: r.Connection) -> bool:
    return connection.reset or connection.end in ("toxic", "disabled", "unreachable")


def _stack(
    axes: Axes, slices: Sequence[Sequence[T]], buckets: Buckets, kinds: Iterable[tuple[str, str, str, T]]
) -> float:
    """Counts per second of each kind (label, colour, hatch, value) above each other; gives the highest of all."""
    base = [0.0] * len(slices)
    for label, colour, hatch, value in kinds:
        counts = [found.count(value) for found in slices]
        rates = [count / length for count, length in zip(counts, buckets.lengths, strict=True)]
        top = [below + rate for below, rate in zip(base, rates, strict=True)]
        if top != base:
            axes.stairs(
                top, buckets.edges, baseline=base, fill=True, facecolor=colour, edgecolor=style.PAPER, linewidth=0,
                alpha=0.75, hatch=hatch or None, label=f"{label} {sum(counts)}",
            )  # fmt: skip
        base = top
    return max([*base, 1.0])
