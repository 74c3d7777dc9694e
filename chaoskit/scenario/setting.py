"""What a run will stand on, as far as it is known before anything is started, and what cannot be done there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chaoskit.errors import InputError

if TYPE_CHECKING:
    from chaoskit.scenario.model import Environment, PlannedFault, Scenario

Need = Literal["embedded-toxiproxy", "docker", "process", "root", "netem", "faketime", "iptables", "cgroups"]
"""What a fault may need of the machine or of the run. A scenario names it under ``requires:``."""

Runtime = Literal["process", "docker"]


@dataclass(frozen=True)
class Setting:
    """``toxiproxy`` is ``embedded``, ``binary``, ``docker`` or a URL, ``runtime`` what the services run in."""

    toxiproxy: str
    runtime: Runtime


@dataclass(frozen=True)
class Refusal:
    """Why a fault cannot be injected in a setting: what it ``needs``, and the ``reason`` with what to do about it."""

    needs: Need
    reason: str


@dataclass(frozen=True)
class Refused:
    """A fault of a scenario that cannot be injected, and why. ``accepted``: the scenario says that it needs this."""

    scenario: Scenario
    planned: PlannedFault
    refusal: Refusal

    @property
    def accepted(self) -> bool:
        """The scenario is then skipped where the need is not met; otherwise it fails."""
        return self.refusal.needs in self.scenario.model.requires

    def __str__(self) -> str:
        source = self.scenario.source
        problem = source.problem(self.planned.path, f"fault {self.planned.name} ({self.planned.kind}) is refused here")
        advice = "" if self.accepted else f"; to skip the scenario here instead: requires: [{self.refusal.needs}]"
        return f"{problem}: {self.refusal.reason}{advice}"


def runtime_of(environment: Environment, option: str) -> Runtime:
    """``option`` (``auto``, ``process`` or ``docker``) for this environment, decided from what its file says.

    ``auto`` is ``process`` where every service can run as one, by a command or a provider. Raises InputError for
    ``process`` where a Compose file says what to run.
    """
    if environment.compose:
        if option == "process":
            what = "compose: a Compose file runs in containers; --chaos-runtime=process is not for it (use auto)"
            raise InputError([environment.source.problem(("compose",), what)])
        return "docker"
    if option in ("process", "docker"):
        return "docker" if option == "docker" else "process"
    services = environment.services.values()
    runnable = all(spec.command is not None or spec.provider is not None for spec in services)
    return "process" if runnable else "docker"


def refused(scenario: Scenario, setting: Setting) -> Iterator[Refused]:
    """The faults of a scenario that cannot be injected in ``setting``."""
    for planned in scenario.faults:
        refusal = planned.fault.refusal(setting)
        if refusal is not None:
            yield Refused(scenario, planned, refusal)
