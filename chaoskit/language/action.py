"""What an action of an SOP is: arguments checked at load, and one method that does it.

Texts of an action may be templates over the services' addresses, the scenario's data, and

===================  ================================================================================
``alert``            the alert: ``name``, ``severity``, ``fingerprint``, ``labels``, ``annotations``
``incident``         the id of the incident
``sop``              the name of the SOP
===================  ================================================================================

What an alert says is untrusted text: it is put into templates as a value, and never rendered as one.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.registry import Registry
from chaoskit.language.types import Model
from chaoskit.system.journal import Journal


class ActionContext(Protocol):
    """What an action may reach of the running environment. Methods raise ChaosError when they fail."""

    @property
    def journal(self) -> Journal:
        """Where a change is written down before it is made."""

    @property
    def folder(self) -> Path:
        """A folder of the run, for files that are gone with it."""

    def restart(self, service: str) -> str:
        """Restart a service in an orderly way and wait until it is ready; what happened, in words."""

    def scale(self, service: str, env: Mapping[str, str]) -> str:
        """Start a service anew with changed settings, until the scenario has ended; what happened, in words."""

    def address(self, service: str) -> str:
        """The URL of a service, past its proxy."""

    @property
    def radius(self) -> BlastRadius:
        """Who may be connected to: loopback, the services of the environment, and what was allowed."""

    def render(self, text: str, names: Mapping[str, Any]) -> str:
        """A template of the SOP's file filled in."""

    def hold(self, undo: Callable[[], None]) -> None:
        """Run ``undo`` when the scenario has ended."""


@dataclass(frozen=True)
class Job:
    """What an action is done for. ``folder`` is where the SOP's file lies, ``number`` differs from job to job.

    An action that takes its time ends early when ``cancelled`` is set.
    """

    context: ActionContext
    names: Mapping[str, Any]
    folder: Path
    number: str
    cancelled: threading.Event

    def text(self, template: str) -> str:
        """One text of the SOP's file, filled in."""
        return self.context.render(template, self.names)

    def value(self, template: Any) -> Any:
        """A JSON-like value of the SOP's file, all texts in it filled in."""
        if isinstance(template, str):
            return self.text(template)
        if isinstance(template, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in template.items()}
        if isinstance(template, list):
            return [self.value(item) for item in template]
        return template


class Action(Model, ABC):
    """Base of all actions. Fields are its arguments; the file's name is its name in SOPs."""

    @property
    def target(self) -> str:
        """The service that it acts on; empty for none."""
        return str(getattr(self, "service", None) or "")

    @abstractmethod
    def execute(self, job: Job) -> str:
        """Do it, and tell in a few words what was done. Raises ChaosError when it failed: it is then tried again."""


ACTIONS: Registry[type[Action]] = Registry("action", "chaoskit.alerting.actions")
