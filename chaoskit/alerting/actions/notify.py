"""Tell somebody."""

from __future__ import annotations

from pydantic import Field

from chaoskit.base.http_calls import CallFailed, Outgoing
from chaoskit.language.action import Action, Job
from chaoskit.language.types import Duration


class Notify(Action):
    """Tells a person or a channel. With ``url`` a JSON document is posted there; without, it stands in the report.

    The document is ``{to, message, incident, sop, alert, severity}``. Hosts as for ``http``.

    Arguments:

    - ``to``: who is told.
    - ``message``: a template.
    - ``url``: where the document goes; a template.
    - ``timeout``: of connecting, and of each wait for data.
    """

    to: str = Field(min_length=1)
    message: str = ""
    url: str | None = None
    timeout: Duration = 5.0

    def execute(self, job: Job) -> str:
        """Post it, where it is said to what address."""
        message = job.text(self.message)
        if self.url is not None:
            alert = job.names["alert"]
            document = {
                "to": self.to, "message": message, "incident": job.names["incident"], "sop": job.names["sop"],
                "alert": alert["name"], "severity": alert["severity"],
            }  # fmt: skip
            reply = Outgoing.of_json("POST", job.text(self.url), document, timeout=self.timeout).send(
                job.context.radius
            )
            if not reply.ok:
                raise CallFailed(f"{self.to} could not be told: {reply}")
        return f"told {self.to}: {message}" if message else f"told {self.to}"
