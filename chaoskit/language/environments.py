"""Environments: found by name in ``environments/`` folders, or written in place; and changed for one scenario."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from chaoskit.base.errors import InputError, Problem
from chaoskit.base.plain_files import is_folder, is_plain
from chaoskit.language import source, template
from chaoskit.language.check import Check
from chaoskit.language.compose import composed_environment
from chaoskit.language.model import Environment, EnvironmentFile, ServiceChange
from chaoskit.language.names import mapping, reserved, slug, texts
from chaoskit.language.plugins import loadable, registry
from chaoskit.language.service import ServiceSpec
from chaoskit.language.source import Source

COPY = "environment.yaml"
"""What stands for a named environment in the folder of a run."""

_ROOT = ("pyproject.toml", ".git")
"""What lies in a project's root."""


def environment_of(page: Source, check: Check, recorded: Path | None) -> Environment | None:
    """The environment that a scenario names or holds; None with the mistakes noted.

    Of a named one the copy in ``recorded`` is taken, the folder of a run, if that is given.
    """
    value = page.data.get("environment")
    try:
        if isinstance(value, dict):
            return _typed_environment(page, {"environment": "inline", **value}, ("environment",))
        if not isinstance(value, str):
            return None
        file = _find_environment(page, check, value) if recorded is None else _copy(check, value, recorded)
        environment = load_environment(file, copy=recorded is not None) if file else None
        if environment is not None and recorded is None:  # a copy of a recorded run stands alone
            check.problems.extend(mistakes_in_files(environment))
        return environment
    except InputError as error:
        check.problems.extend(error.problems)
        return None


def _copy(check: Check, name: str, recorded: Path) -> Path | None:
    """The copy of an environment in the folder of a run."""
    if not (recorded / COPY).is_file():
        where = source.shown(recorded)
        what = f"environment {name!r}: {where} holds no copy of it ({COPY} is missing), and no other file is read"
        check.wrong(("environment",), what)
        return None
    return recorded / COPY


def _find_environment(page: Source, check: Check, name: str) -> Path | None:
    """``environments/NAME.yaml`` beside the file or in a folder above, up to the project's root."""
    known: dict[str, Path] = {}
    folder = page.file.absolute().parent
    for folder in page.file.absolute().parents:
        known = {**_environments_in(folder / "environments"), **known}
        if name in known or any((folder / mark).exists() for mark in _ROOT):
            break
    if name not in known:
        # A path is an easy mistake: its last part is what was meant.
        meant = PurePath(name).name.removesuffix(".yml").removesuffix(".yaml")
        what = f"unknown environment {name!r}"
        if not known:
            what += f": there is no environments/*.yaml beside this file or in a folder above it, up to {folder}"
        if elsewhere := _elsewhere(folder, meant):
            file, below = source.shown(elsewhere), source.shown(elsewhere.parent.parent)
            what += f"{': ' if known else '; '}{file} has that name: put this scenario below {below}/, or copy that"
            what += " file into a folder environments/ beside the scenario"
        check.wrong(("environment",), what, known, meant)
    return known.get(name)


def _elsewhere(root: Path, name: str) -> Path | None:
    """The environment of that name one or two folders below the project's root, where no scenario beside it looks."""
    if not any((root / mark).exists() for mark in _ROOT):
        return None  # the top of the file system: anything may lie there
    folders = (folder for levels in ("*", "*/*") for folder in sorted(root.glob(f"{levels}/environments")))
    return next((found[name] for found in map(_environments_in, folders) if name in found), None)


def _environments_in(folder: Path) -> dict[str, Path]:
    try:
        return _listed(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}  # most folders have none


@functools.lru_cache(maxsize=256)
def _listed(folder: Path, _changed: int) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_environment(file: Path, *, copy: bool = False) -> Environment:
    """An environment from its own file, or from the ``copy`` in the folder of a run, which names no other file.

    Raises InputError with every mistake of the file.
    """
    try:
        stat = file.stat()
    except OSError as error:
        raise InputError([Problem(source.shown(file), 1, f"cannot be read: {error.strerror}")]) from None
    return _load_environment(file, stat.st_mtime_ns, stat.st_size, copy)


@functools.lru_cache(maxsize=64)
def _load_environment(file: Path, _changed: int, _size: int, copy: bool) -> Environment:
    page = source.read(file)
    return _typed_environment(page, page.data, (), copy=copy)


def _typed_environment(
    page: Source, data: dict[str, Any], base: tuple[str | int, ...], *, copy: bool = False
) -> Environment:
    if "compose" in data:
        return composed_environment(page, data, base, copy=copy)
    check = Check(page)
    own, data = data, _extended(check, data, base)
    model: EnvironmentFile | None = check.validate(EnvironmentFile, data, base)
    services = mapping(data, "services")
    reserved(check, services, (*base, "services"))
    reserved(check, mapping(data, "data"), (*base, "data"))
    for name, spec in services.items():
        path = (*base, "services", name)
        if slug(name) != name or not name:
            check.wrong(path, f"the service name {name!r} must consist of a-z, 0-9 and -", [slug(name) or "orders"])
        provider = mapping(spec).get("provider")
        if isinstance(provider, str) and (known := check.plugin("providers", provider, (*path, "provider"))):
            arguments = mapping(spec).get("args", {})
            context = {"in_file": True, "services": list(services)}
            check.validate(known.Args, arguments, (*path, "args"), context)
        for where, text in texts(spec, path):
            for what, legal, found in template.mistakes(text, frozenset(services)):
                check.wrong(where, what, legal, found)
    folder = page.file.resolve().parent
    for name, spec in (model.services if model else {}).items():
        # A container has folders of its own, and a recording may lie anywhere.
        inside = copy or spec.image is not None or spec.build is not None
        if spec.cwd is not None and not inside and not is_folder(folder / spec.cwd):
            place = source.shown((folder / spec.cwd).resolve())
            check.wrong(
                (*base, "services", name, "cwd"), f"cwd: there is no folder {place}; it starts from this file's"
            )
        for companion in set(companions(name, spec)) & set(services):
            check.wrong((*base, "services", companion), f"the name {companion!r} is taken: {name} brings it along")
    if model is not None and model.production:
        check.wrong(
            (*base, "production"),
            f"production: {model.environment} is marked as production: faults are not for it",
        )
    if check.problems or model is None:
        raise InputError(check.problems)
    described: dict[str, ServiceSpec] = {}
    for name, spec in model.services.items():
        described |= {name: spec, **companions(name, spec)}
    flat = None if data is own else data
    return Environment(model.environment, described, model.data, folder, page, model.production, flat=flat)


def _extended(check: Check, data: dict[str, Any], base: tuple[str | int, ...]) -> dict[str, Any]:
    """``data`` on top of the environment that its ``extends`` names, which lies beside it; its own keys win."""
    name = data.get("extends")
    if not isinstance(name, str):
        return data  # none, or a mistake that the model tells
    file = check.page.file
    known = {other: path for other, path in _environments_in(file.absolute().parent).items() if path.name != file.name}
    if name not in known:
        check.wrong((*base, "extends"), f"unknown environment {name!r}: none beside this file", known, name)
        return {key: value for key, value in data.items() if key != "extends"}
    below = load_environment(known[name])
    if below.compose or "extends" in below.source.data:
        what = "is a Compose environment" if below.compose else "extends another one itself"
        check.wrong((*base, "extends"), f"{name} cannot be extended: it {what}")
    merged: dict[str, Any] = {**below.source.data, **{key: value for key, value in data.items() if key != "extends"}}
    for part in ("services", "data"):
        merged[part] = _merged(below.source.data.get(part, {}), data.get(part, {}))
    return merged


def _merged(below: Any, own: Any) -> Any:
    """Mappings key by key, anything else as it is said here."""
    if not isinstance(below, dict) or not isinstance(own, dict):
        return own
    return {**below, **{key: _merged(below[key], value) if key in below else value for key, value in own.items()}}


def check_changes(check: Check, data: Mapping[str, Any], environment: Environment) -> None:
    """Note what is wrong with the arguments of providers that a scenario (its ``data``) and its control change."""
    for path in (("with",), ("control", "with")):
        for name in mapping(data, *path):
            spec = environment.services.get(name)
            changes = mapping(data, *path, name, "args")
            if not changes or spec is None or spec.provider is None or spec.provider not in registry("providers"):
                continue
            arguments = {**spec.args, **mapping(data, "with", name, "args"), **changes}
            context = {"in_file": True, "services": list(environment.services)}
            check.validate(registry("providers").get(spec.provider).Args, arguments, (*path, name, "args"), context)


def mistakes_in_files(environment: Environment, *, embedded: bool = False) -> list[Problem]:
    """What is wrong with the files that its providers' arguments name, ``embedded`` also what our stand-ins lack."""
    found: list[Problem] = []
    for name, spec in environment.services.items():
        if spec.provider is not None and spec.provider in registry("providers"):
            provider = registry("providers").get(spec.provider)
            problems = provider.mistakes_in_files(spec, environment.folder, embedded=embedded)
            found += [_where_named(environment, name, problem) for problem in problems]
    return found


def _where_named(environment: Environment, service: str, problem: Problem) -> Problem:
    """A file that is not there has no lines: the mistake is where the environment names it."""
    file = Path(problem.file)
    if is_plain(file):
        return problem
    page, folder = environment.source, environment.folder
    path: tuple[str | int, ...] = ("services", service, "args")
    if "services" not in page.data:
        path = ("environment", *path)
    written = file.name
    for key, value in environment.services[service].args.items():
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(each, str) and source.shown(folder / each) == file:
                path, written = (*path, key, *([index] if isinstance(value, list) else [])), each
    others = [
        os.path.relpath(each, folder) for each in file.parent.glob("*.y*ml") if each.resolve() != page.file.resolve()
    ]
    return page.problem(path, f"{service}: {file}: {problem.what}", sorted(others), written)


def companions(name: str, spec: ServiceSpec) -> Mapping[str, ServiceSpec]:
    """The services that a service brings along: a database its replica."""
    provider = None if spec.provider is None else loadable("providers", spec.provider)
    found: Mapping[str, ServiceSpec] = {} if provider is None else provider.companions(name, spec)
    return found


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
            services.update(companions(name, services[name]))
    return Environment(
        environment.name,
        services,
        environment.data,
        environment.folder,
        environment.source,
        environment.production,
        environment.compose,
        environment.flat,
    )
