"""Everything that a scenario will touch, in words, found without touching it: for ``chaoskit plan``."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Collection, Iterator

from chaoskit.base.units import format_duration
from chaoskit.language.compose import ComposedSpec
from chaoskit.language.model import Environment
from chaoskit.language.named_hosts import outside, unseen
from chaoskit.language.plugins import registry
from chaoskit.language.run_target import Setting
from chaoskit.language.scenario import Scenario
from chaoskit.language.service import ServiceSpec
from chaoskit.services.own_code import PYTHON_IMAGE
from chaoskit.system.ports import FIRST, LAST

_SERVERS = {
    "embedded": "embedded, a process of the run with its API on loopback",
    "binary": "the program toxiproxy-server, a process of the run with its API on loopback, and our tap in front",
    "docker": "the original in a container of the run, its API on loopback, and our tap in front",
}
_LABELS = "labelled chaoskit.run=RUN"


def touches(scenario: Scenario, setting: Setting, allowed: Collection[str] = ()) -> Iterator[str]:
    """Lines of text: what is started and how, what each fault does to what and when, ports, hosts, files."""
    environment = scenario.environment
    yield f"  runs on      {_platform(setting)}"
    yield "  starts"
    width = max(map(len, environment.services))
    for name, spec in environment.services.items():
        yield f"    {name:<{width}}  {'; '.join(_service(spec, setting))}"
    yield "  injects"
    yield from _faults(scenario)
    yield f"  proxies      {', '.join(_proxied(environment)) or 'none'}"
    yield f"  containers   {_containers(environment, setting)}"
    if images := _images(environment, setting):
        yield f"  images       {', '.join(images)}"
    yield f"  ports        {_ports(environment, setting)}"
    yield f"  hosts        {_hosts(scenario, allowed)}"
    for told in unseen(scenario):
        yield f"  not seen     {told}"
    yield "  leaves       reports/runs/RUN/ (the histories) and reports/allure-results/; all else is undone"
    for found in dict.fromkeys(each.problem for each in outside(scenario, allowed)):
        yield f"  refused      {found}"


def _platform(setting: Setting) -> str:
    if setting.runtime == "docker":
        real = setting.toxiproxy == "docker"
        server = "the original, with our tap in front" if real else "embedded"
        return f"containers; Toxiproxy {server}, in containers of the run"
    server = _SERVERS.get(
        setting.toxiproxy, f"at {setting.toxiproxy}, which is not ours: proxies of ours are added to it"
    )
    return f"processes of this machine; Toxiproxy {server}"


def _service(spec: ServiceSpec, setting: Setting) -> Iterator[str]:
    contained = setting.runtime == "docker"
    words = spec.command if isinstance(spec.command, str) or spec.command is None else shlex.join(spec.command)
    if isinstance(spec, ComposedSpec):
        yield "a container, as the Compose file says"
    elif contained:
        yield f"a container of {_image(spec)}" + (f" running {words}" if words else "")
        if spec.build is not None:
            yield f"built from {spec.build.context}/{spec.build.dockerfile}" + (" when missing" if spec.image else "")
    else:
        yield f"a process: {words}" if words else f"a process of the provider {spec.provider}, with data of its own"
        if spec.cwd:
            yield f"in {spec.cwd}"
    if spec.restart != "never":
        yield f"started again when it ends ({spec.restart})"
    if spec.reset:
        yield f"told to forget between scenarios ({', '.join(spec.reset)})"


def _image(spec: ServiceSpec) -> str:
    """What a service runs in as a container."""
    if spec.image:
        return spec.image
    if spec.build is not None:
        return "an image built for it"
    if spec.provider is None:
        return "no image: it has only a command"
    return str(registry("providers").get(spec.provider).image_of(spec)) or f"the provider {spec.provider}'s image"


def _images(environment: Environment, setting: Setting) -> list[str]:
    """What must be on this machine, or is pulled; with what for, where no service says so."""
    from chaoskit.engine.docker.toxiproxy import IMAGE

    if setting.runtime != "docker":
        return [f"{IMAGE} (Toxiproxy)"] if setting.toxiproxy == "docker" else []
    specs = environment.services.values()
    own = [
        _image(spec)
        for spec in specs
        if not isinstance(spec, ComposedSpec) and (spec.image or (spec.provider and not spec.build))
    ]
    composed = ["those of the Compose file"] if environment.compose else []
    proxies = [f"{PYTHON_IMAGE} (proxies)", *([f"{IMAGE} (Toxiproxy)"] if setting.toxiproxy == "docker" else [])]
    return [*dict.fromkeys(sorted(own)), *composed, *(proxies if any(spec.proxy for spec in specs) else [])]


def _faults(scenario: Scenario) -> Iterator[str]:
    start = scenario.model.timeline.steady
    width = max(len(fault.name) for fault in scenario.faults)
    for fault in sorted(scenario.faults, key=lambda fault: fault.at):
        window = f"{format_duration(start + fault.at)} to {format_duration(start + fault.at + fault.length)}"
        yield f"    {fault.name:<{width}}  {fault.kind} on {fault.fault.target}, {window}"
        yield f"    {'':<{width}}  {(inspect.getdoc(type(fault.fault)) or '').partition(chr(10))[0]}"


def _proxied(environment: Environment) -> list[str]:
    return [name for name, spec in environment.services.items() if spec.proxy]


def _containers(environment: Environment, setting: Setting) -> str:
    if setting.runtime == "docker":
        count = len(environment.services)
        return f"{count} for services, one or more for proxies; one network; names chaoskit-RUN-…, {_LABELS}"
    if setting.toxiproxy == "docker":
        return f"one, for Toxiproxy, on this machine's own network; named chaoskit-RUN-…, {_LABELS}"
    return "none"


def _ports(environment: Environment, setting: Setting) -> str:
    place = "the network's gateway" if setting.runtime == "docker" else "127.0.0.1"
    fixed = [f"{spec.port} ({name})" for name, spec in environment.services.items() if spec.port != "auto"]
    inside = "inside " if setting.runtime == "docker" else ""
    also = f"; {inside}{', '.join(fixed)}" if fixed else ""
    return f"free ones of {place} between {FIRST} and {LAST}{also}"


def _hosts(scenario: Scenario, allowed: Collection[str]) -> str:
    named = dict.fromkeys(each.host for each in outside(scenario))
    refused = {each.host for each in outside(scenario, allowed)}
    told = [f"{host} ({'refused' if host in refused else 'allowed'})" for host in named]
    return ", ".join(["loopback and its own services", *told]) + ("" if told else " only")
