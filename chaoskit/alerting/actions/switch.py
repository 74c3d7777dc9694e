"""Switch a feature of a service off, or on, while it runs."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.errors import BrokenError
from chaoskit.base.http_calls import CallFailed, Outgoing
from chaoskit.language.action import Action, Job
from chaoskit.language.types import Duration, ServiceName
from chaoskit.system.journal import Facts, register_kind
from chaoskit.system.sockets import listens, still_listens

KIND = "switch"


def _undo(facts: Facts) -> None:
    """Put the feature back. A service that is not there any more has forgotten it."""
    if not still_listens(facts["url"], facts):
        return
    put_back = Outgoing(
        facts["method"], facts["url"], {"content-type": "application/json"}, facts["body"].encode(), 2.0
    )
    try:
        reply = put_back.send(BlastRadius([facts["host"]]))
    except CallFailed:
        return
    if not reply.ok:
        raise BrokenError(f"{facts['name']} could not be switched back: {reply}")


register_kind(KIND, _undo)


class Switch(Action):
    """Switches a feature of a service over HTTP, and back when the scenario has ended.

    The request goes past the service's proxy, so that no fault in the network keeps it from arriving. What a GET of
    the same path answers before (JSON) is what is put back; where it answers none, the other one of ``off`` and ``on``.

    Arguments:

    - ``service``: which one.
    - ``feature``: its name, made of letters, digits, ``.``, ``_`` and ``-``.
    - ``to``: ``off`` unless given, or ``on``.
    - ``method``: of the request.
    - ``path``: of the request; ``{feature}`` in it stands for the name.
    - ``off``: what is sent as JSON to switch it off.
    - ``on``: what is sent as JSON to switch it on.
    - ``timeout``: of the request.
    """

    service: ServiceName
    feature: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    to: Literal["off", "on"] = "off"
    method: Literal["PUT", "POST", "PATCH"] = "PUT"
    path: str = Field("/admin/features/{feature}", pattern=r"^/")
    off: Any = {"enabled": False}
    on: Any = {"enabled": True}
    timeout: Duration = 2.0

    def execute(self, job: Job) -> str:
        """Write down how it was, then switch it."""
        base = job.context.address(self.service)
        url = base.rstrip("/") + self.path.replace("{feature}", self.feature)
        wanted, other = (self.off, self.on) if self.to == "off" else (self.on, self.off)
        host = base.partition("://")[2].rpartition(":")[0].strip("[]")
        before = Outgoing("GET", url, timeout=self.timeout).send(job.context.radius)
        known = before.document() if before.ok else None
        entry = job.context.journal.add(
            KIND, name=f"{self.feature} of {self.service}", method=self.method, url=url, host=host,
            listens=listens(url), body=json.dumps(other if known is None else known),
        )  # fmt: skip
        job.context.hold(lambda: job.context.journal.undo(entry))
        reply = Outgoing.of_json(self.method, url, wanted, timeout=self.timeout).send(job.context.radius)
        if not reply.ok:
            raise CallFailed(f"{self.method} {url}: {reply}")
        return f"{self.feature} of {self.service} is {self.to}"
