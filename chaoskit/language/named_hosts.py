"""The blast radius: a scenario touches this machine's loopback and its own services; any other host is allowed by name.

Looked for are hosts that a file says in so many words: in the requests of the traffic, and in the variables and
command lines of services, where a URL (or a variable whose name ends in HOST) tells what they will connect to. What
a service connects to on its own account cannot be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.base.blast_radius import OPTION, BlastRadius, number_of, plain
from chaoskit.base.errors import ChaosError, InputError, Problem
from chaoskit.language import compose
from chaoskit.language.model import Environment
from chaoskit.language.names import listed, mapping
from chaoskit.language.scenario import Scenario
from chaoskit.language.source import Source, YamlPath
from chaoskit.language.template import ADDRESS, constants_and_names

_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_AUTHORITY = re.compile(r"\b[a-z][a-z0-9+.-]*://([^/\s?#'\"<>{}()|`]*)", re.IGNORECASE)
_LISTED = re.compile(r"[,;|&]\s*(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
"""Between the URLs of a list."""
_HOST_VARIABLE = re.compile(r"(?<!V)(?<!VIRTUAL_)HOST$", re.IGNORECASE)
"""But for virtual hosts, which are names that are listened for, or parts of a broker."""
_A_HOST = re.compile(r"(?!(?:true|false|yes|no|on|off|null|none|\d{1,3})$)[\w.:\[\]-]+", re.IGNORECASE)
_NO_HOST = ("", "+", "*")
"""To listen on all addresses."""
_SIMPLE = re.compile(r"\{\{-?\s*(?:pick\(\s*)?(?P<name>\w+)(?:\.\w+|\[[^\]]*\])*\s*\)?\s*-?\}\}")
"""An expression whose every value stands in a file: ``{{ orders.url }}``, ``{{ data }}``, ``{{ pick(hosts) }}``."""
_HOLE = re.compile(r"\x00(\d+)\x00")


@dataclass(frozen=True)
class Outside:
    """A host beyond the blast radius, and where a file names it."""

    host: str
    where: str
    page: Source
    path: YamlPath

    @property
    def problem(self) -> Problem:
        """Why it is refused, and what to do if it is meant."""
        told = f"{self.where} leads to {self.host}, which is neither on loopback nor a service of the environment"
        return self.page.problem(self.path, f"{told}; if that is meant: {OPTION} {self.host}")


def allowed_hosts(words: Iterable[str]) -> frozenset[str]:
    """What was given to ``--chaos-allow``, each a host's name or number. Raises ChaosError for anything else."""
    return frozenset(_allowed(word) for word in words if word.strip())


def _allowed(word: str) -> str:
    host = plain(word)
    if number_of(host) is None and not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", host):
        raise ChaosError(
            f"{OPTION} {word.strip()}: a host is allowed by its name or number alone, for example "
            f"{OPTION} staging.example.com; no URL, port or wildcard"
        )
    return host


def outside(scenario: Scenario, allowed: Collection[str] = ()) -> Iterator[Outside]:
    """Every host that a scenario and its environment name and may not touch."""
    environment, model = scenario.environment, scenario.model
    look = _Look(frozenset(environment.services), {**environment.data, **model.data}, allowed)
    for name, operation in model.traffic.items():
        for host in look.request(operation.url):
            yield Outside(host, f"the request of {name}", scenario.source, ("traffic", name, "request"))
    changes: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [(("with",), model.with_)]
    if model.control is not None:
        changes.append((("control", "with"), model.control.with_))
    for path, change in changes:
        for service, new in change.items():
            for variable, value in new.env.items():
                for host in look.variable(variable, str(value)):
                    where = f"{variable} of {service}"
                    yield Outside(host, where, scenario.source, (*path, service, "env", variable))
    for sop in scenario.sops:
        # What a template makes of an alert is seen when the step is done, and refused then.
        written = sop.source.data
        for step in sop.base:
            written = written[step]
        for host in (host for text in _texts(written) for host in look.request(_without_method(text))):
            yield Outside(host, f"the SOP {sop.name}", sop.source, sop.base)
    yield from outside_of(environment, allowed)


def _without_method(text: str) -> str:
    """``POST {{ pager.url }}/notify``: what follows the method."""
    method, separator, url = text.partition(" ")
    return url.strip() if separator and method.isalpha() and method.isupper() else text


def outside_of(environment: Environment, allowed: Collection[str] = ()) -> Iterator[Outside]:
    """Every host that an environment names and its services may not touch."""
    if environment.compose:
        yield from _outside_of_compose(environment, allowed)
    look = _Look(frozenset(environment.services), environment.data, allowed)
    inline = environment.source.data.get("services") is None
    base: YamlPath = ("environment", "services") if inline else ("services",)
    for name, spec in environment.services.items():
        for variable, value in spec.env.items():
            for host in look.variable(variable, str(value)):
                yield Outside(host, f"{variable} of {name}", environment.source, (*base, name, "env", variable))
        words = [spec.command] if isinstance(spec.command, str) else spec.command or []
        for host in (found for word in words for found in look.urls(word)):
            yield Outside(host, f"the command of {name}", environment.source, (*base, name, "command"))


def _outside_of_compose(environment: Environment, allowed: Collection[str]) -> Iterator[Outside]:
    """What a Compose file says, as near as can be known without Compose."""
    for where, host in outside_services(compose.resolved(environment.compose), list(environment.services), allowed):
        yield Outside(host, f"{where} in the Compose file", environment.source, ("compose",))


def outside_services(
    services: Mapping[str, Mapping[str, Any]], run: Collection[str], allowed: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Where those ``services`` (of a Compose file, resolved) that are ``run`` name a host beyond, and the host."""
    look = _Look(frozenset(name for each in services.items() for name in _called(*each)), {}, allowed)
    for name in (name for name in services if name in run):
        its = services[name]
        for variable, value in (its.get("environment") or {}).items():
            if value is not None:
                yield from ((f"{variable} of {name}", host) for host in look.variable(str(variable), str(value)))
        for key in ("command", "entrypoint"):
            yield from ((f"the {key} of {name}", host) for text in _texts(its.get(key)) for host in look.urls(text))
        for place in _extra_hosts(its).values():
            if place != "host-gateway":
                yield from ((f"extra_hosts of {name}", host) for host in look.host(place))


def _called(name: str, its: Mapping[str, Any]) -> Iterator[str]:
    """Every name that leads to a service of a Compose file, or that it gives to another place."""
    yield from (name, str(its.get("container_name") or name), str(its.get("hostname") or name), *_extra_hosts(its))
    for options in mapping(its, "networks").values():
        yield from map(str, listed(mapping(options).get("aliases")))
    yield from (str(link).rpartition(":")[2] for link in listed(its.get("links")))


def _extra_hosts(its: Mapping[str, Any]) -> dict[str, str]:
    given = its.get("extra_hosts")
    if isinstance(given, dict):
        return {str(name): str(place) for name, place in given.items()}
    pairs = (re.split(r"[=:]", str(one), maxsplit=1) for one in listed(given))
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def unseen(scenario: Scenario) -> Iterator[str]:
    """What a scenario may connect to that cannot be told from its files. It is judged when it is connected to."""
    environment, model = scenario.environment, scenario.model
    look = _Look(frozenset(environment.services), {**environment.data, **model.data}, ())
    for name, operation in model.traffic.items():
        if look.is_open(operation.url):
            yield f"where the request of {name} goes: {operation.url}"
    for sop in scenario.sops:
        for step in sop.steps:
            if step.kind == "command":
                yield f"what the command of the SOP {sop.name} connects to"
    if environment.compose:
        yield from compose.unseen(environment.compose)
    yield "what services connect to beyond what their variables and commands say"


def beyond_in(words: Iterable[str], variables: Mapping[str, str], radius: BlastRadius) -> Iterator[str]:
    """The hosts beyond ``radius`` in a program's arguments and variables, as they are given to it."""
    look = _Look(frozenset(), {}, radius.hosts)
    for word in words:
        yield from look.urls(word)
    for name, value in variables.items():
        yield from look.variable(name, value)


def outside_requests(requests: Mapping[str, str], environment: Environment, allowed: Collection[str]) -> Iterator[str]:
    """The hosts, each with the operation's name, that requests written in Python (URLs by name) may not touch."""
    look = _Look(frozenset(environment.services), environment.data, allowed)
    for name, url in requests.items():
        for host in look.request(url):
            yield f"the request of {name} leads to {host}"


def refuse_outside(found: Iterable[Outside]) -> None:
    """Raises InputError that names every host in ``found``; nothing when there is none."""
    problems = list(dict.fromkeys(each.problem for each in found))
    if problems:
        raise InputError(problems)


class _Look:
    """Finds hosts in texts; what a template asks of a service leads to that service."""

    def __init__(self, services: frozenset[str], data: Mapping[str, Any], allowed: Collection[str]) -> None:
        self._services = services
        self._data = data
        self._radius = BlastRadius(allowed)

    def request(self, url: str) -> Iterator[str]:
        """The hosts that a request may go to."""
        if url.startswith("{{"):  # {{ orders.url }}/orders, or data that holds a whole URL
            yield from self._expression(_EXPRESSION.match(url), whole=True)
        yield from self.urls(url)

    def variable(self, name: str, value: str) -> Iterator[str]:
        """The hosts in an environment variable."""
        if _HOST_VARIABLE.search(name) and "://" not in value and "{{" not in value:
            for part in value.split(","):
                if _A_HOST.fullmatch(part.strip()):
                    yield from self._refused(_host_of(part))
        yield from self.urls(value)

    def host(self, place: str) -> Iterator[str]:
        """A host that a file names outright."""
        yield from self._refused(_host_of(place))

    def is_open(self, url: str) -> bool:
        """Whether a template decides where a request goes in a way that cannot be told from here."""
        if url.startswith("{"):  # the URL of a service, or data; scheme and host as expressions
            first = _EXPRESSION.match(url)
            return first is None or "://" in _EXPRESSION.sub("", url) or not self._is_known(first[0])
        for host, holes in self._hosts(url):
            values = [hole for hole in holes if hole.startswith("{{")]
            if not all(map(self._is_known, values)) or not all(whole for _, whole in _literals(host, holes)):
                return True
        return False

    def _is_known(self, expression: str) -> bool:
        found = _SIMPLE.fullmatch(expression)
        return found is not None and (found["name"] in self._services or found["name"] in self._data)

    def urls(self, text: str) -> Iterator[str]:
        """The hosts of all URLs in a text."""
        for host, holes in self._hosts(text):
            for hole in holes:
                yield from self._expression(_EXPRESSION.match(hole), whole=False)
            for literal, whole in _literals(host, holes):
                if whole:
                    yield from self._refused(literal)

    def _hosts(self, text: str) -> Iterator[tuple[str, list[str]]]:
        """The hosts of all URLs in a text, each with the template expressions that stand in it as numbers."""
        expressions = _EXPRESSION.findall(text)
        numbers = iter(range(len(expressions)))
        numbered = _EXPRESSION.sub(lambda _: f"\0{next(numbers)}\0", text)
        for authority in _AUTHORITY.findall(_LISTED.sub(" ", numbered)):
            # Some take a backslash for a slash, others for a part of the user's name.
            for reading in dict.fromkeys((authority, authority.partition("\\")[0])):
                for host in map(_host_of, reading.rpartition("@")[2].split(",")):
                    yield host, [expressions[int(number)] for number in _HOLE.findall(host)]

    def _expression(self, found: re.Match[str] | None, *, whole: bool) -> Iterator[str]:
        """The hosts that a template's expression may come to: its constants, and the data that it names."""
        if found is None:
            return
        constants, names = constants_and_names(found[0])
        if names & self._services:
            constants -= frozenset(ADDRESS)  # {{ orders["url"] }}
        for name in sorted(names - self._services):
            if name in self._data:
                constants |= frozenset(_texts(self._data[name]))
            elif name == "faker":
                yield from self._refused(found[0])
        for text in sorted(constants):
            if "://" in text:
                yield from self.urls(text)
            elif not whole:
                yield from self._refused(_host_of(text))

    def _refused(self, host: str) -> Iterator[str]:
        if host not in _NO_HOST and "$" not in host and host not in self._services and not self._radius.names(host):
            yield host


def _literals(host: str, holes: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The texts of a host between its expressions, and whether each is a host by itself: no value stands beside it."""
    texts = _HOLE.split(host)[::2]
    values = [False, *(hole.startswith("{{") for hole in holes), False]
    for text, before, after in zip(texts, values[:-1], values[1:], strict=True):
        if text:
            yield text, not (before or after)


def _host_of(place: str) -> str:
    """``HOST`` of ``HOST``, ``HOST:PORT`` or ``[HOST]:PORT``."""
    place = place.strip()
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place if place.count(":") > 1 else place.partition(":")[0].rstrip(".")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
