"""Names in a scenario that refer to something: services, operations, findings, and what templates ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaoskit.language import matrix, template
from chaoskit.language.check import Check
from chaoskit.language.model import Environment
from chaoskit.language.source import YamlPath

Texts = list[tuple[YamlPath, str]]
_SLUG = re.compile(r"[^a-z0-9]+")


def slug(text: str) -> str:
    """``text`` as an item name: ``[a-z0-9-]`` only, because Allure and ``-k`` cut other characters."""
    return _SLUG.sub("-", text.lower()).strip("-")


def check_names(check: Check, raw: Mapping[str, Any], environment: Environment | None, values: set[str]) -> None:
    """Note the names that nothing stands behind. ``raw`` is the file's data, ``values`` the matrix' names.

    Without an environment (it has mistakes of its own) the names of services are not judged.
    """
    data = check.page.data
    _operations(check, data)
    _control(check, data)
    written = texts({key: value for key, value in raw.items() if key != "matrix"})
    _matrix(check, raw, values, written)
    if environment is not None:
        _services(check, data, set(environment.services))
        _templates(check, written if raw is data else texts(data), data, environment)


def texts(data: Any, path: YamlPath = ()) -> Texts:
    """Every text that holds a template, keys included, and where it stands."""
    found: Texts = []
    _texts(data, path, found)
    return found


def _texts(data: Any, path: YamlPath, found: Texts) -> None:
    # Plain values are passed over without a call for each: files come by the thousand.
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        items = data.items()
        found.extend(((*path, key), key) for key in data if "{{" in key or "{%" in key)
    elif isinstance(data, list):
        items = enumerate(data)
    for key, value in items:
        if isinstance(value, str):
            if "{{" in value or "{%" in value:
                found.append(((*path, key), value))
        elif isinstance(value, (dict, list)):
            _texts(value, (*path, key), found)


def mapping(data: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at ``path``; empty when something else or nothing stands there."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def listed(data: Any) -> Sequence[Any]:
    """A list; empty when something else or nothing stands there."""
    return data if isinstance(data, list) else ()


def reserved(check: Check, names: Mapping[str, Any], path: YamlPath) -> None:
    """Services and data under a name that means something else in templates."""
    for name in names:
        if name in template.RESERVED:
            check.wrong((*path, name), f"the name {name!r} is taken: templates use it for something else")


def _services(check: Check, data: Mapping[str, Any], services: set[str]) -> None:
    for path in (("with",), ("control", "with")):
        for service in mapping(data, *path):
            if service not in services:
                check.wrong((*path, service), f"unknown service {service!r}", services, service)
    for name in mapping(data, "data"):
        if name in services:
            check.wrong(("data", name), f"{name!r} is a service: data under this name could not be reached")


def _operations(check: Check, data: Mapping[str, Any]) -> None:
    operations = data.get("traffic")
    if isinstance(operations, dict):
        for operation in mapping(data, "steady_state"):
            if operation not in operations:
                check.wrong(("steady_state", operation), f"unknown operation {operation!r}", operations, operation)


def _control(check: Check, data: Mapping[str, Any]) -> None:
    """What a control must violate has to be expected: ``KIND``, and ``KIND.OPERATION.METRIC`` where it has these."""
    if mapping(data, "control").get("without") == "sops" and not data.get("sops"):
        check.wrong(("control", "without"), "the scenario has no SOPs that its control could be without")
    violates = mapping(data, "control").get("violates")
    # Not steady_state: without one before the first fault a control proves nothing.
    blocks = {"recovery": None, "services": None, **mapping(data, "expect")}
    operations = set(mapping(data, "traffic"))
    for index, finding in enumerate(violates if isinstance(violates, list) else ()):
        place, known = "the scenario", blocks
        for step in str(finding).split("."):
            if step not in known:
                check.wrong(("control", "violates", index), f"{place} expects nothing named {step!r}", known, step)
                break
            place, inner = repr(step), known[step]
            # Only blocks with a mapping for each operation are sure to name their findings like their keys.
            if not isinstance(inner, dict) or not inner or not (set(inner) <= operations or known is not blocks):
                break
            known = inner


def _matrix(check: Check, raw: Mapping[str, Any], values: set[str], written: Texts) -> None:
    reserved(check, mapping(raw, "data"), ("data",))
    used: set[str] = set()
    for path, text in written:
        for name in matrix.references(text):
            used.add(name)
            if name not in values:
                check.wrong(path, f"unknown matrix value {name!r}", values, name)
    for name in sorted(values - used):
        check.wrong(("matrix", name), f"the matrix value {name!r} is used nowhere", ["{{ matrix." + name + " }}"])


def _templates(check: Check, written: Texts, data: Mapping[str, Any], environment: Environment) -> None:
    services = frozenset(environment.services)
    known = frozenset({*environment.data, *mapping(data, "data")})
    for path, text in written:
        if matrix.references(text):
            continue  # told already
        # What changes of a service is rendered when it starts, from the addresses of the services alone.
        names = known if path[0] == "traffic" else frozenset[str]()
        if path[0] in ("traffic", "with", "control"):
            for what, legal, found in template.mistakes(text, services, names):
                check.wrong(path, what, legal, found)
