"""What a scenario's environment will run in, and which of its faults cannot be injected there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.base.errors import InputError
from chaoskit.language.model import Environment
from chaoskit.language.planned import PlannedFault
from chaoskit.language.run_target import Refusal, Runtime, Setting
from chaoskit.language.scenario import Scenario


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
