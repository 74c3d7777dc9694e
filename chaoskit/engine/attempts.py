"""A scenario that the machine left open is run again, after waiting for calm; the attempts before are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from chaoskit.base.clock import now, sleep_until
from chaoskit.engine.run_folder import META, VERDICT, write
from chaoskit.history import rows as r
from chaoskit.history.calm import Calm
from chaoskit.history.windows import Window
from chaoskit.judge.judging import LAG, view_of
from chaoskit.judge.verdict import ControlVerdict, Verdict, after
from chaoskit.language.expectation import Outcome
from chaoskit.observers.host import Host

if TYPE_CHECKING:
    from chaoskit.engine.run import OnProgress
    from chaoskit.engine.session import Result, Session
    from chaoskit.language.scenario import Scenario

ATTEMPTS = 3
"""How often a scenario is run at most."""

CALM_FOR, CALM_WITHIN = 1.5, 20.0
"""Seconds for which the machine must have been calm, and for which that is waited for at most."""


def rehearse(
    session: Session,
    scenario: Scenario,
    *,
    attempts: int = ATTEMPTS,
    control: bool = False,
    on_progress: OnProgress | None = None,
    meta: Mapping[str, Any] | None = None,
    wait: Callable[[str], object] | None = None,
) -> Result:
    """Run a scenario, at most ``attempts`` times while the machine leaves it open; the result is that of the last.

    The others are kept in its folder, as ``attempt-1`` ..., and told in ``run.json`` and in the verdict's reason.
    ``wait`` waits for a calm machine and is given the run's id. Raises InputError as :meth:`Session.run` does.
    """
    results = [session.run(scenario, control=control, on_progress=on_progress, meta=meta)]
    while left_open(results[-1]) and len(results) < attempts:
        session.mark_for_restart(scenario.environment)
        (wait or await_calm)(session.id)
        results.append(session.run(scenario, control=control, on_progress=on_progress, meta=meta))
    return results[0] if len(results) == 1 else keep(results)


def left_open(result: Result) -> bool:
    """Whether the machine is why it says nothing: inconclusive, or broken by late traffic or faults.

    What else is broken (a service that does not start, a daemon that is lost) has a cause of its own, which another
    attempt would hide.
    """
    outcome = _outcome(result)
    late = outcome == Outcome.BROKEN and result.verdict.reason.startswith(LAG)
    return late or outcome == Outcome.INCONCLUSIVE


def await_calm(run_id: str, limit: float = CALM_WITHIN) -> bool:
    """Wait until nobody else has taken of the machine for :data:`CALM_FOR`, at most ``limit`` seconds."""
    rows: list[r.Host] = []
    host = Host((), lambda row: rows.append(row) if isinstance(row, r.Host) else None, run_id)
    began = now()
    host.start()
    try:
        while now() < began + limit:
            recent = [row for row in rows if row.at > now() - CALM_FOR]
            if now() > began + CALM_FOR and not Calm.of(recent).disturbed:
                return True
            sleep_until(min(now() + 0.1, began + limit))
    finally:
        host.stop()
    return False


def keep(results: Sequence[Result]) -> Result:
    """The last result, in the folder of the first, with the others in folders below it: they count as one scenario."""
    last, place = results[-1], results[0].folder
    aside = [one.folder.rename(place.with_name(f".{place.name}-{n}")) for n, one in enumerate(results[:-1], 1)]
    last.folder.rename(place)
    for number, folder in enumerate(aside, 1):
        folder.rename(place / f"attempt-{number}")
    told = [_told(one) for one in results[:-1]]
    verdict = after(last.verdict, told)
    control = None if last.control is None else _after(last.control, verdict, told)
    last.history.folder = place
    meta = {**last.meta, "attempts": told, "wall": sum(one.wall for one in results)}
    write(place / META, meta)
    write(place / VERDICT, {**verdict.as_dict(), **({"control": control.as_dict()} if control else {})})
    return dataclasses.replace(
        last, folder=place, verdict=verdict, control=control, wall=meta["wall"], meta=meta, attempts=len(results)
    )


def _told(result: Result) -> dict[str, str]:
    view = view_of(result.scenario, result.history)
    start = view.first_fault
    if start is None:
        start = view.calm.windows[0].start if view.calm.windows else 0.0
    disturbed = left_open(result) and view.calm.disturbed
    why = view.calm.told(Window(-inf, inf), start) if disturbed else result.verdict.reason
    return {"outcome": _outcome(result), "why": why, "reason": result.verdict.reason}


def _outcome(result: Result) -> str:
    return result.control.outcome if result.control else str(result.verdict.outcome)


def _after(control: ControlVerdict, verdict: Verdict, attempts: Sequence[Mapping[str, str]]) -> ControlVerdict:
    told = after(dataclasses.replace(control.verdict, reason=control.reason), attempts, control.outcome)
    return dataclasses.replace(control, reason=told.reason, verdict=verdict)
