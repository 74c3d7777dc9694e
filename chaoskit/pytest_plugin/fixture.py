"""The ``chaos`` fixture: environments, traffic, faults and history for scenarios written in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import pytest
from pydantic import RootModel, ValidationError

from chaoskit.base.blast_radius import OPTION
from chaoskit.base.clock import now, sleep_until
from chaoskit.base.errors import BrokenError, ChaosError, Problem, unknown
from chaoskit.base.units import counted
from chaoskit.engine.observation import Observation
from chaoskit.engine.operations import start_traffic
from chaoskit.engine.run import TICK
from chaoskit.expectations.services import Services
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.judge.judging import died_of, judge_expectation, judge_python
from chaoskit.judge.verdict import SERVICES, Verdict
from chaoskit.language.alert_names import alert_names
from chaoskit.language.expectation import EXPECTATIONS, Awaits, Collects, Finding, Outcome
from chaoskit.language.fault import FAULT_WINDOW, FAULTS, UNPLANNED, Evidence, Fault, FaultWindow
from chaoskit.language.loader import load_environment, slug, without_proxy
from chaoskit.language.model import Operation
from chaoskit.language.named_hosts import outside_requests
from chaoskit.language.operation_bounds import SteadyBounds
from chaoskit.language.pydantic_errors import problems_of
from chaoskit.language.run_target import Setting
from chaoskit.language.source import Source
from chaoskit.language.types import Duration, OperationName
from chaoskit.language.view import OperationFacts, View
from chaoskit.pytest_plugin.plugin import FAILED

ID_HEADER = "x-request-id"
"""Where ids are looked for of requests that are not the traffic's."""

P = ParamSpec("P")
T = TypeVar("T")


def _plainly(call: Callable[P, T]) -> Callable[P, T]:
    """What is raised on purpose is complete in words: it leaves ``call`` with the frames of the test alone."""

    @functools.wraps(call)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        try:
            return call(*args, **kwargs)
        except ChaosError as error:
            raise error.with_traceback(None)  # noqa: B904  # the same error

    return told


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
        self._started = now()
        self._asked: list[_Block] = []
        self._active: list[_Block] = []
        self._faults: list[tuple[str, Fault]] = []
        self._lives: list[Services] = []
        self._ended = False
        self._told: set[tuple[str, int]] = set()

    @_plainly
    def url(self, service: str) -> str:
        """The URL of a service, through its proxy."""
        urls = {name: address["url"] for name, address in self.live.addresses().items() if "url" in address}
        if service not in urls:
            raise ChaosError(unknown("service", service, urls))
        return str(urls[service])

    @_plainly
    def traffic(self, **operations: Mapping[str, Any]) -> None:
        """Start open-loop traffic; each operation as under ``traffic:`` in a scenario file. Once per test."""
        if self._operations or self._ended:
            raise ChaosError("chaos.traffic is said once per test, with all operations, before anything is judged")
        models = _typed(RootModel[dict[str, Operation]], operations, "traffic").root
        requests = {name: model.url for name, model in models.items()}
        for told in outside_requests(requests, self.live.environment, self._allow):
            raise ChaosError(f"{told}, which is neither on loopback nor a service; if that is meant: {OPTION} HOST")
        self._operations = {
            name: OperationFacts(model.rate, model.timeout, model.id_header) for name, model in models.items()
        }
        self.live.tap(list(dict.fromkeys([*(model.id_header for model in models.values()), ID_HEADER])))
        variables = {**self.live.environment.data, **self.live.addresses()}
        self._started = start_traffic(self._generator, self._seed, models, variables, self.live.radius)

    @_plainly
    def steady_state(self, **bounds: Mapping[str, str]) -> None:
        """Bounds by operation, as under ``steady_state:`` in a scenario file; ``recovery`` is judged by them.

        It follows :meth:`traffic`.
        """
        if not self._operations:
            raise ChaosError("chaos.steady_state is about traffic: say chaos.traffic(...) first")
        typed = _typed(RootModel[dict[OperationName, SteadyBounds]], bounds, "steady_state", self._names())
        self._steady_state = typed.root

    @_plainly
    def wait(self, duration: str) -> None:
        """Let traffic flow for a while (``"3s"``). Raises BrokenError when something of chaoskit's own died."""
        end = now() + _typed(RootModel[Duration], duration, "wait").root
        while now() < end:
            self._generator.check()
            self.live.check()
            sleep_until(min(end, now() + TICK))

    @_plainly
    def fault(self, kind: str, /, **arguments: Any) -> AbstractContextManager[Evidence]:
        """Inject a fault for the length of a ``with`` block, ten minutes at most: then toxics lift themselves.

        Several may overlap, in any order: each gives back its own share. Raises ChaosError where it does not compose
        with one that lasts and where the traffic has ended, AssertionError when its evidence is empty, BrokenError when
        it did not last as long as the block. A block that is left by an exception has its fault lifted, and judged, as
        any other.
        """
        if kind not in FAULTS:
            raise ChaosError(unknown("fault", kind, FAULTS.names()))
        context = self._names()
        fault: Fault = _typed(FAULTS.get(kind), arguments, kind, context)
        if lacking := without_proxy(kind, fault, context["unproxied"]):
            raise ChaosError(Problem("", 0, *lacking).told)
        refusal = fault.refusal(self._setting)
        if refusal is not None:
            raise ChaosError(f"fault {kind} is refused here: {refusal.reason}")
        block = _Block(self, kind, fault)
        self._asked.append(block)
        return block

    def _names(self) -> dict[str, Any]:
        """What arguments may refer to, as the loader says it."""
        services = self.live.environment.services
        return {
            "services": set(self.live.services),
            "unproxied": {name for name, spec in services.items() if not spec.proxy},
            "operations": set(self._operations),
            "alerts": alert_names(self.live.environment, {}),
        }

    def _begin(self, block: _Block) -> str:
        """Names a fault that begins."""
        if block not in self._asked:
            raise ChaosError(f"fault {block.kind} has begun once: each `with` needs a chaos.fault(...) of its own")
        self._asked.remove(block)
        if self._ended:
            # What is judged later would be what was seen of the faults before.
            raise ChaosError(
                f"fault {block.kind} may not begin any more: the traffic has ended, with the first chaos.expect, "
                "chaos.findings or chaos.end; inject every fault before it, or write another test"
            )
        for active in self._active:
            if why := active.fault.clash(block.fault):
                raise ChaosError(f"fault {block.kind} may not begin while {active.kind} lasts: {why}")
        before = sum(fault.kind == block.kind for fault in self.history.rows(r.Fault))
        before += sum(active.kind == block.kind for active in self._active)
        name = f"{block.kind}-{before + 1}" if before else block.kind
        self._active.append(block)
        self._faults.append((name, block.fault))
        return name

    def _over(self) -> None:
        """Raises ChaosError for a fault that never began, or that still lasts: there is no judging it."""
        for block in self._asked:
            raise ChaosError(f"fault {block.kind} never began: say `with chaos.fault(...):`")
        for block in self._active:
            raise ChaosError(f"fault {block.kind} still lasts: what is expected of it is judged once its block is left")

    @_plainly
    def end(self) -> None:
        """Stop the traffic and wait for its last answers. Called by :meth:`findings` and at the end of the test.

        No fault may last then, and none may begin afterwards. Raises BrokenError when rows of what the proxies saw
        were lost.
        """
        self._over()
        self._stop()

    def _stop(self) -> None:
        if not self._ended:
            self._ended = True
            self._phases()
            if self._operations:
                self._generator.end()
            self._observation.drain()

    def _phases(self) -> None:
        """Traffic before the first fault is the steady phase, traffic after the last is recovery and after."""
        faults = self.history.rows(r.Fault)
        first = max(self._started, min((fault.started for fault in faults), default=now()))
        last = max((fault.ended for fault in faults), default=now())
        spans = [("steady", self._started, first), ("recovery", last, now()), ("after", last, now())]
        for name, started, ended in spans:
            self.history.add(r.Phase(name=name, started=started, ended=ended))

    @_plainly
    def findings(self, kind: str, arguments: Any) -> list[Finding]:
        """The findings of an expectation, given as under ``expect:`` in a scenario file. The traffic ends.

        Raises BrokenError when what was seen says nothing about the service.
        """
        if kind not in EXPECTATIONS:
            raise ChaosError(unknown("expectation", kind, EXPECTATIONS.names()))
        expectation = _typed(EXPECTATIONS.get(kind), arguments, kind, self._names())
        if kind == "recovery" and not self._steady_state:
            raise ChaosError("recovery means that steady state holds again: say chaos.steady_state(...) first")
        self._over()
        if isinstance(expectation, Awaits) and not self._ended:
            while expectation.awaits(self._view(), now()):
                sleep_until(now() + TICK)
        self._stop()
        self._verdict()
        if isinstance(expectation, Collects):
            for row in expectation.collect(self.live, self._view()):
                self.history.add(row)
        if isinstance(expectation, Services):
            self._lives.append(expectation)
        return judge_expectation(kind, expectation, self._view())

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

    @_plainly
    def expect(self, kind: str, arguments: Any) -> None:
        """AssertionError unless an expectation has held, judged as in a scenario file: with the steady state, the
        evidence of the faults, and the samples that each bound needs. It names every finding that did not hold.
        """
        __tracebackhide__ = True
        verdict = self._verdict(self.findings(kind, arguments))
        self._told.update(_key(judged.finding) for judged in verdict.findings)
        if verdict.outcome is Outcome.HELD or (verdict.outcome is Outcome.VACUOUS and not verdict.failed()):
            return  # without a fault it is an ordinary test
        self._fail(verdict)

    @_plainly
    def _close(self, *, failed: bool) -> None:
        """The end of a test, which has ``failed`` or not: what :meth:`expect` has not judged must not be nothing,
        either: the steady state, the evidence of faults, and services that ended, also afterwards."""
        __tracebackhide__ = True
        with ExitStack() as lasting:
            for block in self._active:
                lasting.push(block)
            if not failed:
                self._over()
        self._stop()
        view = self._view()
        lives = [finding for services in self._lives for finding in services.judge(view) if finding.held]
        verdict = self._verdict(lives)
        if not failed and any(_key(judged.finding) not in self._told for judged in verdict.failed()):
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


class _Block:
    """A fault for the length of a ``with`` block."""

    def __init__(self, chaos: Chaos, kind: str, fault: Fault) -> None:
        self._chaos = chaos
        self.kind = kind
        self.fault = fault

    @_plainly
    def __enter__(self) -> Evidence:
        self._name = self._chaos._begin(self)
        window = FAULT_WINDOW.set(FaultWindow(self._name, UNPLANNED))
        self._started = self._injected = now()
        self._evidence = Evidence()
        try:
            self._injecting = self.fault.inject(self._chaos.live)
            self._evidence = self._injecting.__enter__()
        except BaseException as error:
            self._written(now(), error)
            raise
        finally:
            FAULT_WINDOW.reset(window)
        self._injected = now()
        return self._evidence

    @_plainly
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        end = now()
        try:
            # However the block is left: what the test meets there is no reason to count the evidence otherwise.
            self._injecting.__exit__(None, None, None)
        except BaseException as wrong:
            self._written(end, wrong)
            raise
        row = self._written(end)
        if not row.proved and error is None:
            touched = counted(row.touched, row.unit) if row.touched else f"no {row.unit}"
            raise AssertionError(f"vacuous: the fault {self.kind} on {row.target} touched {touched}")

    def _written(self, planned_end: float, wrong: BaseException | None = None) -> r.Fault:
        """The row of a fault that is over; ``wrong`` is what became of it, where it was not as it should be."""
        done = self._evidence
        row = r.Fault(
            name=self._name, kind=self.kind, target=self.fault.target, planned_start=self._started,
            planned_end=planned_end, started=self._started, injected=self._injected, ended=now(), touched=done.touched,
            unit=done.unit, needed=done.needed, over=done.over, evidence=done.facts, error=_said(wrong),
        )  # fmt: skip
        self._chaos.history.add(row)
        self._chaos._active.remove(self)
        return row


def _said(error: BaseException | None) -> str | None:
    if error is None or isinstance(error, ChaosError):
        return None if error is None else str(error)
    return f"{type(error).__name__}: {error}"


def _key(finding: Finding) -> tuple[str, int]:
    """What makes a finding another one than was told: a service may end again."""
    return finding.id, finding.samples if finding.id.startswith(SERVICES) else 0


def _typed(model: Any, data: Any, name: str, context: Any = None) -> Any:
    """``data`` as ``model``. Raises ChaosError with the texts that a scenario file has, which begin with ``name``."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        problems = problems_of(error, model, Source(Path(name), "", data))
        raise ChaosError("\n".join(f"{name}: {problem.told}" for problem in problems)) from None


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


@contextmanager
def _in_words() -> Iterator[None]:
    """Of what goes wrong outside the test its text alone is shown: there is no line of the test to show."""
    told = ""
    try:
        yield
    except (ChaosError, AssertionError) as error:
        told = str(error)
    if told:  # not before, or pytest shows the error twice
        pytest.fail(told, pytrace=False)


def chaos_for(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """The fixture's life: a healthy environment before, everything healed after."""
    plugin: Any = request.config.pluginmanager.getplugin("chaoskit-run")
    session = plugin.session
    with _in_words():
        environment = load_environment(_environment_file(request))
        live, generator, _ = session.prepare(environment, environment)
    history = History(session.new_folder(slug(request.node.name)))
    with ExitStack() as stack:
        stack.callback(history.close)
        stack.callback(live.heal)
        observation = stack.enter_context(Observation(live, generator, history, [ID_HEADER]))
        chaos = Chaos(observation, session.seed, plugin.setting(environment), plugin.allow)
        stack.callback(chaos._stop)
        yield chaos
        with _in_words():
            chaos._close(failed=request.node.stash.get(FAILED, False))
