"""A provider that does nothing but exist: the pattern for a new one."""

from __future__ import annotations

import sys

from chaoskit.language.types import Model
from chaoskit.services.own_code import PYTHON_IMAGE
from chaoskit.services.providers.base import Provider
from chaoskit.services.runtime import ContainerPlan


class NoopArgs(Model):
    """It takes no arguments."""


class Noop(Provider):
    """A process that sleeps. A real provider says what to run, and when that is ready."""

    Args = NoopArgs
    default_image = PYTHON_IMAGE

    def argv(self) -> list[str]:
        """The program and its arguments; ``self.port`` is the port to listen on."""
        return [sys.executable, "-c", "import signal; signal.pause()"]

    def plan(self) -> ContainerPlan:
        """The same as a container; ``self.runtime.listen`` is what to listen on there."""
        return ContainerPlan(image=self.image_of(self.spec), entrypoint=["sleep"], command=["infinity"])

    def check(self) -> str:
        """Empty when ready, else what was seen. The process is there: that is all one can ask of it."""
        return ""
