"""A stand-in for a third party's HTTP API that answers as scripted."""

from __future__ import annotations

import http.client
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from chaoskit.base.errors import BrokenError
from chaoskit.language.types import Duration, Model, problem
from chaoskit.services.own_code import ENVIRONMENT, FOLDER, PYTHON_IMAGE, own_code
from chaoskit.services.providers.base import Provider
from chaoskit.services.readiness import http_answers
from chaoskit.services.runtime import ContainerPlan
from chaoskit.services.stub import CONTROL


class Route(Model):
    """One answer. The first route that matches and has ``times`` left answers."""

    method: str = Field("*", pattern=r"^(\*|[A-Z]+)$")
    path: str = Field(pattern=r"^[/*]", description="with * as wildcard: /charges/*")
    status: int = Field(200, ge=200, le=599)
    headers: dict[str, str] = {}
    answer: Any = Field(None, alias="json", description="a JSON body")
    body: str | None = Field(None, description="a text body")
    delay: Duration = 0.0
    times: int | None = Field(None, ge=1, description="answers so often, then the next route that matches does")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.answer is not None and self.body is not None:
            raise problem("a route has either json or body", ["json", "body"])
        return self


class HttpStubArgs(Model):
    """Arguments of the provider ``http_stub``."""

    routes: list[Route] = Field(min_length=1)


class HttpStub(Provider):
    """An HTTP server in a process of its own."""

    Args = HttpStubArgs
    default_image = PYTHON_IMAGE
    default_protocol = "http"

    @property
    def args(self) -> HttpStubArgs:
        """The checked arguments."""
        assert isinstance(self._args, HttpStubArgs)
        return self._args

    @property
    def stop_signal(self) -> int:
        """There is nothing to save."""
        return signal.SIGKILL

    def prepare(self) -> None:
        """Write the script."""
        (self.folder / "script.json").write_bytes(self._script())

    def argv(self) -> list[str]:
        """The server."""
        return [sys.executable, *self._arguments(str(self.folder / "script.json"))]

    def plan(self) -> ContainerPlan:
        """The same server: it needs nothing but Python."""
        script = f"{FOLDER}/script.json"
        return ContainerPlan(
            image=self.image_of(self.spec),
            build=self.spec.build,
            entrypoint=["python3"],
            command=self._arguments(script),
            env=ENVIRONMENT,
            files={**own_code("services/stub.py"), script: self._script()},
        )

    def _script(self) -> bytes:
        return json.dumps(_plain(self.args.routes)).encode()

    def _arguments(self, script: str) -> list[str]:
        host, port = self.runtime.listen
        return ["-m", "chaoskit.services.stub", "--host", host, "--port", str(port), "--script", script]

    def check(self) -> str:
        """Ready when it answers."""
        return http_answers(self.host, self.port, f"{CONTROL}/ready")

    def reset(self) -> None:
        """Start the script from its beginning."""
        super().reset()
        self._control("POST", "reset", "")

    def script(self, routes: Sequence[Route]) -> None:
        """Answer by other routes until the next reset or restart."""
        self._control("PUT", "script", json.dumps(_plain(routes)))

    def _control(self, method: str, what: str, body: str) -> None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5.0)
        try:
            connection.request(method, f"{CONTROL}/{what}", body)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(f"{self.name}: {method} {CONTROL}/{what}: {error!r}") from error
        finally:
            connection.close()
        if status != 204:
            raise BrokenError(f"{self.name}: {method} {CONTROL}/{what}: status {status}")


def _plain(routes: Sequence[Route]) -> list[dict[str, Any]]:
    """Routes as the stub's script has them: durations in seconds."""
    return [route.model_dump(mode="json", by_alias=True) for route in routes]
