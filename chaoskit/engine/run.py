"""One scenario, from traffic to a closed history: steady → faults → recovery → after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from chaoskit.base.clock import now, sleep_until
from chaoskit.engine.environment import LiveEnvironment
from chaoskit.engine.injection import Injection
from chaoskit.engine.observation import Observation
from chaoskit.engine.operations import start_traffic
from chaoskit.engine.sops import SETTLE, Sops
from chaoskit.expectations._lasting import LASTS, settled
from chaoskit.expectations._operations import judge_operations
from chaoskit.expectations._steady import recovered_at
from chaoskit.expectations.after import After
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.windows import Window, percentile
from chaoskit.judge.judging import view_of
from chaoskit.language.expectation import Awaits, Collects, Outcome
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.scenario import Scenario
from chaoskit.language.view import View
from chaoskit.traffic.generator import TrafficGenerator

TICK = 0.1
LEAD = 0.2
"""Seconds before the first fault at which its moment is settled."""
STEP, LONGER = 0.5, 10.0
"""Seconds by which the steady phase is lengthened at a time, and a phase in all, while others take of the machine."""
WARM_UP = 5.0
"""Seconds that a service which was just started may take until steady state holds."""


@dataclass(frozen=True)
class Progress:
    """What a live progress line shows. ``left`` is seconds to the end of the phase (a limit for recovery)."""

    phase: str
    left: float
    requests: int
    success: float | None
    p99: float | None


OnProgress = Callable[[Progress], None]


class Run:
    """Runs one scenario in a prepared environment and writes its history.

    In a ``cold`` environment, where a service was just started, traffic flows for a while before it counts. Without
    ``sops`` alerts start none.
    """

    def __init__(
        self,
        scenario: Scenario,
        live: LiveEnvironment,
        generator: TrafficGenerator,
        history: History,
        *,
        seed: int,
        cold: bool = False,
        sops: bool = True,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.scenario = scenario
        self.live = live
        self.generator = generator
        self.history = history
        self.seed = seed
        self._cold = cold
        self._sops = Sops(scenario, live, history, off=not sops)
        self._on_progress = on_progress
        self._last_progress = 0.0

    def execute(self) -> None:
        """Run it to the end. Raises BrokenError when it cannot be; the history holds what was seen until then."""
        timeline = self.scenario.model.timeline
        with ExitStack() as stack:
            headers = list(dict.fromkeys(operation.id_header for operation in self.scenario.model.traffic.values()))
            observation = stack.enter_context(Observation(self.live, self.generator, self.history, headers))
            stack.enter_context(self._sops)
            began = self._start_traffic()
            start = self._warm_up(began) if self._cold else began
            zero = self._settle(start, timeline.steady)
            self._sops.plan(zero)
            injection = stack.enter_context(Injection(self.scenario.faults, self.live, self.history, zero))
            self._wait("steady", start, zero)
            self._inject(injection, zero)
            self._recover(timeline.recovery)
            self._after(timeline.after)
            self._end_traffic()
            self._sops.complete()
            self._collect()
            observation.drain()

    # Phases

    def _wait(self, phase: str, start: float, end: float) -> None:
        while (moment := now()) < end:
            self._tick(phase, end)
            sleep_until(min(end, max(moment + TICK, now())))
        self.history.add(r.Phase(name=phase, started=start, ended=end))

    def _settle(self, start: float, length: float) -> float:
        """When the faults are to begin, told :data:`LEAD` before: after ``length``, or later while the machine is why
        steady state is not met; at most by ``length`` and :data:`LONGER`."""
        steady = self.scenario.model.steady_state
        zero, latest = start + length, start + length + min(length, LONGER)
        while True:
            while (moment := now()) < zero - LEAD:
                self._tick("steady", zero)
                sleep_until(min(zero - LEAD, moment + TICK))
            if zero >= latest or not self._disturbed("steady_state", steady, start):
                return zero
            zero = min(latest, zero + STEP)

    def _disturbed(self, where: str, bounds: Mapping[str, OperationBounds], start: float) -> bool:
        """Whether others' load is why bounds are not met since ``start``."""
        findings = judge_operations(where, bounds, self._view(), [Window(start, now())])
        return any(finding.outcome is Outcome.INCONCLUSIVE for finding in findings)

    def _warm_up(self, start: float) -> float:
        """Let caches fill and pools grow until steady state holds, or the limit is reached; the steady phase tells."""
        window, end = self._view().recovery_window / 2, start + WARM_UP
        while now() < end:
            requests = self.history.rows(r.Request)
            if recovered_at(requests, self.scenario.model.steady_state, start, window) is not None:
                break
            self._tick("warm-up", end)
            sleep_until(now() + TICK)
        self.history.add(r.Phase(name="warm-up", started=start, ended=now()))
        return now()

    def _inject(self, injection: Injection, zero: float) -> None:
        while not injection.over(TICK):
            self._tick("faults", zero + self.scenario.faults_length)
        self.history.add(r.Phase(name="faults", started=zero, ended=now()))

    def _recover(self, limit: float) -> None:
        """Until steady state holds again, at most ``limit`` seconds after the last cure, and was seen to last."""
        start = max((fault.ended for fault in self.history.rows(r.Fault)), default=now())
        end = start + limit
        steady, window = self.scenario.model.steady_state, self._view().recovery_window
        long = LASTS * window
        while now() < end + long:
            view = self._view()
            first = recovered_at(view, steady, start, window)
            if first is not None and now() - first > long:
                again = settled(view, start, limit)
                if again is not None and again.watched >= long:
                    break
            self._tick("recovery", end)
            sleep_until(now() + TICK)
        self.history.add(r.Phase(name="recovery", started=start, ended=now()))

    def _after(self, length: float) -> None:
        """``length`` seconds; longer while an SOP runs or an expectation awaits something late, and while the machine
        is why its bounds are not met, at most by ``length`` and :data:`LONGER`."""
        expected = [planned.expectation for planned in self.scenario.expectations]
        awaiting = [expectation for expectation in expected if isinstance(expectation, Awaits)]
        bounds = next((expectation.root for expectation in expected if isinstance(expectation, After)), {})
        start = now()
        end = start + length

        def goes_on() -> bool:
            if (moment := now()) < end or self._awaited(awaiting) or (self._sops.busy and moment < start + SETTLE):
                return True
            return moment < end + min(length, LONGER) and self._disturbed("after", bounds, start)

        while goes_on():
            self._tick("after", max(end, now()))
            sleep_until(now() + TICK)
        if now() - start >= TICK:
            self.history.add(r.Phase(name="after", started=start, ended=now()))

    def _awaited(self, expectations: Sequence[Awaits]) -> bool:
        view = self._view()
        return any(expectation.awaits(view, now()) for expectation in expectations)

    # Traffic

    def _start_traffic(self) -> float:
        data = {**self.scenario.environment.data, **self.scenario.model.data}
        variables = {**data, **self.live.addresses()}
        asked = [planned.expectation for planned in self.scenario.expectations]
        notes = [note for expectation in asked for note in expectation.notes()]
        reads = [read for expectation in asked for read in expectation.reads()]
        operations = self.scenario.model.traffic
        return start_traffic(self.generator, self.seed, operations, variables, self.live.radius, notes, reads)

    def _end_traffic(self) -> None:
        longest = max(operation.timeout for operation in self.scenario.model.traffic.values())
        self.generator.end(drain=longest)

    # Observing

    def _view(self) -> View:
        """What has been seen so far."""
        return view_of(self.scenario, self.history)

    def _collect(self) -> None:
        view = self._view()
        for planned in self.scenario.expectations:
            if isinstance(planned.expectation, Collects):
                for row in planned.expectation.collect(self.live, view):
                    self.history.add(row)

    def _tick(self, phase: str, end: float) -> None:
        """Five times a second at most: hand rows to the disk, look whether everything lives, tell the progress."""
        moment = now()
        if moment - self._last_progress < 2 * TICK:
            return
        self._last_progress = moment
        self.history.flush()
        self.generator.check()
        self.live.check()
        if self._on_progress is None:
            return
        recent = [row for row in self.history.rows(r.Request)[-400:] if row.ended > moment - 1.0]
        self._on_progress(
            Progress(
                phase=phase,
                left=max(0.0, end - moment),
                requests=len(recent),
                success=sum(row.ok for row in recent) / len(recent) if recent else None,
                p99=percentile([row.ended - row.intended for row in recent], 99) if recent else None,
            )
        )
