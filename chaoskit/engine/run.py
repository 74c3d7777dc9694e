"""One scenario, from traffic to a closed history: steady → faults → recovery → after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from chaoskit.clock import now, sleep_until
from chaoskit.engine.environment import LiveEnvironment
from chaoskit.engine.judge import view_of
from chaoskit.engine.sops import SETTLE, Sops
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.expectations._steady import BASE, recovered_at
from chaoskit.expectations.base import Awaits, Collects
from chaoskit.faults.base import WINDOW, Window
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.windows import percentile
from chaoskit.observers.alert_rules import AlertRules
from chaoskit.observers.base import Observer
from chaoskit.observers.metrics_scraper import MetricsScraper
from chaoskit.observers.process_sampler import ProcessSampler
from chaoskit.scenario.model import Operation, PlannedFault, Scenario
from chaoskit.traffic import spec as traffic
from chaoskit.traffic.generator import TrafficGenerator
from chaoskit.undo import MARGIN, lease

TICK = 0.1
LEAD = 0.05
"""Seconds between asking for a stream and its first request: the command reaches the worker in time."""
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


class Observation:
    """Everything that is seen of an environment goes to a history while this context lasts."""

    def __init__(
        self, live: LiveEnvironment, generator: TrafficGenerator, history: History, id_headers: list[str]
    ) -> None:
        self._live = live
        self._generator = generator
        self._history = history
        self._id_headers = id_headers
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._live.observe_nothing)
            self._poller = self._live.observe(self._history.add, self._id_headers)
            services = list(self._live.services.values())
            observers: list[Observer] = [self._poller, ProcessSampler(services, self._history.add)]
            observers += [
                MetricsScraper(service.name, url, self._history.add)
                for service in services
                if (url := service.metrics_url)
            ]
            observers += [
                AlertRules(service.name, service.url(service.host, service.port), self._history.add)
                for service in services
                if service.spec.provider == "prometheus"
            ]
            for observer in observers:
                observer.start()
                stack.callback(observer.stop)
            self._generator.emit = self._seen
            stack.callback(self._generator.abandon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def drain(self) -> None:
        """Fetch what the proxies have not told yet. Raises BrokenError when rows were lost."""
        self._poller.drain()
        if self._poller.errors:
            raise BrokenError(f"observing the proxies failed: {self._poller.last_error}")

    def _seen(self, row: r.Row) -> None:
        if isinstance(row, r.Request):
            self._live.answered(row.stream)
        self._history.add(row)


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
        self._cancelled = threading.Event()
        self._last_progress = 0.0

    def execute(self) -> None:
        """Run it to the end. Raises BrokenError when it cannot be; the history holds what was seen until then."""
        timeline = self.scenario.model.timeline
        with ExitStack() as stack:
            headers = list(dict.fromkeys(operation.id_header for operation in self.scenario.model.traffic.values()))
            observation = Observation(self.live, self.generator, self.history, headers)
            stack.enter_context(observation)
            stack.enter_context(self._sops)
            began = self._start_traffic()
            start = self._warm_up(began) if self._cold else began
            zero = start + timeline.steady
            self._sops.plan(zero)
            faults = self._schedule(zero, stack)
            self._wait("steady", start, zero)
            self._await(faults, zero)
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

    def _warm_up(self, start: float) -> float:
        """Let caches fill and pools grow until steady state holds, or the limit is reached; the steady phase tells."""
        window, end = view_of(self.scenario, self.history).recovery_window / 2, start + WARM_UP
        while now() < end:
            requests = self.history.of(r.Request)
            if recovered_at(requests, self.scenario.model.steady_state, start, window) is not None:
                break
            self._tick("warm-up", end)
            sleep_until(now() + TICK)
        self.history.add(r.Phase(name="warm-up", started=start, ended=now()))
        return now()

    def _schedule(self, zero: float, stack: ExitStack) -> list[threading.Thread]:
        """All faults, each waiting on a thread of its own, so that a slow one does not delay the others."""
        threads = [
            threading.Thread(target=self._fault, args=(fault, zero), name=f"chaoskit-fault-{fault.name}", daemon=True)
            for fault in self.scenario.faults
        ]

        def cancel() -> None:
            self._cancelled.set()
            for thread in threads:
                thread.join()

        stack.callback(cancel)
        for thread in threads:
            thread.start()
        return threads

    def _await(self, faults: list[threading.Thread], zero: float) -> None:
        while any(thread.is_alive() for thread in faults):
            self._tick("faults", zero + self.scenario.faults_length)
            for thread in faults:
                thread.join(TICK / len(faults))
        self.history.add(r.Phase(name="faults", started=zero, ended=now()))

    def _fault(self, planned: PlannedFault, zero: float) -> None:
        start, end = zero + planned.at, zero + planned.at + planned.length
        if not sleep_until(start, self._cancelled):
            return
        WINDOW.set(Window(planned.name, planned.length))  # for this thread, which serves this fault alone
        started = injected = now()
        error: str | None = None
        unit, touched, facts = "events", 0, {}
        try:
            with lease(end + MARGIN), planned.fault.inject(self.live) as evidence:
                injected = now()
                sleep_until(end, self._cancelled)
                if (late := now() - end) > MARGIN:
                    raise BrokenError(f"the engine was held up for {late:.1f} s: the fault was lifted by its lease")
            unit, touched, facts = evidence.unit, evidence.touched, evidence.facts
        except ChaosError as caught:
            error = str(caught)
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
        self.history.add(
            r.Fault(
                name=planned.name, kind=planned.kind, target=planned.fault.target, planned_start=start,
                planned_end=end, started=started, injected=injected, ended=now(), touched=touched, unit=unit,
                evidence=facts, error=error,
            )
        )  # fmt: skip

    def _recover(self, limit: float) -> None:
        """Until steady state holds again, at most ``limit`` seconds after the last cure."""
        start = max((fault.ended for fault in self.history.of(r.Fault)), default=now())
        end = start + limit
        window = view_of(self.scenario, self.history).recovery_window
        steady = self.scenario.model.steady_state
        while now() < end + window:
            view = view_of(self.scenario, self.history)
            if now() - start > window and recovered_at(view, steady, start, window) is not None:
                break
            self._tick("recovery", end)
            sleep_until(now() + TICK)
        self.history.add(r.Phase(name="recovery", started=start, ended=now()))

    def _after(self, length: float) -> None:
        """``length`` seconds, and longer while an SOP runs or an expectation awaits something late."""
        expected = [planned.expectation for planned in self.scenario.expectations]
        awaiting = [expectation for expectation in expected if isinstance(expectation, Awaits)]
        start = now()
        while now() < start + length or self._awaited(awaiting) or (self._sops.busy and now() < start + SETTLE):
            self._tick("after", max(start + length, now()))
            sleep_until(now() + TICK)
        if now() - start >= TICK:
            self.history.add(r.Phase(name="after", started=start, ended=now()))

    def _awaited(self, expectations: Sequence[Awaits]) -> bool:
        view = view_of(self.scenario, self.history)
        return any(expectation.awaits(view, now()) for expectation in expectations)

    # Traffic

    def _start_traffic(self) -> float:
        operations = [traffic_operation(name, operation) for name, operation in self.scenario.model.traffic.items()]
        data = {**self.scenario.environment.data, **self.scenario.model.data}
        self.generator.begin(self.seed, operations, {**data, **self.live.addresses()})
        start = now() + LEAD
        for operation in operations:
            if operation.rate:
                self.generator.stream(traffic.Stream(id=f"{BASE}:{operation.name}", op=operation.name, start=start))
        return start

    def _end_traffic(self) -> None:
        longest = max(operation.timeout for operation in self.scenario.model.traffic.values())
        self.generator.end(drain=longest)

    # Observing

    def _collect(self) -> None:
        view = view_of(self.scenario, self.history)
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
        recent = [row for row in self.history.of(r.Request)[-400:] if row.ended > moment - 1.0]
        self._on_progress(
            Progress(
                phase=phase,
                left=max(0.0, end - moment),
                requests=len(recent),
                success=sum(row.ok for row in recent) / len(recent) if recent else None,
                p99=percentile([row.ended - row.intended for row in recent], 99) if recent else None,
            )
        )


def traffic_operation(name: str, model: Operation) -> traffic.Operation:
    """An operation of the scenario language as the traffic worker takes it."""
    fallback = model.fallback
    return traffic.Operation(
        name=name,
        method=model.method,
        url=model.url,
        headers=model.headers,
        json=model.json_,
        body=model.body,
        rate=model.rate,
        arrival=model.arrival,
        timeout=model.timeout,
        ok_status=model.ok.statuses,
        ok_json=model.ok.json_,
        fallback=traffic.Fallback(header=fallback.header or {}, status=fallback.status, json=fallback.json_ or {})
        if fallback
        else None,
        copies=model.copies,
        id_header=model.id_header,
    )
