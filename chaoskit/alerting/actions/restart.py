"""Restart a service."""

from __future__ import annotations

from chaoskit.language.action import Action, Job
from chaoskit.language.types import ServiceName


class Restart(Action):
    """Ends a service in an orderly way, starts it again with its data, and waits until it is ready.

    Arguments:

    - ``service``: which one.
    """

    service: ServiceName

    def execute(self, job: Job) -> str:
        """Restart it."""
        return job.context.restart(self.service)
