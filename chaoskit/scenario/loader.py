"""From files to Scenarios: every mistake of a file is told at once, with its line.

Rooms above this one (faults, expectations, providers) are reached through their registries by name, so the
language knows none of them.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from chaoskit.errors import InputError, Problem
from chaoskit.registry import Registry
from chaoskit.scenario import mistakes, source, template
from chaoskit.scenario.model import (
    Environment,
    EnvironmentFile,
    PlannedExpectation,
    PlannedFault,
    Scenario,
    ScenarioFile,
    ServiceChange,
)
from chaoskit.scenario.source import Source
from chaoskit.scenario.types import Duration, Model

SUFFIX = ".chaos.yaml"
_SLUG = re.compile(r"[^a-z0-9]+")


class Window(Model):
    """When a fault acts: ``at`` after the end of the steady phase, ``for`` how long. Seconds."""

    at: Duration
    length: Duration


@functools.cache
def room(name: str) -> Registry[Any]:
    """The registry of a room above: ``faults``, ``expectations`` or ``providers``."""
    module, attribute = {
        "faults": ("chaoskit.faults.base", "FAULTS"),
        "expectations": ("chaoskit.expectations.base", "EXPECTATIONS"),
        "providers": ("chaoskit.services.create", "PROVIDERS"),
    }[name]
    return cast("Registry[Any]", getattr(importlib.import_module(module), attribute))


def slug(text: str) -> str:
    """``text`` as an item name: ``[a-z0-9-]`` only, because Allure and ``-k`` cut other characters."""
    return _SLUG.sub("-", text.lower()).strip("-")


def load(file: Path, *, environment_file: Path | None = None, text: str | None = None) -> list[Scenario]:
    """All scenarios of a file: one, or one for each combination of its matrix.

    Raises InputError with every mistake of the file.
    """
    page = source.read(file, text)
    matrix = page.data.get("matrix")
    rows = list(_combinations(matrix)) if isinstance(matrix, dict) and matrix else [{}]
    scenarios, problems = [], dict[str, Problem]()
    for values in rows:
        try:
            filled = Source(page.file, page.text, _fill(page.data, values)) if values else page
            scenarios.append(_scenario(filled, values, environment_file))
        except InputError as error:
            problems.update((str(problem), problem) for problem in error.problems)
    if problems:
        raise InputError(problems.values())
    return scenarios


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """All scenario files below ``paths``, in a stable order. Raises InputError for a path that is missing."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob(f"*{SUFFIX}"))
        elif path.exists():
            yield path
        else:
            raise InputError([Problem(path, 1, "no such file or folder")])


def _combinations(matrix: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    lists = [value if isinstance(value, list) else [value] for value in matrix.values()]
    for values in itertools.product(*lists):
        yield dict(zip(matrix, values, strict=True))


_MATRIX = re.compile(r"\{\{\s*matrix\.(\w+)\s*\}\}")


def _fill(data: Any, values: Mapping[str, Any]) -> Any:
    """``data`` with ``{{ matrix.NAME }}`` replaced; a text that is nothing else takes the value's own type."""
    if isinstance(data, dict):
        return {key: value if key == "matrix" else _fill(value, values) for key, value in data.items()}
    if isinstance(data, list):
        return [_fill(item, values) for item in data]
    if isinstance(data, str) and "matrix." in data:
        whole = _MATRIX.fullmatch(data.strip())
        if whole and whole.group(1) in values:
            return values[whole.group(1)]
        return _MATRIX.sub(lambda m: str(values.get(m.group(1), m.group(0))), data)
    return data


class _Check:
    """Collects the mistakes of one file while it is being typed."""

    def __init__(self, page: Source) -> None:
        self.page = page
        self.problems: list[Problem] = []

    def typed(self, model: type[BaseModel], data: Any, path: tuple[str | int, ...], context: Any = None) -> Any:
        """``data`` as ``model``, or None with the mistakes noted."""
        try:
            return model.model_validate(data, context=context)
        except ValidationError as error:
            self.problems.extend(mistakes.problems_of(error, model, self.page, path))
        return None

    def wrong(
        self, path: tuple[str | int, ...], what: str, legal: Iterable[str] = (), found: str | None = None
    ) -> None:
        self.problems.append(self.page.problem(path, what, sorted(legal), found))


def _scenario(page: Source, values: Mapping[str, Any], environment_file: Path | None) -> Scenario:
    check = _Check(page)
    data = page.data
    environment = _environment_of(page, check, environment_file)
    services = set(environment.services) if environment else None
    traffic = data.get("traffic")
    operations = set(traffic) if isinstance(traffic, dict) else None
    context = {"services": services, "operations": operations}
    model: ScenarioFile | None = check.typed(ScenarioFile, data, (), context)

    timeline = data.get("timeline")
    entries = timeline.get("faults") if isinstance(timeline, dict) else None
    faults = [
        fault
        for index, entry in enumerate(entries if isinstance(entries, list) else [])
        if (fault := _fault(check, entry, ("timeline", "faults", index), context))
    ]
    expect = data.get("expect")
    expectations = [
        planned
        for kind, arguments in (expect.items() if isinstance(expect, dict) else ())
        for planned in _expectations(check, kind, arguments, context)
    ]
    _names(check, data, environment, services, operations, set(values))
    _duplicates(check, faults)
    if check.problems or model is None or environment is None:
        raise InputError(check.problems)
    name = model.scenario + "".join(f" [{key}={value}]" for key, value in values.items())
    parts = [
        slug(page.file.name.removesuffix(SUFFIX)),
        *(f"{slug(k)}-{slug(str(v))}" for k, v in values.items()),
    ]
    return Scenario(name, "--".join(parts), page, environment, model, faults, expectations, dict(values))


def _fault(check: _Check, entry: Any, path: tuple[str | int, ...], context: Any) -> PlannedFault | None:
    """``- slow-db: {latency: {on: postgres, ...}, at: 0s, for: 6s}``."""
    form = "NAME: {FAULT: {...}, at: 0s, for: 5s}"
    if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())), dict):
        check.wrong(path, "a fault has a name, a kind and a window", [form])
        return None
    ((name, body),) = entry.items()
    path = (*path, name)
    kinds = [key for key in body if key not in ("at", "for")]
    if len(kinds) != 1:
        what = "no kind of fault is given" if not kinds else f"one kind of fault is expected, found {', '.join(kinds)}"
        check.wrong(path, what, room("faults").names())
        return None
    kind = kinds[0]
    window = {"at": body.get("at", "0s"), "length": body.get("for")}
    if "for" not in body:
        check.wrong(path, "'for' is missing: how long the fault lasts", ["for: 5s"])
        window["length"] = "1s"
    timed = None
    try:
        timed = Window.model_validate(window)
    except ValidationError as error:
        for item in error.errors():
            key = "for" if item["loc"][0] == "length" else "at"
            check.wrong((*path, key), f"{key}: {item['msg']}", item.get("ctx", {}).get("legal", ()))
    if kind not in room("faults"):
        check.wrong((*path, kind), f"unknown fault {kind!r}", room("faults").names(), kind)
        return None
    fault = check.typed(room("faults").get(kind), body[kind] or {}, (*path, kind), context)
    return PlannedFault(name, kind, fault, timed.at, timed.length, path) if fault and timed else None


def _expectations(check: _Check, kind: str, arguments: Any, context: Any) -> Iterator[PlannedExpectation]:
    """One expectation, or one for each block of a list of them."""
    path: tuple[str | int, ...] = ("expect", kind)
    if kind not in room("expectations"):
        check.wrong(path, f"unknown expectation {kind!r}", room("expectations").names(), kind)
        return
    model = room("expectations").get(kind)
    blocks = arguments if isinstance(arguments, list) else [arguments]
    for index, block in enumerate(blocks):
        place = (*path, index) if isinstance(arguments, list) else path
        expectation = check.typed(model, block, place, context)
        if expectation is not None:
            yield PlannedExpectation(kind, expectation, place)


def _names(
    check: _Check,
    data: Mapping[str, Any],
    environment: Environment | None,
    services: set[str] | None,
    operations: set[str] | None,
    matrix: set[str],
) -> None:
    """Names that refer to something: services, operations, findings of the control, names in templates."""
    control = data.get("control")
    places: list[tuple[tuple[str | int, ...], Any]] = [
        (("with",), data.get("with")),
        (("control", "with"), control.get("with") if isinstance(control, dict) else None),
    ]
    for path, changes in places:
        for service in changes if isinstance(changes, dict) else ():
            if services is not None and service not in services:
                check.wrong((*path, service), f"unknown service {service!r}", services, service)
    steady = data.get("steady_state")
    for operation in steady if isinstance(steady, dict) else ():
        if operations is not None and operation not in operations:
            check.wrong(("steady_state", operation), f"unknown operation {operation!r}", operations, operation)
    expect = data.get("expect")
    legal = {"steady_state", "recovery", *(expect if isinstance(expect, dict) else ())}
    violates = control.get("violates") if isinstance(control, dict) else None
    for index, finding in enumerate(violates if isinstance(violates, list) else ()):
        first = str(finding).split(".")[0]
        if first not in legal:
            check.wrong(("control", "violates", index), f"the scenario expects nothing named {first!r}", legal, first)
    extra = data.get("data")
    known = {
        *(services or ()),
        *(environment.data if environment else ()),
        *(extra if isinstance(extra, dict) else ()),
    }
    names = frozenset(known)
    for path, text in _texts(data, ()):
        if services is not None and path[0] == "traffic":
            for what, legal_names, found in template.mistakes(text, names):
                check.wrong(path, what, legal_names, found)
        for match in _MATRIX.finditer(text) if "matrix." in text else ():
            if match.group(1) not in matrix:
                check.wrong(path, f"unknown matrix value {match.group(1)!r}", matrix, match.group(1))


def _texts(data: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(data, str):
        if "{{" in data or "{%" in data:
            yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _texts(value, (*path, index))


def _duplicates(check: _Check, faults: list[PlannedFault]) -> None:
    first: dict[str, PlannedFault] = {}
    for fault in faults:
        if fault.name in first:
            line = check.page.line(first[fault.name].path)
            check.wrong(fault.path, f"a fault named {fault.name!r} stands in line {line} already")
        first.setdefault(fault.name, fault)


def _environment_of(page: Source, check: _Check, given: Path | None) -> Environment | None:
    value = page.data.get("environment")
    if isinstance(value, dict):
        try:
            inline = Source(page.file, page.text, {"environment": "inline", **value})
            return _typed_environment(inline, ("environment",))
        except InputError as error:
            check.problems.extend(error.problems)
            return None
    if not isinstance(value, str):
        return None
    if given is None:
        known: dict[str, Path] = {}
        for folder in page.file.resolve().parents:
            for file in sorted((folder / "environments").glob("*.yaml")):
                known.setdefault(file.stem, file)
            if value in known or (folder / "pyproject.toml").exists() or (folder / ".git").exists():
                break
        if value not in known:
            check.wrong(("environment",), f"unknown environment {value!r}", known, value)
            return None
        given = known[value]
    try:
        return load_environment(given)
    except InputError as error:
        check.problems.extend(error.problems)
        return None


def load_environment(file: Path) -> Environment:
    """An environment from its own file. Raises InputError with every mistake of the file."""
    stat = file.stat()
    return _load_environment(file.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _load_environment(file: Path, _changed: int, _size: int) -> Environment:
    return _typed_environment(source.read(file), ())


def _typed_environment(page: Source, base: tuple[str | int, ...]) -> Environment:
    check = _Check(page)
    model: EnvironmentFile | None = check.typed(EnvironmentFile, page.data, base)
    services = page.data.get("services")
    names = frozenset(services) if isinstance(services, dict) else frozenset()
    for name, spec in services.items() if isinstance(services, dict) else ():
        path = (*base, "services", name)
        if slug(name) != name:
            check.wrong(path, f"the service name {name!r} must consist of a-z, 0-9 and -", [slug(name)])
        if not isinstance(spec, dict):
            continue
        provider = spec.get("provider")
        if isinstance(provider, str):
            if provider not in room("providers"):
                check.wrong((*path, "provider"), f"unknown provider {provider!r}", room("providers").names(), provider)
            else:
                check.typed(room("providers").get(provider).Args, spec.get("args", {}), (*path, "args"))
        for where, text in _texts(spec, path):
            for what, legal, found in template.mistakes(text, names):
                check.wrong(where, what, legal, found)
    if check.problems or model is None:
        raise InputError(check.problems)
    return Environment(
        model.environment, model.services, model.data, page.file.resolve().parent, page, model.production
    )


def changed(environment: Environment, *changes: Mapping[str, ServiceChange]) -> Environment:
    """The environment with the services changed as a scenario, then its control, say."""
    services = dict(environment.services)
    for change in changes:
        for name, new in change.items():
            spec = services[name]
            update: dict[str, Any] = {"env": {**spec.env, **new.env}}
            if new.restart is not None:
                update["restart"] = new.restart
            if new.args is not None:
                update["args"] = {**spec.args, **new.args}
            services[name] = spec.model_copy(update=update)
    return Environment(
        environment.name,
        services,
        environment.data,
        environment.folder,
        environment.source,
        environment.production,
    )
