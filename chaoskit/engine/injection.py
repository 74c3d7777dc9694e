"""The faults of a scenario, each injected at its planned moment and cured at the end of its window."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from chaoskit.base.clock import now, sleep_until
from chaoskit.base.errors import BrokenError, ChaosError, described
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.fault import FAULT_WINDOW, Evidence, FaultContext, FaultWindow
from chaoskit.language.planned import PlannedFault
from chaoskit.system.undo import MARGIN, lease


class Injection:
    """Injects ``faults`` while this context lasts, and writes down what became of each.

    Each waits on a thread of its own, so that a slow one does not delay the others. ``zero`` is the monotonic time
    that they are planned from. Leaving the context early cures those that are injected and cancels the others.
    """

    def __init__(self, faults: Sequence[PlannedFault], context: FaultContext, history: History, zero: float) -> None:
        self._context = context
        self._history = history
        self._zero = zero
        self._cancelled = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(fault,), name=f"chaoskit-fault-{fault.name}", daemon=True)
            for fault in faults
        ]

    def __enter__(self) -> Self:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # Ctrl-C, or no thread is to be had
            self._cancel()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()

    def over(self, wait: float) -> bool:
        """Whether all faults have been cured, which is waited for at most ``wait`` seconds."""
        deadline = now() + wait
        for thread in self._threads:
            thread.join(max(0.0, deadline - now()))
        return not any(thread.is_alive() for thread in self._threads)

    def _cancel(self) -> None:
        self._cancelled.set()
        for thread in self._threads:
            if thread.is_alive():  # one that was never started cannot be joined
                thread.join()

    def _run(self, planned: PlannedFault) -> None:
        start = self._zero + planned.at
        end = start + planned.length
        if not sleep_until(start, self._cancelled):
            return
        FAULT_WINDOW.set(FaultWindow(planned.name, planned.length))  # for this thread, which serves this fault alone
        started = injected = now()
        error: str | None = None
        done = Evidence(unit="events")
        try:
            with lease(end + MARGIN), planned.fault.inject(self._context) as evidence:
                injected = now()
                sleep_until(end, self._cancelled)
                if (late := now() - end) > MARGIN:
                    raise BrokenError(f"{r.ENGINE} was held up for {late:.1f} s: the fault was lifted by its lease")
            done = evidence
        except ChaosError as caught:
            error = str(caught)
        except Exception as caught:
            error = described(caught)
        self._history.add(
            r.Fault(
                name=planned.name, kind=planned.kind, target=planned.fault.target, planned_start=start,
                planned_end=end, started=started, injected=injected, ended=now(), touched=done.touched,
                unit=done.unit, needed=done.needed, over=done.over, evidence=done.facts, error=error,
            )
        )  # fmt: skip
