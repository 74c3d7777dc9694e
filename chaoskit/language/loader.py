"""From files to Scenarios: every mistake of a file is told at once, with its line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import RootModel, ValidationError

from chaoskit.base.errors import InputError, Problem
from chaoskit.base.units import format_duration
from chaoskit.language import matrix, source
from chaoskit.language.abilities import lacking
from chaoskit.language.alert_names import alert_names, sent_by_applications
from chaoskit.language.check import Check
from chaoskit.language.environments import changed, check_changes, environment_of, load_environment
from chaoskit.language.model import ScenarioFile, Timeline
from chaoskit.language.names import check_names, mapping, slug
from chaoskit.language.planned import Given, PlannedFault
from chaoskit.language.plugins import registry
from chaoskit.language.scenario import PlannedExpectation, Scenario
from chaoskit.language.sop import NAMES, sops_of
from chaoskit.language.source import Source
from chaoskit.language.types import Duration, Model

if TYPE_CHECKING:
    from chaoskit.language.fault import Fault

__all__ = ["SUFFIX", "changed", "find", "load", "load_environment", "names", "slug", "without_proxy"]

SUFFIX = ".chaos.yaml"


class FaultTiming(Model):
    """When a fault acts: ``at`` after the end of the steady phase, ``for`` how long. Seconds."""

    at: Duration
    length: Duration


def load(file: Path, *, recorded: Path | None = None, text: str | None = None) -> list[Scenario]:
    """All scenarios of a file: one, or one for each combination of its matrix.

    ``recorded`` is the folder of a run whose copies of the environment and the SOPs are taken. Beside it and ``file``
    nothing is read then: anybody may have written what these name.

    Raises InputError with every mistake of the file.
    """
    page = source.read(file, text)
    if "services" in page.data and "traffic" not in page.data:
        raise InputError([page.problem(("services",), "this is an environment, which scenarios name: no scenario")])
    if matrix.too_many(page.data.get("matrix")):
        raise InputError([page.problem(("matrix",), f"matrix: more than {matrix.MOST} combinations")])
    scenarios, problems = [], dict[str, Problem]()
    for values in matrix.combinations(page.data.get("matrix")):
        try:
            filled = Source(page.file, page.text, matrix.fill(page.data, values)) if values else page
            scenarios.append(_scenario(filled, page.data, values, recorded))
        except InputError as error:
            problems.update((str(problem), problem) for problem in error.problems)
    slugs = [scenario.slug for scenario in scenarios]
    for name in sorted({name for name in slugs if slugs.count(name) > 1}):
        problems[name] = page.problem(("matrix",), f"two combinations of the matrix are named {name!r}")
    if problems:
        raise InputError(problems.values())
    return scenarios


def names(file: Path) -> frozenset[str]:
    """What the scenarios of a file are called, which may have mistakes; none if it does not say.

    Raises InputError for a file that cannot be read.
    """
    data = source.read(file).data
    filled = [(matrix.fill(data, values), values) for values in matrix.combinations(data.get("matrix"))]
    return frozenset(_titled(str(one["scenario"]), values) for one, values in filled if "scenario" in one)


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """All scenario files below ``paths``, in a stable order. Raises InputError for a path that is missing."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob(f"*{SUFFIX}"))
        elif path.exists():
            yield path
        else:
            raise InputError([Problem(path, 1, "no such file or folder")])


def _scenario(
    page: Source,
    raw: Mapping[str, Any],
    values: Mapping[str, Any],
    recorded: Path | None,
) -> Scenario:
    check = Check(page)
    data = page.data
    environment = environment_of(page, check, recorded)
    traffic = data.get("traffic")
    alerts = alert_names(environment, data) if environment and recorded is None else None
    context: dict[str, Any] = {
        "services": set(environment.services) if environment else None,
        "unproxied": {name for name, spec in environment.services.items() if not spec.proxy} if environment else set(),
        "operations": set(traffic) if isinstance(traffic, dict) else None,
        "lacking": lacking(environment if recorded is None else None),
        "recorded": recorded is not None,  # what has run can be judged as far as it goes
        "alerts": alerts,
        "triggers": alerts | sent_by_applications(data) if alerts is not None else None,
    }
    known = frozenset({*environment.data, *mapping(data, "data"), *NAMES}) if environment else frozenset[str]()
    sops = sops_of(check, data, context, known, recorded) if environment else []
    named = data.get("sops", [])
    # Where some of them have mistakes, these are told, and not what asks for them.
    complete = isinstance(named, list) and len(named) == len(sops)
    context["sops"] = {sop.name: sop for sop in sops} if complete else None
    model: ScenarioFile | None = check.validate(ScenarioFile, data, (), context)

    entries = mapping(data, "timeline").get("faults")
    faults = [
        fault
        for index, entry in enumerate(entries if isinstance(entries, list) else [])
        if (fault := _fault(check, entry, ("timeline", "faults", index), context))
    ]
    expectations = [
        planned
        for kind, arguments in mapping(data, "expect").items()
        for planned in _expectations(check, kind, arguments, context)
    ]
    if environment and recorded is None:
        check_changes(check, data, environment)
    check_names(check, raw, environment, set(values))
    _duplicates(check, faults)
    _conflicts(check, faults)
    # What has run can be judged as far as it goes, and of a fault with mistakes it is not known what it allows.
    if recorded is None and model is not None and len(faults) == len(model.timeline.faults):
        _never_known(check, model.timeline, faults, expectations)
    if check.problems or model is None or environment is None:
        raise InputError(check.problems)
    name = _titled(model.scenario, values)
    parts = [
        slug(page.file.name.removesuffix(SUFFIX)) or "scenario",
        *(f"{slug(k)}-{slug(str(v))}" for k, v in values.items()),
    ]
    return Scenario(name, "--".join(parts), page, environment, model, faults, expectations, dict(values), sops)


def _never_known(
    check: Check, timeline: Timeline, faults: list[PlannedFault], expectations: list[PlannedExpectation]
) -> None:
    """What no run of this timeline could tell, or do."""
    for planned in faults:
        if misfit := planned.fault.misfit(planned.length):
            what = f"{planned.name} ({planned.kind}): {misfit.what}"
            check.wrong((*planned.path, planned.kind, misfit.key), what, misfit.legal)
    for asked in expectations:
        for wrong in asked.expectation.never_known(Given(timeline, faults, asked.path)):
            check.wrong(*wrong)


def _titled(name: str, values: Mapping[str, Any]) -> str:
    return name + "".join(f" [{key}={value}]" for key, value in values.items())


def _fault(check: Check, entry: Any, path: tuple[str | int, ...], context: Any) -> PlannedFault | None:
    """``- slow-db: {latency: {on: postgres, ...}, at: 0s, for: 6s}``."""
    form = "NAME: {FAULT: {...}, at: 0s, for: 5s}"
    if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())), dict):
        check.wrong(path, "a fault has a name, a kind and a window", [form])
        return None
    ((name, body),) = entry.items()
    path = (*path, name)
    kinds = [key for key in body if key not in ("at", "for")]
    if name in registry("faults") and not any(kind in registry("faults") for kind in kinds):
        check.wrong(path, f"{name} is a kind of fault; a fault has a name of its own, then its kind", [form])
        return None
    if len(kinds) != 1:
        what = "no kind of fault is given" if not kinds else f"one kind of fault is expected, found {', '.join(kinds)}"
        check.wrong(path, what, registry("faults").names())
        return None
    kind = kinds[0]
    window = {"at": body.get("at", "0s"), "length": body.get("for")}
    if "for" not in body:
        check.wrong(path, "'for' is missing: how long the fault lasts", ["for: 5s"])
    timed = None
    try:
        timed = FaultTiming.model_validate(window)
    except ValidationError as error:
        for item in error.errors():
            if item["loc"][0] == "length" and "for" not in body:
                continue  # told
            key = "for" if item["loc"][0] == "length" else "at"
            check.wrong((*path, key), f"{key}: {item['msg']}", item.get("ctx", {}).get("legal", ()))
    if timed is not None and timed.length == 0:
        check.wrong((*path, "for"), "for: a fault of 0s touches nothing")
    if (model := check.plugin("faults", kind, (*path, kind))) is None:
        return None
    fault = check.validate(model, {} if body[kind] is None else body[kind], (*path, kind), context)
    if fault is not None and (lacking := without_proxy(kind, fault, context["unproxied"])):
        check.wrong((*path, kind), *lacking)
        return None
    return PlannedFault(name, kind, fault, timed.at, timed.length, path) if fault and timed else None


def without_proxy(kind: str, fault: Fault, unproxied: Collection[str]) -> tuple[str, list[str]] | None:
    """What is wrong with a fault that needs a proxy where none stands, and what is legal; None where one does."""
    if not fault.through_proxy or fault.target not in unproxied:
        return None
    what = f"{kind} is set on a proxy, and none stands in front of {fault.target}"
    return what, ["its name in proxy: of a Compose environment", "proxy: true of a service"]


def _expectations(check: Check, kind: str, arguments: Any, context: Any) -> Iterator[PlannedExpectation]:
    """One expectation, or one for each block of a list of them."""
    path: tuple[str | int, ...] = ("expect", kind)
    if (model := check.plugin("expectations", kind, path)) is None:
        return
    if arguments == [] or (arguments == {} and issubclass(model, RootModel)):
        check.wrong(path, f"{kind}: nothing is expected here")
        return
    blocks = arguments if isinstance(arguments, list) else [arguments]
    planned = []
    for index, block in enumerate(blocks):
        place = (*path, index) if isinstance(arguments, list) else path
        expectation = check.validate(model, block, place, context)
        if expectation is not None:
            planned.append(PlannedExpectation(kind, expectation, place))
    for one in planned:
        one.expectation.siblings([other.expectation for other in planned if other is not one])
    yield from planned


def _duplicates(check: Check, faults: list[PlannedFault]) -> None:
    first: dict[str, PlannedFault] = {}
    for fault in faults:
        if fault.name in first:
            line = check.page.line(first[fault.name].path)
            check.wrong(fault.path, f"a fault named {fault.name!r} stands in line {line} already")
        first.setdefault(fault.name, fault)


def _conflicts(check: Check, faults: list[PlannedFault]) -> None:
    """Faults whose windows overlap, and that do not compose."""
    planned = sorted(faults, key=lambda fault: fault.at)  # stable: of two that begin together the first in the file
    for place, first in enumerate(planned):
        for later in planned[place + 1 :]:
            if later.at >= first.at + first.length:
                break
            if why := first.fault.clash(later.fault):
                line = check.page.line(first.path)
                until = format_duration(first.at + first.length)
                what = f"{later.name} ({later.kind}) may not begin while {first.name} ({first.kind}, line {line}) lasts"
                check.wrong((*later.path, "at"), f"{what}: {why}", [f"at: {until}, or later"])
