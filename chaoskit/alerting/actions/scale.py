"""Give a service more (or less) of something."""

from __future__ import annotations

from pydantic import Field

from chaoskit.language.action import Action, Job
from chaoskit.language.types import ServiceName


class Scale(Action):
    """Scales a service vertically: starts it anew, at the same address, with other settings (a larger pool, say).

    There is one instance of each service in a rehearsal, so there are no more of it. The settings end with the
    scenario.

    Arguments:

    - ``service``: which one.
    - ``env``: environment variables, put over those of the service. Templates.
    """

    service: ServiceName
    env: dict[str, str | int | float | bool] = Field(min_length=1)

    def execute(self, job: Job) -> str:
        """Start it anew."""
        words = {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in self.env.items()
        }
        return job.context.scale(self.service, {name: job.text(word) for name, word in words.items()})
