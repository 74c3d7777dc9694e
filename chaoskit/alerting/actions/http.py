"""An HTTP request."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from chaoskit.base.http_calls import CallFailed, Outgoing
from chaoskit.language.action import Action, Job
from chaoskit.language.types import Duration, ServiceName, problem

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _request(text: str) -> str:
    method, _, url = text.partition(" ")
    if method not in _METHODS or not url.strip():
        raise problem(f"{text!r} is not a request", [f"{method} URL" for method in _METHODS])
    return text


class Http(Action):
    """Makes one HTTP request: to loopback, to a service of the environment, or to a host given to ``--chaos-allow``.

    Where a template gives another host, the step fails before anything is sent. Redirects are not followed.

    Arguments:

    - ``request``: ``METHOD URL``; the URL is a template.
    - ``headers``: by name; templates.
    - ``json``: a JSON body; the texts in it are templates.
    - ``body``: a text body; a template. ``json`` takes its place.
    - ``status``: the statuses that count as success; any 2xx unless given.
    - ``timeout``: of connecting, and of each wait for data.
    - ``service``: which one it is for, where that is to be told.
    """

    request: Annotated[str, AfterValidator(_request)]
    headers: dict[str, str] = {}
    json_: Any = Field(None, alias="json")
    body: str | None = None
    status: int | list[int] | None = None
    timeout: Duration = 5.0
    service: ServiceName | None = None

    def execute(self, job: Job) -> str:
        """Make the request."""
        method, _, url = self.request.partition(" ")
        headers = {name: job.text(value) for name, value in self.headers.items()}
        body = job.text(self.body).encode() if self.body is not None else None
        if self.json_ is not None:
            headers.setdefault("content-type", "application/json")
            body = json.dumps(job.value(self.json_)).encode()
        reply = Outgoing(method, job.text(url.strip()), headers, body, self.timeout).send(job.context.radius)
        wanted = [self.status] if isinstance(self.status, int) else self.status
        if not (reply.ok if wanted is None else reply.status in wanted):
            raise CallFailed(f"{self.request}: {reply}")
        return f"{self.request}: {reply.status}"
