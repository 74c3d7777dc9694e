"""From what a team's Compose file means to what is run: the same services, under names and labels of the run.

Pure: data in, data out. What is changed, and nothing else:

- A proxied service ``postgres`` becomes ``postgres-direct`` for Compose and on its networks; ``postgres``, its other
  aliases and its container name are free for the proxy.
- Containers, networks and volumes get names of the run, and labels: runs side by side do not meet.
- Published ports are dropped (ours are published instead, where nobody else can reach them), as is ``restart`` (the
  run's supervisor does that, on the record), and more than one copy of a service.
- ``depends_on`` is dropped, as we start the containers, in that order. (Compose v1 waits for conditions even where it
  is to start nothing.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.language.compose import HOST_NETWORK

_DROPPED = ("container_name", "ports", "restart", "scale", "profiles", "extends", "links", "depends_on", "develop")


@dataclass
class Facts:
    """What is known of one service.

    ``service`` is what Compose calls it now, ``ports`` what it listens on (TCP, the published ones first), ``needs``
    what it waits for, each with its condition, ``networks`` where it is, each with the names that lead to it there.
    ``hidden``: no network of it can be reached from outside.
    """

    service: str
    image: str
    built: bool
    environment: dict[str, str]
    ports: list[int] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)
    networks: dict[str, list[str]] = field(default_factory=dict)
    hidden: bool = False
    init: bool = False


def facts_of(
    config: Mapping[str, Any], names: Collection[str], proxied: Collection[str], prefix: str
) -> dict[str, Facts]:
    """What is known of each service. Raises BrokenError for what cannot be run, or would touch what is not ours."""
    services = config.get("services") or {}
    for name in names:
        if name not in services:
            raise BrokenError(f"the Compose tool knows no service {name}; it found {', '.join(services)}")
    for kind in ("networks", "volumes"):
        for name, its in (config.get(kind) or {}).items():
            if (its or {}).get("external"):
                raise BrokenError(
                    f"the {kind[:-1]} {name} is external: it belongs to others, and a run touches only its own. Add a "
                    f"second file to compose: that says {kind}: {{{name}: {{external: false}}}}"
                )
    found = {name: _facts(name, services[name], name in proxied, prefix) for name in names}
    for name in names:
        for link in services[name].get("links") or ():
            target, _, alias = str(link).partition(":")
            for its in found[target].networks.values() if target in found and alias else ():
                its.append(alias)
    internal = {name for name, its in (config.get("networks") or {}).items() if (its or {}).get("internal")}
    for its in found.values():
        its.hidden = bool(its.networks) and set(its.networks) <= internal
    return found


def rewrite(
    config: Mapping[str, Any],
    facts: Mapping[str, Facts],
    *,
    project: str,
    labels: Mapping[str, str],
    proxied: Collection[str],
    ports: Mapping[str, list[str]],
    environment: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The Compose file to run. ``ports`` and ``environment`` are added, by the names in the team's file."""
    renamed = {name: its.service for name, its in facts.items()}
    used = {network for its in facts.values() for network in its.networks}
    result: dict[str, Any] = {
        key: value for key, value in config.items() if key not in ("version", "name", "services", "networks", "volumes")
    }
    result["services"] = {
        renamed[name]: {
            **_service(config["services"][name], renamed),
            "image": its.image,
            "container_name": container_name(project, name),
            "labels": {**_mapping(config["services"][name].get("labels")), **labels, "chaoskit.service": name},
            "environment": {
                **_mapping(config["services"][name].get("environment")),
                **{key: escaped(value) for key, value in environment.get(name, {}).items()},
            },
            **({"ports": ports[name]} if ports.get(name) else {}),
            **_networks(config["services"][name], its, name in proxied),
        }
        for name, its in facts.items()
    }
    for kind, wanted in (("networks", used), ("volumes", config.get("volumes") or {})):
        given = config.get(kind) or {}
        result[kind] = {
            name: {
                **{key: value for key, value in (given.get(name) or {}).items() if key != "external"},
                "name": f"{project}_{name}",
                "labels": {**_mapping((given.get(name) or {}).get("labels")), **labels},
            }
            for name in wanted
        }
    return result


def container_name(project: str, service: str) -> str:
    """What a service's container is called."""
    return f"{project}-{service}"


def escaped(value: str) -> str:
    """A text that Compose takes as it is."""
    return value.replace("$", "$$")


def plain(value: object) -> str:
    """A value as the tool writes it, without its escapes."""
    return str(value).replace("$$", "$")


def _facts(name: str, its: Mapping[str, Any], proxied: bool, prefix: str) -> Facts:
    mode = str(its.get("network_mode") or "")
    if mode == "host":
        raise BrokenError(f"{name} says network_mode: host: {HOST_NETWORK}")
    if mode and proxied:
        raise BrokenError(f"{name} says network_mode: {mode}: no proxy can take its name there")
    if its.get("external_links"):
        raise BrokenError(f"{name} says external_links: they lead to containers that are not of the run")
    built = bool(its.get("build"))
    return Facts(
        service=f"{name}-direct" if proxied else name,
        image=str(its.get("image") or f"{prefix}-{name}"),
        built=built,
        environment={key: plain(value) for key, value in _mapping(its.get("environment")).items() if value is not None},
        ports=list(dict.fromkeys([*_ports(its.get("ports")), *_ports(its.get("expose"))])),
        needs={
            **_needs([str(one).partition(":")[0] for one in its.get("links") or ()]),
            **_needs(its.get("depends_on")),
        },
        networks={} if mode else _names(name, its),
        init=bool(its.get("init")),
    )


def _names(name: str, its: Mapping[str, Any]) -> dict[str, list[str]]:
    """The networks of a service, and what it is called on each."""
    given = its.get("networks") or {"default": None}
    said = dict.fromkeys(given) if isinstance(given, list) else dict(given)
    own = [name, *([str(its["container_name"])] if its.get("container_name") else [])]
    return {
        network: list(dict.fromkeys([*own, *((options or {}).get("aliases") or ())]))
        for network, options in said.items()
    }


def _networks(its: Mapping[str, Any], facts: Facts, proxied: bool) -> dict[str, Any]:
    """Its networks for Compose, which adds the service's own name by itself: a proxied one gives its names away."""
    if not facts.networks:
        return {}
    given = its.get("networks") or {}
    options = given if isinstance(given, dict) else {}
    return {
        "networks": {
            network: {**(options.get(network) or {}), "aliases": [] if proxied else names}
            for network, names in facts.networks.items()
        }
    }


def _service(its: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """A service as it was, without what is dropped, and with the new names of others."""
    kept = {key: value for key, value in its.items() if key not in _DROPPED}
    if its.get("volumes_from"):
        kept["volumes_from"] = [_renamed(str(one), renamed) for one in its["volumes_from"]]
    for key in ("network_mode", "pid", "ipc"):
        kind, _, other = str(its.get(key) or "").partition(":")
        if kind == "service":
            kept[key] = f"service:{renamed.get(other, other)}"
    if kept.get("hostname") and renamed.get(str(kept["hostname"]), kept["hostname"]) != kept["hostname"]:
        del kept["hostname"]
    if isinstance(its.get("deploy"), dict):
        kept["deploy"] = {
            key: value for key, value in its["deploy"].items() if key not in ("replicas", "restart_policy")
        }
    return kept


def _renamed(reference: str, renamed: Mapping[str, str]) -> str:
    name, separator, mode = reference.partition(":")
    return f"{renamed.get(name, name)}{separator}{mode}"


def _needs(given: Any) -> dict[str, str]:
    if isinstance(given, dict):
        return {name: str((how or {}).get("condition", "service_started")) for name, how in given.items()}
    return dict.fromkeys(given or (), "service_started")


def _mapping(given: Any) -> dict[str, Any]:
    """``{A: b}`` or ``[A=b]``."""
    if isinstance(given, dict):
        return dict(given)
    pairs = (str(one).partition("=") for one in given or ())
    return {name: value if separator else None for name, separator, value in pairs}


def _ports(given: Any) -> Iterator[int]:
    """The TCP ports inside: of ``8080:80``, ``127.0.0.1:8080-8081:80-81``, ``80``, ``{target: 80}``."""
    for one in given or ():
        text, protocol = (one.get("target"), one.get("protocol", "tcp")) if isinstance(one, dict) else _split(str(one))
        if protocol != "tcp":
            continue
        first, _, last = str(text).partition("-")
        if first.isdigit() and (last or first).isdigit():
            yield from range(int(first), int(last or first) + 1)


def _split(text: str) -> tuple[str, str]:
    port, _, protocol = text.rpartition(":")[2].partition("/")
    return port, protocol or "tcp"
