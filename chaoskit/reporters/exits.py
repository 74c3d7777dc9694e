"""Services that ended during a run though nothing in the scenario acts on them: they explain a verdict best."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from chaoskit.history import rows as r
from chaoskit.services.readiness import describe_exit
from chaoskit.units import counted, format_duration

MOST = 3
"""Services that are named, in the order in which they ended."""


def ended_unasked(
    phases: Iterable[r.Phase], faults: Iterable[r.Fault], events: Iterable[r.Event], runs: Iterable[r.SopRun]
) -> list[str]:
    """A line for each such service: how it ended and when, and whether it came back. From the rows of a history.

    It accuses in clear cases only. Not told is an end outside the phases (the engine starts services anew before and
    after them), one after a fault or an SOP that names the service had begun, one by a signal that we sent, and one
    after a team's own SOP platform had been asked, as nobody knows what that did.
    """
    phases, faults, runs = list(phases), list(faults), [run for run in runs if run.started is not None]
    ordered = sorted(events, key=lambda event: event.at)
    start = min((phase.started for phase in phases), default=0.0)
    end = max([*(phase.ended for phase in phases), *(fault.ended for fault in faults)], default=0.0)
    killed = {(event.service, event.pid) for event in ordered if event.what == "killed"}
    alone: dict[str, list[r.Event]] = {}
    for event in ordered:
        if (
            event.what == "exited"
            and start <= event.at <= end
            and (event.service, event.pid) not in killed
            and not _meant(event, faults, runs)
        ):
            alone.setdefault(event.service, []).append(event)
    zero = min((fault.started for fault in faults), default=None)
    lines = [_line(exits, ordered, zero) for exits in list(alone.values())[:MOST]]
    if len(alone) > MOST:
        lines.append(f"(so did {counted(len(alone) - MOST, 'more services')}: events.jsonl)")
    return lines


def _meant(event: r.Event, faults: Iterable[r.Fault], runs: Iterable[r.SopRun]) -> bool:
    """Whether something that names the service had begun by then, or something of which nobody knows what it did."""
    named = [name for fault in faults if fault.started <= event.at for name in re.findall(r"[\w.-]+", fault.target)]
    for run in runs:
        if run.started is not None and run.started <= event.at:
            if run.runner != "chaoskit":
                return True
            named += [run.target_service, *(str(step.get("target")) for step in run.steps)]
    return event.service in named


def _line(exits: Sequence[r.Event], events: Iterable[r.Event], zero: float | None) -> str:
    first, last = exits[0], exits[-1]
    how = f" ({describe_exit(first.code)})" if first.code is not None else ""
    if len(exits) > 1:
        how += f" and {counted(len(exits) - 1, 'more times')}"
    ready = (event.at for event in events if (event.service, event.what) == (first.service, "ready"))
    back = next((at for at in ready if at > last.at), None)
    after = "did not come back" if back is None else f"was back after {format_duration(back - last.at)}"
    return f"{first.service} ended{how}{_when(first.at, zero)} and {after}; no fault or SOP of this scenario acts on it"


def _when(at: float, zero: float | None) -> str:
    if zero is None:
        return ""
    return f" {abs(at - zero):.1f} s {'after' if at >= zero else 'before'} the first fault began"
