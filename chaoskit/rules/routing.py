"""A team's Alertmanager configuration: read, and copied for a rehearsal that must page nobody.

What decides who is told (the tree of routes, matchers, inhibitions) stays; how they are told does not: the channels of
a receiver (pager, chat, mail) give way to one webhook.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chaoskit.base.errors import InputError, Problem
from chaoskit.language import source
from chaoskit.language.source import Source, YamlPath, shown
from chaoskit.rules import durations, matchers
from chaoskit.rules.speed_up import Copy

_DROPPED = ("templates",)
"""Of the file: only the channels that are replaced use them."""
_KEPT_GLOBAL = ("resolve_timeout",)
_ROUTE_KEYS = frozenset(
    {
        "receiver", "group_by", "continue", "match", "match_re", "matchers", "group_wait", "group_interval",
        "repeat_interval", "mute_time_intervals", "active_time_intervals", "routes",
    }
)  # fmt: skip
_TIMES = ("group_wait", "group_interval", "repeat_interval")


@dataclass(frozen=True)
class Routing:
    """A configuration without mistakes."""

    page: Source

    @property
    def data(self) -> Any:
        """What the YAML holds."""
        return self.page.data

    @property
    def receivers(self) -> list[str]:
        """The names of the receivers."""
        return [str(receiver["name"]) for receiver in self.data["receivers"]]


def load(file: Path) -> Routing:
    """Alertmanager's configuration. Raises InputError with the mistakes of its routes and receivers."""
    page = source.read(file)
    problems = list(_mistakes(page))
    if problems:
        raise InputError(problems)
    return Routing(page)


def _mistakes(page: Source) -> Iterator[Problem]:
    data = page.data
    receivers = data.get("receivers")
    named = isinstance(receivers, list) and all(isinstance(each, dict) and "name" in each for each in receivers)
    if not named or not isinstance(data.get("route"), dict):
        yield page.problem((), "an Alertmanager configuration has a route and receivers with names")
        return
    names = [str(receiver["name"]) for receiver in receivers]
    if "receiver" not in data["route"]:
        yield page.problem(("route",), "the first route must name a receiver", names)
    for path, route in walk(data["route"]):
        if not isinstance(route, dict):
            yield page.problem(path, "a route is a mapping")
            continue
        for key in route:
            if key not in _ROUTE_KEYS:
                yield page.problem((*path, key), f"unknown key {key!r} of a route", sorted(_ROUTE_KEYS), str(key))
        if "receiver" in route and str(route["receiver"]) not in names:
            name = str(route["receiver"])
            yield page.problem((*path, "receiver"), f"unknown receiver {name!r}", names, name)
        for key in _TIMES:
            try:
                durations.parse(route.get(key, "0"))
            except ValueError as error:
                yield page.problem((*path, key), f"{key}: {error}")
        if not _texts_or_nothing(route.get("group_by")):
            yield page.problem((*path, "group_by"), "group_by is a list of labels")
        if not isinstance(route.get("routes") or [], list):
            yield page.problem((*path, "routes"), "routes is a list")
        yield from _matcher_mistakes(page, path, route, "")
    if not isinstance(data.get("global") or {}, dict):
        yield page.problem(("global",), "global is a mapping")
    rules = data.get("inhibit_rules") or []
    if not isinstance(rules, list):
        yield page.problem(("inhibit_rules",), "inhibit_rules is a list")
        return
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict):
            yield page.problem(("inhibit_rules", index), "an inhibition is a mapping")
            continue
        if not _texts_or_nothing(rule.get("equal")):
            yield page.problem(("inhibit_rules", index, "equal"), "equal is a list of labels")
        for side in ("source_", "target_"):
            yield from _matcher_mistakes(page, ("inhibit_rules", index), rule, side)


def _texts_or_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _matcher_mistakes(page: Source, path: YamlPath, said: Any, side: str) -> Iterator[Problem]:
    try:
        matchers.of(said, side)
    except ValueError as error:
        yield page.problem((*path, f"{side}matchers"), str(error))


def walk(route: Any, path: YamlPath = ("route",)) -> Iterator[tuple[YamlPath, Any]]:
    """Every route of the tree, and where it stands."""
    yield path, route
    inner = route.get("routes") if isinstance(route, dict) else None
    for index, child in enumerate(inner if isinstance(inner, list) else ()):
        yield from walk(child, (*path, "routes", index))


def copied(routing: Routing, url: str, waits: Mapping[str, float]) -> Copy:
    """The configuration for a rehearsal: receivers post to ``url``/NAME, ``waits`` (seconds) for all."""
    import yaml

    page, data = routing.page, copy.deepcopy(routing.data)
    changes: list[str] = []

    def note(path: YamlPath, what: str) -> None:
        changes.append(f"{shown(page.file)}:{page.line(path)}: {what}")

    for key in _DROPPED:
        if data.pop(key, None):
            note((key,), f"{key}: left out")
    if dropped := [key for key in data.get("global") or {} if key not in _KEPT_GLOBAL]:
        data["global"] = {key: value for key, value in data["global"].items() if key in _KEPT_GLOBAL}
        note(("global",), f"global: {', '.join(dropped)} left out")
    for index, receiver in enumerate(data["receivers"]):
        channels = [key for key in receiver if key != "name"]
        name = str(receiver["name"])
        data["receivers"][index] = {"name": name}
        if channels:  # a receiver without any tells nobody: that is the team's intention
            webhook = {"url": f"{url}/{quote(name, safe='')}", "send_resolved": True}
            data["receivers"][index]["webhook_configs"] = [webhook]
            note(("receivers", index), f"receiver {name}: {', '.join(channels)} → a webhook to the alert sink")
    for path, route in walk(data["route"]):
        for key, seconds in waits.items():
            before, after = route.pop(key, None), durations.write(seconds * 1000)
            if len(path) == 1:
                route[key] = after
            if before is not None and durations.parse(before) != durations.parse(after):
                note((*path, key), f"{key} {before} → {after}")
    return Copy(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), changes)
