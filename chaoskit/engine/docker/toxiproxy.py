"""The original Toxiproxy in a container that shares this machine's network, for services that are processes."""

from __future__ import annotations

import secrets
from typing import Any

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.services.docker import undo
from chaoskit.services.docker.daemon import ask, client
from chaoskit.services.docker.images import ensure
from chaoskit.services.runtime import ContainerPlan
from chaoskit.system.journal import Journal
from chaoskit.system.pids import Pid, identify
from chaoskit.system.ports import free_port
from chaoskit.system.priority import SHARES
from chaoskit.toxiproxy.client import ToxiproxyControl

IMAGE = "ghcr.io/shopify/toxiproxy:2.12.0"
START_LIMIT = 15.0


class ToxiproxyContainer:
    """Listens on loopback only. The container is journaled before it is made, and labelled as ours."""

    def __init__(self, journal: Journal, image: str = IMAGE) -> None:
        self.image = image
        self.name = f"chaoskit-{journal.run_id}-toxiproxy-{secrets.token_hex(3)}"
        self._journal = journal
        self._entry: int | None = None
        self._container: Any = None
        self._main: Pid | None = None

    def start(self) -> str:
        """Start it, and give the URL of its API once that answers.

        Raises BrokenError when there is no daemon or no image (saying how to get it), or when it does not start.
        """
        self._have_image()
        port = free_port()
        self._entry = undo.add(self._journal, "container", self.name)
        self._container = ask(f"make the container {self.name}", lambda: self._create(port))
        ask(f"start {self.name}", lambda: self._container.start())
        url = f"http://127.0.0.1:{port}"
        control = ToxiproxyControl(url)

        def answers() -> bool:
            try:
                return bool(control.version())
            except BrokenError:
                return not self._state()["Running"]

        wait_for(answers, what=f"Toxiproxy in the container {self.name}", limit=START_LIMIT, last_seen=self._log)
        control.close()
        state = self._state()
        if not state["Running"]:
            raise BrokenError(f"Toxiproxy ended in its container (status {state['ExitCode']}): {self._log()}")
        self._main = identify(state["Pid"])
        return url

    def check(self) -> None:
        """Raises BrokenError when it has ended. Asks the kernel, not Docker: this is called often."""
        if self._main is not None and not self._main.alive():
            raise BrokenError(f"Toxiproxy's container {self.name} died; its last lines: {self._log()}")

    def stop(self) -> None:
        """Remove it. Has no effect when it is not there."""
        self._main = None
        if self._entry is not None:
            self._journal.undo(self._entry)
            self._entry = None

    def _have_image(self) -> None:
        try:
            ensure(ContainerPlan(self.image), lambda _progress: None)
        except BrokenError as error:
            reason = error.__cause__ if isinstance(error.__cause__, BrokenError) else error
            raise BrokenError(
                f"--chaos-toxiproxy=docker needs the image {self.image}: {reason}\n"
                f"  Get it with `docker pull {self.image}`, or on a machine that can and then `docker save` and "
                "`docker load`; --chaos-toxiproxy=embedded needs none"
            ) from error

    def _create(self, port: int) -> Any:
        return client().containers.create(
            self.image,
            command=["-host=127.0.0.1", f"-port={port}"],
            name=self.name,
            network_mode="host",
            labels=undo.labels(self._journal),
            cpu_shares=2 * SHARES,
        )

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = ask(
            f"inspect {self.name}", lambda: client().api.inspect_container(self._container.id)["State"]
        )
        return state

    def _log(self) -> str:
        try:
            raw = ask(f"read the log of {self.name}", lambda: self._container.logs(tail=5))
        except BrokenError as error:
            return str(error)
        return " / ".join(raw.decode("utf-8", "replace").split("\n")).strip(" /") or "no output"
