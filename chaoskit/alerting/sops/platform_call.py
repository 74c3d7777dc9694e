"""The call to a team's own SOP platform."""

from __future__ import annotations

from typing import Any

from chaoskit.base.http_calls import CallFailed, Outgoing
from chaoskit.language.action import Action, Job


class PlatformCall(Action):
    """Posts what happened to the platform, as JSON; any 2xx means that it has taken over."""

    request: str
    headers: dict[str, str]
    timeout: float
    payload: dict[str, Any]
    service: str | None = None

    def execute(self, job: Job) -> str:
        """Call it."""
        method, _, url = self.request.partition(" ")
        headers = {name: job.text(value) for name, value in self.headers.items()}
        outgoing = Outgoing.of_json(method, job.text(url.strip()), self.payload, headers=headers, timeout=self.timeout)
        reply = outgoing.send(job.context.radius)
        if not reply.ok:
            raise CallFailed(f"{self.request}: {reply}")
        return f"{self.request}: {reply.status}"
