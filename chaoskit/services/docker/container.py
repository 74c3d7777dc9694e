"""One container, as faults and tools see it."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaoskit.base.clock import now
from chaoskit.services.docker.daemon import ask, client

BORN = 1.0
"""Seconds in which the init process inside of a container has started the program."""


class Container:
    """A handle on a container of ours. All methods raise BrokenError when Docker refuses or does not answer."""

    def __init__(self, id: str, name: str, network_id: str, aliases: list[str]) -> None:
        self.id = id
        self.name = name
        self.network_id = network_id
        self._aliases = aliases
        self._main: tuple[int, int] | None = None

    def inspect(self) -> dict[str, Any]:
        """Everything that Docker knows of it."""
        found: dict[str, Any] = self._ask("inspect", lambda api: api.inspect_container(self.id))
        return found

    @property
    def pid(self) -> int | None:
        """Its main process as this machine numbers it (not the init process that Docker puts before it)."""
        state = self.inspect()["State"]
        init = int(state["Pid"])
        if not state["Running"] or not init:
            return None
        if self._main is None or self._main[0] != init:
            main = _child_of(init)
            if main is None:
                return None
            self._main = (init, main)
        return self._main[1]

    def exec(self, argv: list[str], user: str = "") -> tuple[int, str]:
        """Run a program inside to its end: exit status and output, both streams together."""

        def run(api: Any) -> tuple[int, str]:
            number = api.exec_create(self.id, argv, user=user)["Id"]
            output = api.exec_start(number)
            return int(api.exec_inspect(number)["ExitCode"]), output.decode("utf-8", "replace")

        status, output = self._ask(f"run {argv[0]} in", run)
        return status, output

    def update(
        self,
        *,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        mem_limit: int | None = None,
        memswap_limit: int | None = None,
    ) -> None:
        """Change limits while it runs: microseconds of CPU per period, bytes (-1: no limit). None leaves as it is."""
        given = {
            "cpu_quota": cpu_quota,
            "cpu_period": cpu_period,
            "mem_limit": mem_limit,
            "memswap_limit": memswap_limit,
        }
        limits = {name: value for name, value in given.items() if value is not None}
        self._ask("limit", lambda api: api.update_container(self.id, **limits))

    def disconnect(self, network_id: str = "") -> None:
        """Take it off its network (another, if it has several): connections stall, new ones find nothing."""
        network = network_id or self.network_id
        self._ask("disconnect", lambda api: api.disconnect_container_from_network(self.id, network, force=True))

    def connect(self) -> None:
        """Put it back on its network under the names that it had."""
        self._ask(
            "connect",
            lambda api: api.connect_container_to_network(self.id, self.network_id, aliases=self._aliases),
        )

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files, named by absolute paths, with all folders that they need."""
        self._ask("copy files to", lambda api: api.put_archive(self.id, "/", archive(files)))

    def _ask(self, what: str, call: Any) -> Any:
        return ask(f"{what} {self.name}", lambda: call(client().api))


def archive(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar, readable for everybody."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def _child_of(init: int) -> int | None:
    """The first child of Docker's init process; None when it ended before it had one."""
    deadline = now() + BORN
    while now() < deadline:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{init}/task/{init}/children").read_text(encoding="ascii").split()[0])
        if not Path(f"/proc/{init}").exists():
            return None
        time.sleep(0.002)
    return None
