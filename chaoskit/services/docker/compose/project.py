"""One run's copy of a team's Compose project: made by the Compose tool from a file of our own, started by us."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from chaoskit.base.blast_radius import beyond
from chaoskit.base.errors import BrokenError
from chaoskit.language.compose import ComposedSpec
from chaoskit.language.named_hosts import outside_services
from chaoskit.services.docker import undo
from chaoskit.services.docker.compose import rewrite, tool
from chaoskit.services.docker.compose.container import ComposeContainer
from chaoskit.services.docker.compose.undo import KIND
from chaoskit.services.docker.daemon import MissingError, ask, client
from chaoskit.services.docker.images import Note, ensure
from chaoskit.services.runtime import ContainerPlan
from chaoskit.system.journal import Journal
from chaoskit.system.pids import own_mark
from chaoskit.system.ports import free_port

MAKING = 300.0
"""Seconds that containers may take to be made (images are there by then)."""

BUILDING = 1800.0
"""Seconds that all builds together may take."""


class ComposeProject:
    """The containers, networks and volumes of a Compose file, under the names of a run.

    ``specs`` are the services to run, by their names in the file; those that are ``proxy`` give their names away. Their
    ports are published at ``gateway``. Nothing is started here. Services that name a host beyond loopback are
    refused, unless it is in ``allow``.
    """

    def __init__(
        self,
        environment: str,
        files: Sequence[Path],
        folder: Path,
        name: str,
        journal: Journal,
        note: Note,
        allow: Collection[str] = (),
    ) -> None:
        self._allow = allow
        self.name = re.sub(r"[^a-z0-9_-]", "-", name.lower())
        self.facts: dict[str, rewrite.Facts] = {}
        self.published: dict[str, int] = {}
        self.failpoints: dict[str, int] = {}
        self.gateway = ""
        self._images = re.sub(r"[^a-z0-9]+", "-", f"chaoskit-built-{environment.lower()}")
        self._files = files
        self._folder = folder.absolute()
        self._journal = journal
        self._note = note
        self._config: dict[str, Any] = {}
        self._specs: Mapping[str, ComposedSpec] = {}
        self._environment: dict[str, dict[str, str]] = {}
        self._made: dict[str, ComposeContainer] = {}
        self._entry: int | None = None
        self._calls = 0
        self._lock = threading.Lock()

    def create(self, gateway: str, specs: Mapping[str, ComposedSpec]) -> None:
        """Make everything. Raises BrokenError, in the Compose tool's own words where it is the file's fault."""
        self._config = tool.resolve(self._files)
        self._refuse_outside(specs)
        self._specs, self.gateway = specs, gateway
        self.facts = rewrite.facts_of(self._config, list(specs), self._proxied, self._images)
        built = [name for name, its in self.facts.items() if its.built]
        self._entry = self._journal.add(KIND, name=self.name, host=undo.where())
        if built:
            self._note(f"building {', '.join(built)} with {' '.join(tool.command())}")
            self._compose(["build", *(self.facts[name].service for name in built)], "build the images", BUILDING)
        for name, its in self.facts.items():
            exposed = self._exposed(ensure(ContainerPlan(its.image), self._note))
            its.ports = self._ports(name, its.ports or exposed)
            self.published[name] = free_port(gateway) if its.ports else 0
            if specs[name].failpoints:
                self.failpoints[name] = free_port(gateway)
        self._environment = {name: self.variables(name) for name in specs}
        self._up(list(specs))

    def variables(self, name: str) -> dict[str, str]:
        """What chaoskit itself adds to the variables of a service."""
        if name not in self.failpoints:
            return {}
        address = f"0.0.0.0:{self.failpoints[name]}"
        # In a network of its own, loopback could not be reached.
        return {"GOFAIL_HTTP": address, "CHAOSKIT_FAILPOINTS_ANY_ADDRESS": "1"}

    def container(self, name: str, environment: dict[str, str]) -> ComposeContainer:
        """The container of a service, with these variables added: a new one where there is none, or it has others."""
        with self._lock:
            if self._environment[name] != environment:
                self._discard(name)
                self._environment[name] = environment
            if name not in self._made:
                self._up([one for one in self.facts if one not in self._made])
            return self._made[name]

    def discard(self, name: str) -> None:
        """Remove the container of a service, with the volumes that have no name."""
        with self._lock:
            self._discard(name)

    def remove(self) -> None:
        """Remove everything."""
        if self._entry is not None:
            self._journal.undo(self._entry)
            self._entry = None
        self._made.clear()

    def network_ids(self) -> dict[str, str]:
        """The networks by their names in the file."""
        used = {network for its in self.facts.values() for network in its.networks}
        return {network: self._network_id(f"{self.name}_{network}") for network in used}

    # Inside

    def _refuse_outside(self, run: Collection[str]) -> None:
        """Raises BrokenError for every host beyond the blast radius, now that Compose has filled everything in."""
        found = outside_services(self._config.get("services") or {}, run, self._allow)
        if told := list(dict.fromkeys(f"{where} leads to {beyond(host)}" for where, host in found)):
            raise BrokenError("as the Compose tool reads the file, " + "\n  ".join(told))

    def _network_id(self, name: str) -> str:
        return str(ask(f"inspect {name}", lambda: client().api.inspect_network(name)["Id"]))

    @property
    def _proxied(self) -> list[str]:
        return [name for name, spec in self._specs.items() if spec.proxy]

    def _ports(self, name: str, found: Sequence[int]) -> list[int]:
        """The ports of a service, the one to stand in front of and to ask first."""
        said = self._specs[name].port
        if said != "auto":
            return [said, *(port for port in found if port != said)]
        if not found and name in self._proxied:
            raise BrokenError(
                f"{name} is to be proxied, and neither its ports: nor expose: nor its image says what it listens on; "
                f"say services: {{{name}: {{port: NUMBER}}}} in the environment"
            )
        return list(found)

    def _exposed(self, image: str) -> list[int]:
        config = ask("inspect an image", lambda: client().api.inspect_image(image)["Config"]) or {}
        found = (str(port).partition("/") for port in config.get("ExposedPorts") or {})
        return sorted(int(number) for number, _, protocol in found if protocol in ("tcp", ""))

    def _up(self, names: Sequence[str]) -> None:
        """Have containers made, with the networks and volumes that they need."""
        making = self._journal.add(KIND, name=self.name, making=True, host=undo.where())
        words = ["up", "--no-start", "--no-deps", "--no-build", "--no-recreate"]
        self._compose([*words, *(self.facts[name].service for name in names)], "make the containers", MAKING)
        for name in names:
            self._made[name] = self._find(name)
        self._journal.done(making)

    def _compose(self, words: Sequence[str], what: str, limit: float) -> None:
        """Run the tool on a file that holds what is wanted now."""
        self._calls += 1
        file = self._folder / "compose.json"
        data = rewrite.rewrite(
            self._config,
            self.facts,
            project=self.name,
            labels=undo.labels(self._journal),
            proxied=self._proxied,
            ports={name: self._bindings(name) for name in self.facts},
            environment={name: {**variables, **own_mark()} for name, variables in self._environment.items()},
        )
        file.write_text(json.dumps(data, indent=1), encoding="utf-8")  # JSON is YAML
        tool.run(
            ["-f", str(file), "-p", self.name, "--project-directory", str(self._files[0].parent), *words],
            what=what,
            journal=self._journal,
            pidfile=self._folder / f"compose-{self._calls}.pid",
            cwd=self._folder,
            limit=limit,
        )

    def _bindings(self, name: str) -> list[str]:
        """What is published of a service, which one that no network leads to cannot do."""
        its = self.facts[name]
        if not its.networks or its.hidden:
            return []
        pairs = [(self.published[name], its.ports[0])] if self.published.get(name) else []
        if name in self.failpoints:
            pairs.append((self.failpoints[name], self.failpoints[name]))
        return [f"{self.gateway}:{outside}:{inside}" for outside, inside in pairs]

    def _find(self, name: str) -> ComposeContainer:
        called = rewrite.container_name(self.name, name)
        there = self._inspect(called)["NetworkSettings"]["Networks"]
        for network in self.facts[name].networks:
            if f"{self.name}_{network}" not in there:  # v1 does the first only, unless it is to start the container
                self._connect(name, called, network)
        found = self._inspect(called)
        networks = {
            its["NetworkID"]: list(its.get("Aliases") or ()) for its in found["NetworkSettings"]["Networks"].values()
        }
        return ComposeContainer(found["Id"], called, networks, init=bool(found["HostConfig"].get("Init")))

    def _inspect(self, called: str) -> dict[str, Any]:
        found: dict[str, Any] = ask(f"inspect {called}", lambda: client().api.inspect_container(called))
        return found

    def _connect(self, name: str, called: str, network: str) -> None:
        its = self.facts[name]
        given = self._config["services"][name].get("networks")
        options = (given.get(network) or {}) if isinstance(given, dict) else {}
        addresses = {key: options[key] for key in ("ipv4_address", "ipv6_address") if options.get(key)}
        aliases = [its.service] if name in self._proxied else its.networks[network]
        connect = client().api.connect_container_to_network
        full = f"{self.name}_{network}"
        ask(f"connect {called} to {full}", lambda: connect(called, full, aliases=aliases, **addresses))

    def _discard(self, name: str) -> None:
        made = self._made.pop(name, None)
        if made is not None:
            with contextlib.suppress(MissingError):
                ask(f"remove {made.name}", lambda: client().api.remove_container(made.id, v=True, force=True))
