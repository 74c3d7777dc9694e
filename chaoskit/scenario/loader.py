"""From files to Scenarios: every mistake of a file is told at once, with its line.

Rooms above this one (faults, expectations, providers) are reached through their registries by name, so the
language knows none of them.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from chaoskit.errors import InputError, Problem
from chaoskit.registry import Registry
from chaoskit.scenario import matrix, source, template
from chaoskit.scenario.check import Check
from chaoskit.scenario.model import (
    Environment,
    EnvironmentFile,
    PlannedExpectation,
    PlannedFault,
    Scenario,
    ScenarioFile,
    ServiceChange,
)
from chaoskit.scenario.names import check_names, mapping, reserved, texts
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
    scenarios, problems = [], dict[str, Problem]()
    for values in matrix.combinations(page.data.get("matrix")):
        try:
            filled = Source(page.file, page.text, matrix.fill(page.data, values)) if values else page
            scenarios.append(_scenario(filled, page.data, values, environment_file))
        except InputError as error:
            problems.update((str(problem), problem) for problem in error.problems)
    slugs = [scenario.slug for scenario in scenarios]
    for name in sorted({name for name in slugs if slugs.count(name) > 1}):
        problems[name] = page.problem(("matrix",), f"two combinations of the matrix are named {name!r}")
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


def _scenario(
    page: Source, raw: Mapping[str, Any], values: Mapping[str, Any], environment_file: Path | None
) -> Scenario:
    check = Check(page)
    data = page.data
    environment = _environment_of(page, check, environment_file)
    traffic = data.get("traffic")
    context = {
        "services": set(environment.services) if environment else None,
        "operations": set(traffic) if isinstance(traffic, dict) else None,
    }
    model: ScenarioFile | None = check.typed(ScenarioFile, data, (), context)

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
    check_names(check, raw, environment, set(values))
    _duplicates(check, faults)
    if check.problems or model is None or environment is None:
        raise InputError(check.problems)
    name = model.scenario + "".join(f" [{key}={value}]" for key, value in values.items())
    parts = [
        slug(page.file.name.removesuffix(SUFFIX)) or "scenario",
        *(f"{slug(k)}-{slug(str(v))}" for k, v in values.items()),
    ]
    return Scenario(name, "--".join(parts), page, environment, model, faults, expectations, dict(values))


def _fault(check: Check, entry: Any, path: tuple[str | int, ...], context: Any) -> PlannedFault | None:
    """``- slow-db: {latency: {on: postgres, ...}, at: 0s, for: 6s}``."""
    form = "NAME: {FAULT: {...}, at: 0s, for: 5s}"
    if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())), dict):
        check.wrong(path, "a fault has a name, a kind and a window", [form])
        return None
    ((name, body),) = entry.items()
    path = (*path, name)
    kinds = [key for key in body if key not in ("at", "for")]
    if len(kinds) != 1:
        what = (
            "no kind of fault is given"
            if not kinds
            else f"one kind of fault is expected, found {', '.join(kinds)}"
        )
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
    if timed is not None and timed.length == 0:
        check.wrong((*path, "for"), "for: a fault of 0s touches nothing")
    if kind not in room("faults"):
        check.wrong((*path, kind), f"unknown fault {kind!r}", room("faults").names(), kind)
        return None
    arguments = {} if body[kind] is None else body[kind]
    fault = check.typed(room("faults").get(kind), arguments, (*path, kind), context)
    return PlannedFault(name, kind, fault, timed.at, timed.length, path) if fault and timed else None


def _expectations(check: Check, kind: str, arguments: Any, context: Any) -> Iterator[PlannedExpectation]:
    """One expectation, or one for each block of a list of them."""
    path: tuple[str | int, ...] = ("expect", kind)
    if kind not in room("expectations"):
        check.wrong(path, f"unknown expectation {kind!r}", room("expectations").names(), kind)
        return
    if arguments == []:
        check.wrong(path, f"{kind}: nothing is expected here")
    model = room("expectations").get(kind)
    blocks = arguments if isinstance(arguments, list) else [arguments]
    for index, block in enumerate(blocks):
        place = (*path, index) if isinstance(arguments, list) else path
        expectation = check.typed(model, block, place, context)
        if expectation is not None:
            yield PlannedExpectation(kind, expectation, place)


def _duplicates(check: Check, faults: list[PlannedFault]) -> None:
    first: dict[str, PlannedFault] = {}
    for fault in faults:
        if fault.name in first:
            line = check.page.line(first[fault.name].path)
            check.wrong(fault.path, f"a fault named {fault.name!r} stands in line {line} already")
        first.setdefault(fault.name, fault)


def _environment_of(page: Source, check: Check, given: Path | None) -> Environment | None:
    value = page.data.get("environment")
    try:
        if isinstance(value, dict):
            return _typed_environment(page, {"environment": "inline", **value}, ("environment",))
        if not isinstance(value, str):
            return None
        file = given or _find_environment(page, check, value)
        return load_environment(file) if file else None
    except InputError as error:
        check.problems.extend(error.problems)
        return None


def _find_environment(page: Source, check: Check, name: str) -> Path | None:
    """``environments/NAME.yaml`` beside the file or in a folder above, up to the project's root."""
    known: dict[str, Path] = {}
    for folder in page.file.resolve().parents:
        for file in sorted((folder / "environments").glob("*.yaml")):
            known.setdefault(file.stem, file)
        if name in known or (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            break
    if name not in known:
        check.wrong(("environment",), f"unknown environment {name!r}", known, name)
    return known.get(name)


def load_environment(file: Path) -> Environment:
    """An environment from its own file. Raises InputError with every mistake of the file."""
    try:
        stat = file.stat()
    except OSError as error:
        raise InputError([Problem(source.shown(file), 1, f"cannot be read: {error.strerror}")]) from None
    return _load_environment(file.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _load_environment(file: Path, _changed: int, _size: int) -> Environment:
    page = source.read(file)
    return _typed_environment(page, page.data, ())


def _typed_environment(page: Source, data: dict[str, Any], base: tuple[str | int, ...]) -> Environment:
    check = Check(page)
    model: EnvironmentFile | None = check.typed(EnvironmentFile, data, base)
    services = mapping(data, "services")
    reserved(check, services, (*base, "services"))
    reserved(check, mapping(data, "data"), (*base, "data"))
    for name, spec in services.items():
        path = (*base, "services", name)
        if slug(name) != name or not name:
            check.wrong(
                path, f"the service name {name!r} must consist of a-z, 0-9 and -", [slug(name) or "orders"]
            )
        provider = mapping(spec).get("provider")
        if isinstance(provider, str):
            if provider not in room("providers"):
                check.wrong(
                    (*path, "provider"), f"unknown provider {provider!r}", room("providers").names(), provider
                )
            else:
                arguments = mapping(spec).get("args", {})
                check.typed(room("providers").get(provider).Args, arguments, (*path, "args"))
        for where, text in texts(spec, path):
            for what, legal, found in template.mistakes(text, frozenset(services)):
                check.wrong(where, what, legal, found)
    if model is not None and model.production:
        check.wrong(
            (*base, "production"),
            f"production: {model.environment} is marked as production: faults are not for it",
        )
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
