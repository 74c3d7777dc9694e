"""The ``chaos`` fixture: environments, traffic, faults and history for scenarios written in Python."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.blast_radius import OPTION
from chaoskit.clock import now, sleep_until
from chaoskit.engine.disturbed import excused
from chaoskit.engine.judge import died_of, judge_python
from chaoskit.engine.observation import Observation
from chaoskit.engine.operations import start_traffic
from chaoskit.engine.run import TICK
from chaoskit.engine.verdict import STEADY_STATE, Verdict
from chaoskit.errors import BrokenError, ChaosError, unknown
from chaoskit.expectations.base import EXPECTATIONS, Awaits, Collects, Finding, Outcome
from chaoskit.faults.base import FAULTS, UNPLANNED, WINDOW, Evidence, Fault, Window
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.view import OperationFacts, View
from chaoskit.scenario.alert_names import alert_names
from chaoskit.scenario.loader import load_environment, slug
from chaoskit.scenario.model import Operation, SteadyBounds
from chaoskit.scenario.reach import outside_requests
from chaoskit.scenario.setting import Setting
from chaoskit.units import counted, parse_duration

ID_HEADER = "x-request-id"
"""Where ids are looked for of requests that are not the traffic's."""


class Chaos:
    """One scenario in Python. Everything that is seen goes to :attr:`history`, and to the run's folder."""

    def __init__(self, observation: Observation, seed: int, setting: Setting, allow: Collection[str] = ()) -> None:
        self.live = observation.live
        self.history = observation.history
        self._observation = observation
        self._generator = observation.generator
        self._seed = seed
        self._setting = setting
        self._allow = allow
        self._operations: dict[str, OperationFacts] = {}
        self._steady_state: dict[str, SteadyBounds] = {}
        self._started = 0.0
        self._injected = 0
        self._active: list[tuple[str, Fault]] = []
        self._faults: list[tuple[str, Fault]] = []
        self._ended = self._judged = False

    def url(self, service: str) -> str:
        """The URL of a service, through its proxy."""
        return str(self.live.addresses()[service]["url"])

    def traffic(self, **operations: Mapping[str, Any]) -> None:
        """Start open-loop traffic; each operation as under ``traffic:`` in a scenario file. Once per test."""
        models = {name: _typed(Operation, dict(body), name) for name, body in operations.items()}
        requests = {name: model.url for name, model in models.items()}
        for told in outside_requests(requests, self.live.environment, self._allow):
            raise ChaosError(f"{told}, which is neither on loopback nor a service; if that is meant: {OPTION} HOST")
        self._operations = {
            name: OperationFacts(model.rate, model.timeout, model.id_header) for name, model in models.items()
        }
        self.live.tap(list(dict.fromkeys([*(model.id_header for model in models.values()), ID_HEADER])))
        variables = {**self.live.environment.data, **self.live.addresses()}
        self._started = start_traffic(self._generator, self._seed, models, variables, self.live.radius)

    def steady_state(self, **bounds: Mapping[str, str]) -> None:
        """Bounds by operation, as under ``steady_state:`` in a scenario file; ``recovery`` is judged by them."""
        self._steady_state = {name: _typed(SteadyBounds, dict(body), name) for name, body in bounds.items()}

    def wait(self, duration: str) -> None:
        """Let traffic flow for a while (``"3s"``). Raises BrokenError when something of chaoskit's own died."""
        end = now() + parse_duration(duration)
        while now() < end:
            self._generator.check()
            self.live.check()
            sleep_until(min(end, now() + TICK))

    @contextmanager
    def fault(self, kind: str, **arguments: Any) -> Iterator[Evidence]:
        """Inject a fault for the length of the block, ten minutes at most: then toxics lift themselves.

        Several may overlap, in any order: each gives back its own share. Raises ChaosError where it does not compose
        with one that lasts, AssertionError when its evidence is empty, BrokenError when it did not last as long as
        the block.
        """
        if kind not in FAULTS:
            raise ChaosError(unknown("fault", kind, FAULTS.names()))
        context = {"services": set(self.live.services), "operations": set(self._operations)}
        fault = _typed(FAULTS.get(kind), arguments, kind, context)
        refusal = fault.refusal(self._setting)
        if refusal is not None:
            raise ChaosError(f"fault {kind} is refused here: {refusal.reason}")
        for name, active in self._active:
            if why := active.clash(fault):
                raise ChaosError(f"fault {kind} may not begin while {name} lasts: {why}")
        self._injected += 1
        window = WINDOW.set(Window(f"{kind}-{self._injected}", UNPLANNED))
        started = now()
        with ExitStack() as stack:
            stack.callback(WINDOW.reset, window)
            self._active.append((kind, fault))
            self._faults.append((kind, fault))
            stack.callback(self._active.remove, (kind, fault))
            evidence = stack.enter_context(fault.inject(self.live))
            injected = now()
            yield evidence
            planned_end = now()
        self.history.add(
            r.Fault(
                name=kind, kind=kind, target=fault.target, planned_start=started, planned_end=planned_end,
                started=started, injected=injected, ended=now(), touched=evidence.touched, unit=evidence.unit,
                needed=evidence.needed, over=evidence.over, evidence=evidence.facts,
            )
        )  # fmt: skip
        assert evidence.touched, f"vacuous: the fault {kind} on {fault.target} touched no {evidence.unit}"

    def end(self) -> None:
        """Stop the traffic and wait for its last answers. Called by :meth:`findings` and at the end of the test.

        Raises BrokenError when rows of what the proxies saw were lost.
        """
        if self._operations and not self._ended:
            self._ended = True
            self._phases()
            self._generator.end()
            self._observation.drain()

    def _phases(self) -> None:
        """Traffic before the first fault is the steady phase, traffic after the last is recovery and after."""
        faults = self.history.of(r.Fault)
        first = min((fault.started for fault in faults), default=now())
        last = max((fault.ended for fault in faults), default=now())
        spans = [("steady", self._started, first), ("recovery", last, now()), ("after", last, now())]
        for name, started, ended in spans:
            self.history.add(r.Phase(name=name, started=started, ended=ended))

    def findings(self, kind: str, arguments: Any) -> list[Finding]:
        """The findings of an expectation, given as under ``expect:`` in a scenario file. The traffic ends.

        Raises BrokenError when what was seen says nothing about the service.
        """
        if kind not in EXPECTATIONS:
            raise ChaosError(unknown("expectation", kind, EXPECTATIONS.names()))
        context = {
            "services": set(self.live.services),
            "operations": set(self._operations),
            "alerts": alert_names(self.live.environment, {}),
        }
        expectation = _typed(EXPECTATIONS.get(kind), arguments, kind, context)
        if isinstance(expectation, Awaits) and not self._ended:
            while expectation.awaits(self._view(), now()):
                sleep_until(now() + TICK)
        self.end()
        self._verdict()
        if kind == "recovery" and not self._steady_state:
            raise ChaosError("recovery means that steady state holds again: say chaos.steady_state(...) first")
        if isinstance(expectation, Collects):
            for row in expectation.collect(self.live, self._view()):
                self.history.add(row)
        view = self._view()
        found = excused(list(expectation.judge(view)), view, expectation.judge)
        # What found nothing to judge must not pass for one that was met.
        return found or [Finding(kind, Outcome.VACUOUS, "a finding", "nothing was judged", 0)]

    def _view(self) -> View:
        return View(self.history, self._operations, self._steady_state, died_of=died_of(self._faults))

    def _verdict(self, expected: Sequence[Finding] = ()) -> Verdict:
        """The judge's. Raises BrokenError for one that says nothing about the service."""
        services = self.live.environment.services
        may_end = [name for name, spec in services.items() if spec.ends == "allowed"]
        verdict = judge_python(self._view(), expected, may_end)
        if verdict.outcome is Outcome.BROKEN or (verdict.outcome is Outcome.INCONCLUSIVE and not verdict.findings):
            raise BrokenError(verdict.reason)
        return verdict

    def expect(self, kind: str, arguments: Any) -> None:
        """AssertionError unless an expectation has held, judged as in a scenario file: with the steady state, the
        evidence of the faults, and the samples that each bound needs. It names every finding that did not hold.
        """
        __tracebackhide__ = True
        expected = self.findings(kind, arguments)
        self._judged = True
        verdict = self._verdict(expected)
        if verdict.outcome is Outcome.HELD or (verdict.outcome is Outcome.VACUOUS and not verdict.failed()):
            return  # without a fault it is an ordinary test
        self._fail(verdict)

    def _close(self) -> None:
        """The end of the test: what was never judged by :meth:`expect` must not be nothing, either."""
        __tracebackhide__ = True
        self.end()
        if self._operations and not self._judged:
            verdict = self._verdict()
            if any(judged.finding.id.startswith((STEADY_STATE, "services.")) for judged in verdict.failed()):
                self._fail(verdict)

    def _fail(self, verdict: Verdict) -> None:
        __tracebackhide__ = True
        lines = [
            f"{finding.outcome} {finding.id}: expected {finding.expected}, seen {finding.seen} "
            f"({counted(finding.samples, 'samples')}) {finding.worst}"
            for finding in (judged.finding for judged in verdict.failed())
        ]
        raise AssertionError(
            "\n".join([f"{verdict.outcome}: {verdict.reason}", *lines, f"history: {self.history.folder}"])
        )


def _typed(model: Any, data: Any, name: str, context: Any = None) -> Any:
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ChaosError(f"{name}: {problems}") from None


def _environment_file(request: pytest.FixtureRequest) -> Path:
    marker = request.node.get_closest_marker("chaos_environment")
    if marker is None or not marker.args:
        raise pytest.UsageError(
            "the chaos fixture needs an environment: @pytest.mark.chaos_environment('shop') or a path to its file"
        )
    given = Path(str(marker.args[0]))
    places = [Path(request.config.rootpath, given)]
    for folder in (*request.path.parents, Path(request.config.rootpath, "scenarios")):
        places.append(folder / "environments" / f"{given}.yaml")
    for place in places:
        if place.is_file():
            return place
    known = sorted({file.stem for place in places for file in place.parent.glob("*.yaml")})
    raise pytest.UsageError(unknown("environment", str(given), known))


def chaos_for(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """The fixture's life: a healthy environment before, everything healed after."""
    plugin: Any = request.config.pluginmanager.getplugin("chaoskit-run")
    session = plugin.session
    environment = load_environment(_environment_file(request))
    live, generator, _ = session.prepare(environment, environment)
    history = History(session.new_folder(slug(request.node.name)))
    with ExitStack() as stack:
        stack.callback(history.close)
        stack.callback(live.heal)
        observation = stack.enter_context(Observation(live, generator, history, [ID_HEADER]))
        chaos = Chaos(observation, session.seed, plugin.setting(environment), plugin.allow)
        stack.callback(chaos.end)
        yield chaos
        chaos._close()
