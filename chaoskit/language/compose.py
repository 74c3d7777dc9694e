"""Environments that are a team's own Compose file: what is read of it at load, without any tool.

Only names are needed here: which services there are. What the file means in full (variables, ``extends``, anchors of
other files) is for the Compose tool to say, when the environment starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from chaoskit.base.errors import ChaosError, InputError
from chaoskit.base.plain_files import is_plain
from chaoskit.language import interpolation, source, template
from chaoskit.language.check import Check
from chaoskit.language.model import Environment
from chaoskit.language.names import listed, mapping, reserved, texts
from chaoskit.language.service import ReadySpec, ServiceSpec
from chaoskit.language.source import Source
from chaoskit.language.types import Model, problem

COPY = "compose-services.yml"
"""What stands for the Compose files in the folder of a run: the names of the services, which judging needs."""

HOST_NETWORK = (
    "it would listen on this machine's own addresses, and no proxy could stand in front of anything it dials; give it "
    "a network of the file"
)
"""Why a service cannot share this machine's network."""

_NOT_OURS = ("command", "image", "build", "provider", "args", "cwd", "tmpfs", "proxy")
_DEEPEST = 20
"""Files that include each other in a row."""
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_SUPERVISED: Mapping[str, Literal["always", "on-failure"]] = {
    "always": "always",
    "unless-stopped": "always",
    "on-failure": "on-failure",
}


class SqlSpec(Model):
    """How a PostgreSQL database is read directly; what is not given comes from ``POSTGRES_USER`` and its like.

    ``reset: restore`` brings back, between scenarios, what it held when the services were ready, but for the tables of
    ``keep``.
    """

    user: str | None = None
    password: str | None = None
    database: str | None = None
    reset: Literal["none", "restore"] = "none"
    keep: list[str] = []


class ComposedSpec(ServiceSpec):
    """A service of a Compose file: that file says what to run, this what chaoskit needs to know more about it."""

    ready: ReadySpec = Field(
        ReadySpec.model_validate({"within": "60s"}), description="else its health check, else its port"
    )
    restart: Literal["never", "on-failure", "always"] = Field("never", description="else as the Compose file says")
    proxy: bool = False
    job: bool = Field(False, description="it runs to its end instead of serving, as a migration does")
    sql: SqlSpec = SqlSpec()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        legal = sorted(set(type(self).model_fields) - set(_NOT_OURS))
        for key in (name for name in _NOT_OURS if name in self.model_fields_set):
            where = "the list proxy: of the environment" if key == "proxy" else "the Compose file"
            raise problem(f"{key}: {where} says that", legal)
        return self


class ComposeEnvironmentFile(Model):
    """An environment that is a Compose file: ``proxy`` names the services to stand in front of."""

    environment: str
    compose: str | list[str] = Field(description="the Compose file, or several as with -f; never changed")
    production: bool = False
    proxy: list[str] = []
    services: dict[str, ComposedSpec] = {}
    data: dict[str, Any] = {}


def composed_environment(
    page: Source, data: dict[str, Any], base: tuple[str | int, ...], *, copy: bool = False
) -> Environment:
    """The environment that a file with ``compose:`` describes; of a ``copy`` (:func:`copies`) no other file is read.

    Raises InputError with every mistake.
    """
    check = Check(page)
    if copy and data.get("compose") != COPY:
        check.wrong(("compose",), f"compose: a recording holds the copy {COPY}, and no other file is read", [COPY])
        raise InputError(check.problems)
    if base:
        check.wrong((*base, "compose"), "compose: needs an environment with a file of its own, not one in a scenario")
        raise InputError(check.problems)
    model: ComposeEnvironmentFile | None = check.validate(ComposeEnvironmentFile, data, base)
    files = _files(check, data.get("compose"))
    described = _services(check, files, copy=copy)
    if described is not None:
        _names(check, data, described)
    if model is not None and model.production:
        check.wrong(("production",), f"production: {model.environment} is marked as production: faults are not for it")
    for name, its in () if copy else (described or {}).items():
        if interpolation.filled(mapping(its).get("network_mode"), interpolation.known(files[0].parent)) == "host":
            check.wrong(("compose",), f"compose: {name} says network_mode: host: {HOST_NETWORK}")
    if check.problems or model is None or described is None:
        raise InputError(check.problems)
    services: dict[str, ServiceSpec] = {}
    for name, its in described.items():
        spec = model.services.get(name, ComposedSpec())
        update: dict[str, Any] = {"proxy": name in model.proxy}
        if "restart" not in spec.model_fields_set:
            policy = str(mapping(its).get("restart", "")).partition(":")[0]
            update["restart"] = _SUPERVISED.get(policy, "never")
        services[name] = spec.model_copy(update=update)
    folder = page.file.resolve().parent
    return Environment(model.environment, services, model.data, folder, page, model.production, tuple(files))


def copies(environment: Environment) -> dict[str, str]:
    """Text by file name: what stands for the environment where its Compose files are not at hand."""
    its = {
        "services": {name: {"restart": _policy(spec)} for name, spec in environment.services.items()},
    }
    said = {**environment.source.data, "compose": COPY}
    return {COPY: yaml.safe_dump(its), "environment.yaml": yaml.safe_dump(said, sort_keys=False)}


def resolved(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The services of Compose files with variables filled in, and what ``env_file`` says in ``environment``.

    As near to what Compose makes of them as can be known without it; ``extends`` is left alone.
    """
    known = interpolation.known(files[0].parent)
    found: dict[str, dict[str, Any]] = {}
    for name, its in (each for file in files for each in _read(file, (), {}).items()):
        its = interpolation.filled(its, known)
        said: dict[str, str] = {}
        for file in _env_files(its):
            said |= interpolation.env_file(file, known)
        given = its.get("environment")
        words = [str(one) for one in listed(given)]
        pairs = given.items() if isinstance(given, dict) else (word.partition("=")[::2] for word in words)
        bare = {word for word in words if "=" not in word}
        for variable, value in pairs:
            if value is not None and variable not in bare:
                said[str(variable)] = str(value)
            elif str(variable) in known:
                said[str(variable)] = known[str(variable)]
        before = found.get(name, {"environment": {}})
        found[name] = {**before, **its, "environment": {**before["environment"], **said}}
    return found


def unseen(files: Sequence[Path]) -> Iterator[str]:
    """What of Compose files is not known before the Compose tool is asked."""
    for name, its in resolved(files).items():
        if its.get("extends"):
            yield f"what {name} extends in the Compose file"
        for file in _env_files(its):
            if not is_plain(file):
                yield f"the env_file {file.name} of {name}, which is not there"


def _env_files(its: Mapping[str, Any]) -> Iterator[Path]:
    given = its.get("env_file")
    for one in given if isinstance(given, list) else [given] if given else []:
        yield Path(str(mapping(one).get("path", one)))


def _policy(spec: ServiceSpec) -> str:
    return "no" if spec.restart == "never" else spec.restart


def _files(check: Check, said: Any) -> list[Path]:
    """The Compose files that are there; what is not is noted."""
    folder = check.page.file.resolve().parent
    found = []
    for index, name in enumerate([said] if isinstance(said, str) else said if isinstance(said, list) else []):
        file = folder / str(name)
        if is_plain(file):
            found.append(file.resolve())
            continue
        there = [one.name for pattern in ("*.yml", "*.yaml") for one in folder.glob(pattern) if one != check.page.file]
        path = ("compose",) if isinstance(said, str) else ("compose", index)
        check.wrong(path, f"compose: there is no file {name} beside this one", there, str(name))
    return found


def _services(check: Check, files: Sequence[Path], *, copy: bool) -> dict[str, Any] | None:
    """All services that the files describe and that are started, or None with the mistakes noted."""
    found: dict[str, Any] = {}
    try:
        for file in files:
            for name, its in _read(file, (), {}, copy=copy).items():
                found[name] = {**mapping(found.get(name)), **mapping(its)}
    except InputError as error:
        for each in error.problems:
            check.wrong(("compose",), f"compose: {each}")
        return None
    except ChaosError as error:
        check.wrong(("compose",), f"compose: {error}")
        return None
    if not found and files:
        check.wrong(("compose",), f"compose: {', '.join(file.name for file in files)} describes no services")
    return {name: its for name, its in found.items() if not its.get("profiles")} if found else None


def _read(
    file: Path, including: tuple[Path, ...], known: dict[Path, dict[str, Any]], *, copy: bool = False
) -> dict[str, Any]:
    """The services of one Compose file and of those that it includes; a ``copy`` includes none.

    ``known`` holds what was included before: a file that others include often is read once. Raises ChaosError.
    """
    data = source.read(file, tags=True).data
    if not isinstance(data.get("services", {}), dict):
        raise ChaosError(f"{file.name} is no Compose file: it has no mapping services:")
    found: dict[str, Any] = {}
    include = data.get("include")
    if copy and include:
        raise ChaosError(f"{file.name} is a copy in a recording, and includes no other file")
    for entry in listed(include):
        path = mapping(entry).get("path", entry)
        for one in path if isinstance(path, list) else [path]:
            other = file.parent / str(one)
            if is_plain(other):
                other = other.resolve()
            if len(including) > _DEEPEST:
                raise ChaosError(f"{file.name} is included by way of more than {_DEEPEST} files")
            if other not in including:
                known[other] = known[other] if other in known else _read(other, (*including, file), known)
                found |= known[other]
    own = {str(name): dict(mapping(its)) for name, its in data.get("services", {}).items()}
    for its in (its for its in own.values() if its.get("env_file")):
        its["env_file"] = [str(file.parent / one) for one in _env_files(its)]
    return found | own


def _names(check: Check, data: Mapping[str, Any], services: Mapping[str, Any]) -> None:
    """Names that no service of the Compose file bears, and those that cannot be used."""
    for name in services:
        if not _NAME.fullmatch(name):
            check.wrong(("compose",), f"compose: the service name {name!r} must consist of letters, digits, . _ and -")
    proxy = data.get("proxy")
    wanted: list[tuple[tuple[str | int, ...], Any]]
    wanted = [(("proxy", index), name) for index, name in enumerate(proxy if isinstance(proxy, list) else ())]
    wanted += [(("services", name), name) for name in mapping(data, "services")]
    for path, name in wanted:
        if not isinstance(name, str):
            continue  # told already
        if name not in services:
            told = f"the Compose file starts no service {name!r} (those with profiles: are left out)"
            check.wrong(path, told, services, name)
        elif path[0] == "proxy" and f"{name}-direct" in services:
            check.wrong(path, f"the name {name}-direct is taken: it leads to {name} past its proxy")
    reserved(check, services, ("compose",))
    reserved(check, mapping(data, "data"), ("data",))
    for where, text in texts(mapping(data, "services"), ("services",)):
        for what, legal, found in template.mistakes(text, frozenset(services)):
            check.wrong(where, what, legal, found)
