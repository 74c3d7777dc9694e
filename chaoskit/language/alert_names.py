"""The names of the alerts that an environment's own rule files define: what may fire, and what may start an SOP."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chaoskit.base.errors import InputError
from chaoskit.base.plain_files import matching
from chaoskit.language import source
from chaoskit.language.check import Check
from chaoskit.language.model import Environment
from chaoskit.language.names import mapping
from chaoskit.language.source import YamlPath

PROVIDER = "prometheus"
"""The provider whose argument ``rules`` names rule files, relative to the environment's folder."""


def alert_names(environment: Environment, scenario: Mapping[str, Any]) -> frozenset[str] | None:
    """The alerts of all rule files, those included that ``scenario`` (a file's data) or its control puts in place.

    None where that cannot be known: without Prometheus, or when a file is not there or cannot be read (which is for
    the provider to tell).
    """
    patterns: list[str] = []
    for name, spec in environment.services.items():
        if spec.provider == PROVIDER:
            changes = (mapping(scenario, *path, name, "args") for path in (("with",), ("control", "with")))
            for arguments in (spec.args, *changes):
                given = arguments.get("rules", [])
                patterns += [str(each) for each in (given if isinstance(given, list) else [given])]
    found: set[str] = set()
    for pattern in patterns:
        files = matching(environment.folder, pattern)
        for file in files:
            names = _names_in(file)
            if names is None:
                return None
            found |= names
        if not files:
            return None
    return frozenset(found) if patterns else None


def sent_by_applications(scenario: Mapping[str, Any]) -> frozenset[str]:
    """The alerts that ``scenario`` (a file's data) expects from services themselves: no rule stands behind them."""
    entries = mapping(scenario, "expect").get("alerts")
    given = [entry for entry in (entries if isinstance(entries, list) else [entries]) if isinstance(entry, dict)]
    return frozenset(str(entry.get("name")) for entry in given if entry.get("source") == "application")


def check_triggers(
    check: Check, path: YamlPath, names: str | list[str] | None, known: frozenset[str] | None, *, shared: bool
) -> None:
    """Note the alerts of an SOP that are none of ``known`` (None: not to be known); ``path`` is where they stand.

    An SOP that scenarios of several environments share may name alerts of the others: one known alert is enough.
    """
    given = [names] if isinstance(names, str) else names or []
    if known is None or (shared and known.intersection(given)):
        return
    for index, name in enumerate(given):
        if name not in known:
            what = (
                f"no rule file of the environment has an alert {name!r}, and none is expected with source: application"
            )
            check.wrong((*path, index) if isinstance(names, list) else path, what, known, name)


def _names_in(file: Path) -> frozenset[str] | None:
    try:
        stat = file.stat()
        return _read(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, InputError):
        return None


@functools.lru_cache(maxsize=64)
def _read(file: Path, _changed: int, _size: int) -> frozenset[str]:
    return frozenset(_alerts(source.read(file).data))


def _alerts(data: Any) -> Iterator[str]:
    groups = mapping({"file": data}, "file").get("groups")
    for group in groups if isinstance(groups, list) else ():
        rules = mapping({"group": group}, "group").get("rules")
        for rule in rules if isinstance(rules, list) else ():
            if isinstance(rule, dict) and isinstance(rule.get("alert"), str):
                yield rule["alert"]
