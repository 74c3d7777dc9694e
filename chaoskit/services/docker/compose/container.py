"""A container of a Compose project, which may be on several networks."""

from __future__ import annotations

from chaoskit.services.docker.container import Container


class ComposeContainer(Container):
    """``networks`` are those that it is on, by id, each with the names that it has there.

    ``init``: Docker's init process stands before its program; else that is the container's first process.
    """

    def __init__(self, id: str, name: str, networks: dict[str, list[str]], *, init: bool) -> None:
        first = next(iter(networks), "")
        super().__init__(id, name, first, networks.get(first, []))
        self._init = init

    @property
    def pid(self) -> int | None:
        """Its main process as this machine numbers it."""
        if self._init:
            return super().pid
        state = self.inspect()["State"]
        return int(state["Pid"]) or None if state["Running"] else None
