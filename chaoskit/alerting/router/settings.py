"""The configuration that the provider writes, as objects: the tree of routes, inhibitions, receivers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.rules import durations, matchers
from chaoskit.rules.matchers import Matchers

EVERYTHING = "..."
"""In ``group_by``: by all labels."""


@dataclass(frozen=True)
class Route:
    """A node of the tree, with what it takes over from its parent. Times are seconds."""

    receiver: str
    matchers: Matchers
    group_by: Sequence[str]
    group_wait: float
    group_interval: float
    repeat_interval: float
    goes_on: bool
    routes: Sequence[Route]
    key: str

    def match(self, labels: Mapping[str, str]) -> Iterator[Route]:
        """The routes that an alert takes: the deepest ones that fit, the first unless they go on."""
        if not self.matchers.fit(labels):
            return
        anything = False
        for child in self.routes:
            taken = list(child.match(labels))
            yield from taken
            anything = anything or bool(taken)
            if taken and not child.goes_on:
                break
        if not anything:
            yield self

    def group(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels by which alerts on this route are told together."""
        if EVERYTHING in self.group_by:
            return dict(labels)
        return {name: labels[name] for name in self.group_by if name in labels}


@dataclass(frozen=True)
class Inhibition:
    """An alert that fits ``source`` silences those that fit ``target`` and have the same values of ``equal``."""

    source: Matchers
    target: Matchers
    equal: Sequence[str]


@dataclass(frozen=True)
class Webhook:
    """Where a receiver is told."""

    url: str
    send_resolved: bool


@dataclass(frozen=True)
class Settings:
    """``resolve_timeout`` (seconds) is how long an alert without an end lasts."""

    host: str
    port: int
    route: Route
    receivers: Mapping[str, Sequence[Webhook]]
    inhibitions: Sequence[Inhibition]
    resolve_timeout: float


def read(words: Sequence[str] | None = None) -> Settings:
    """From the command line and the file it names. Raises OSError, ValueError or SystemExit for what is wrong."""
    import yaml

    parser = argparse.ArgumentParser(prog="python -m chaoskit.alerting.router", description=__doc__)
    parser.add_argument("--config.file", dest="config", type=Path, required=True)
    parser.add_argument("--web.listen-address", dest="listen", required=True)
    parser.add_argument("--storage.path", dest="data", help="ignored: everything is kept in memory")
    parser.add_argument("--cluster.listen-address", dest="cluster", help="ignored: it is alone")
    said = parser.parse_args(words)
    config: Any = yaml.safe_load(said.config.read_text(encoding="utf-8"))
    host, _, port = said.listen.rpartition(":")
    return Settings(
        host=host,
        port=int(port),
        route=_route(config["route"], None, "{}"),
        receivers={str(each["name"]): _webhooks(each) for each in config["receivers"]},
        inhibitions=[_inhibition(each) for each in config.get("inhibit_rules") or ()],
        resolve_timeout=_seconds(config.get("global") or {}, "resolve_timeout", 300.0),
    )


def _route(said: Any, parent: Route | None, key: str) -> Route:
    """``said`` on top of its parent; Alertmanager's defaults for the first."""
    found = Route(
        receiver=str(said["receiver"]) if parent is None else str(said.get("receiver", parent.receiver)),
        matchers=matchers.of(said),
        group_by=said.get("group_by", parent.group_by if parent else ()),
        group_wait=_seconds(said, "group_wait", parent.group_wait if parent else 30.0),
        group_interval=_seconds(said, "group_interval", parent.group_interval if parent else 300.0),
        repeat_interval=_seconds(said, "repeat_interval", parent.repeat_interval if parent else 4 * 3600.0),
        goes_on=bool(said.get("continue", False)),
        routes=(),
        key=key,
    )
    children = [_route(each, found, f"{key}/{number}") for number, each in enumerate(said.get("routes") or ())]
    return Route(**{**found.__dict__, "routes": children})


def _seconds(said: Mapping[str, Any], name: str, otherwise: float) -> float:
    return durations.parse(said[name]) / 1000 if name in said else otherwise


def _webhooks(receiver: Any) -> list[Webhook]:
    return [Webhook(each["url"], each.get("send_resolved", True)) for each in receiver.get("webhook_configs") or ()]


def _inhibition(said: Any) -> Inhibition:
    source, target = matchers.of(said, "source_"), matchers.of(said, "target_")
    return Inhibition(source, target, said.get("equal", ()))
