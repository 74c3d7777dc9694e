"""Which Toxiproxy serves an environment, and its life: embedded, a real one from the PATH, or one at a URL."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chaoskit.base.blast_radius import LOOPBACK, OPTION, BlastRadius, plain
from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError, unknown
from chaoskit.system.journal import Journal, register_kind
from chaoskit.system.ports import free_port
from chaoskit.system.priority import MEASURES
from chaoskit.system.processes import ManagedProcess, OnLine, start_process
from chaoskit.system.sockets import listens, still_listens
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress, Toxic
from chaoskit.toxiproxy.launch import address_in, server_command
from chaoskit.toxiproxy.server.address import join
from chaoskit.toxiproxy.tapped_original import FrontedToxiproxy

if TYPE_CHECKING:
    from chaoskit.engine.docker.toxiproxy import ToxiproxyContainer

BINARY = "toxiproxy-server"
MODES = ("auto", "embedded", "binary", "docker")
CONTAINED = ("auto", "embedded", "docker")
"""Those that can serve services in containers."""
START_LIMIT = 10.0


def resolve(mode: str, allowed: Collection[str] = (), runtime: str = "process") -> str:
    """``auto`` as what it comes to here. Raises ChaosError for what is not legal or not there.

    A URL must lead to loopback, or to a host in ``allowed``. Where the ``runtime`` of the services is ``docker``,
    the proxies are containers too: they must be, to take the names of the services on their network.
    """
    if runtime == "docker" and (mode == "binary" or "://" in mode):
        raise ChaosError(
            f"--chaos-toxiproxy={mode}: services in containers cannot be proxied by it; legal with the runtime "
            f"docker: {', '.join(CONTAINED)}"
        )
    if mode.startswith(("http://", "https://")):
        host = _host(mode)
        if not BlastRadius(allowed).names(host):
            raise ChaosError(
                f"--chaos-toxiproxy={mode}: only a Toxiproxy on loopback may be used, as others may depend on one "
                f"elsewhere; if that is meant: {OPTION} {host}"
            )
        return mode
    if mode not in MODES:
        raise ChaosError("--chaos-toxiproxy: " + unknown("engine", mode, [*MODES, "http://HOST:PORT"]))
    if mode == "auto" and runtime == "docker":
        return "embedded"
    if mode == "auto":
        return "binary" if shutil.which(BINARY) else "embedded"
    if mode == "binary" and not shutil.which(BINARY):
        raise ChaosError(f"--chaos-toxiproxy=binary: no {BINARY} on the PATH")
    return mode


def _host(url: str) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        raise ChaosError(f"--chaos-toxiproxy={url}: no host in it; legal: http://HOST:PORT")
    return host


def _undo_proxy(facts: dict[str, object]) -> None:
    """A proxy on a server that outlives us."""
    if not still_listens(str(facts["url"]), facts):
        return
    control = ToxiproxyControl(str(facts["url"]))
    with contextlib.suppress(BrokenError):  # it is gone, or its server is
        control.delete_proxy(str(facts["name"]))
    control.close()


register_kind("proxy", _undo_proxy, lasting=True)


class Interposer:
    """The Toxiproxy of one environment. ``mode`` is what :func:`resolve` gave; ``folder`` holds its pidfiles.

    With the same ``seed`` the embedded server makes the same choices for the same connections. Proxies lead to within
    ``radius`` only, and a server at a URL must lie there.
    """

    def __init__(
        self, mode: str, folder: Path, journal: Journal, seed: int | None = None, radius: BlastRadius = LOOPBACK
    ) -> None:
        self.mode = mode
        self._radius = radius
        self._seed = seed
        self._folder = folder
        self._journal = journal
        self._processes: list[ManagedProcess] = []
        self._control: ToxiproxyControl | None = None
        self._container: ToxiproxyContainer | None = None

    def start(self) -> None:
        """Start it, with the tap in front where the server is a real one. Raises BrokenError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        embedded = self._start_embedded()
        if self.mode == "embedded":
            self._control = ToxiproxyControl(embedded)
            return
        url = self._start_real()
        prefix = f"chaoskit-{self._journal.run_id}-{self._folder.name}-"
        real = ToxiproxyControl(url)
        real.version()
        self._control = _Journaled(embedded, real, prefix, url, self._journal, self._radius)

    @property
    def control(self) -> ToxiproxyControl:
        """How it is controlled. Raises BrokenError before :meth:`start`."""
        if self._control is None:
            raise BrokenError("the Toxiproxy server has not been started")
        return self._control

    def describe(self) -> str:
        """Which server serves, with its version."""
        return f"{'at ' if '://' in self.mode else ''}{self.mode} {self.control.version()}"

    def check(self) -> None:
        """Raises BrokenError when a server died."""
        for process in self._processes:
            if process.poll() is not None:
                raise BrokenError(f"{process.name} died; its last lines:\n  " + "\n  ".join(process.last_lines))
        if self._container is not None:
            self._container.check()

    def stop(self) -> None:
        """End the servers, and remove our proxies from one that is not ours."""
        with contextlib.ExitStack() as stack:  # one that does not end keeps no other running
            if self._container is not None:
                stack.callback(self._container.stop)
            for process in self._processes:
                stack.callback(process.terminate, 1.0)
            if self._control is not None:
                stack.callback(self._control.close)
                if "://" in self.mode:
                    with contextlib.suppress(BrokenError):
                        for name in self._control.counters():
                            self._control.delete_proxy(name)
        self._processes.clear()

    def _start_embedded(self) -> str:
        address: list[tuple[str, int]] = []

        def look(_stream: str, line: str, _at: float) -> None:
            if not address and (found := address_in(line)):
                address.append(found)

        server = self._start(server_command(free_port(), self._seed, self._radius.hosts), "toxiproxy-embedded", look)
        wait_for(
            lambda: address or server.poll() is not None,
            what="the embedded Toxiproxy server",
            limit=START_LIMIT,
            every=0.005,
            last_seen=lambda: " / ".join(server.last_lines) or "no output",
        )
        if not address:
            raise BrokenError("the embedded Toxiproxy server ended: " + " / ".join(server.last_lines))
        return f"http://{address[0][0]}:{address[0][1]}"

    def _start_real(self) -> str:
        if self.mode == "binary":
            return self._start_binary()
        if self.mode == "docker":
            from chaoskit.engine.docker.toxiproxy import ToxiproxyContainer

            self._container = ToxiproxyContainer(self._journal)
            return self._container.start()
        return self._pinned(self.mode)

    def _pinned(self, url: str) -> str:
        """A URL with the number that its host leads to now, unless it is allowed by name. Raises BrokenError."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if plain(host) in self._radius.hosts:
            return url
        try:
            with self._radius.connect(host, port, START_LIMIT) as sock:
                number = sock.getpeername()[0]
        except OSError as error:
            raise BrokenError(f"Toxiproxy at {url} cannot be reached: {error}") from None
        return parts._replace(netloc=f"[{number}]:{port}" if ":" in number else f"{number}:{port}").geturl()

    def _start_binary(self) -> str:
        port = free_port()
        binary = shutil.which(BINARY)
        if binary is None:
            raise BrokenError(f"no {BINARY} on the PATH any more")
        server = self._start([binary, "-host", "127.0.0.1", "-port", str(port)], BINARY, lambda *_: None)
        with contextlib.closing(ToxiproxyControl(f"http://127.0.0.1:{port}")) as control:

            def answers() -> bool:
                with contextlib.suppress(BrokenError):
                    return bool(control.version())
                return server.poll() is not None

            wait_for(answers, what=BINARY, limit=START_LIMIT, last_seen=lambda: " / ".join(server.last_lines))
        self.check()
        return f"http://127.0.0.1:{port}"

    def _start(self, command: list[str], name: str, on_line: OnLine) -> ManagedProcess:
        process = start_process(
            command,
            name=name,
            journal=self._journal,
            pidfile=self._folder / f"{name}.pid",
            on_line=on_line,
            niceness=MEASURES,
        )
        self._processes.append(process)
        return process


class _Journaled(FrontedToxiproxy):
    """Writes a proxy down before it is made on a server that may outlive us, and leads it to within ``radius`` only.

    The real server asks nobody where it may connect to: it is given a number that was looked at.
    """

    def __init__(
        self, tap_url: str, real: ToxiproxyControl, prefix: str, url: str, journal: Journal, radius: BlastRadius
    ) -> None:
        super().__init__(tap_url, real, prefix)
        self._radius = radius
        self._url = url
        self._journal = journal
        self._entries: dict[str, int] = {}

    def create_proxy(self, name: str, upstream: str, listen: str = "127.0.0.1:0") -> ProxyAddress:
        """Journal it, then make it."""
        upstream = self._inside(upstream)
        self._entries[name] = self._note("proxy", self._name(name))
        return super().create_proxy(name, upstream, listen)

    def _note(self, kind: str, name: str, proxy: str = "") -> int:
        return self._journal.add(kind, url=self._url, listens=listens(self._url), name=name, proxy=proxy)

    def set_upstream(self, name: str, upstream: str) -> None:
        """Lead the real proxy elsewhere, within the blast radius."""
        super().set_upstream(name, self._inside(upstream))

    def _inside(self, upstream: str) -> str:
        """The same place, as a number. Raises BrokenError where it may not be connected to, or has no address."""
        host, _, port = upstream.rpartition(":")
        try:
            address = self._radius.resolve(host.strip("[]"), int(port))[0][1]
        except OSError as error:
            raise BrokenError(f"no proxy leads to {upstream}: {error}") from None
        return join(address[0], address[1])

    def set_toxic(self, proxy: str, toxic: Toxic) -> None:
        """The real server knows no lease: the journal does."""
        entry = self._note("toxic", toxic.name, self._name(proxy))
        self._entries[f"{proxy}/{toxic.name}"] = entry
        super().set_toxic(proxy, toxic)

    def remove_toxic(self, proxy: str, name: str) -> bool:
        """Remove it, and note that it is gone."""
        removed = super().remove_toxic(proxy, name)
        if (entry := self._entries.pop(f"{proxy}/{name}", None)) is not None:
            self._journal.done(entry)
        return removed

    def delete_proxy(self, name: str) -> None:
        """Remove it, and note that it is gone."""
        super().delete_proxy(name)
        self._journal.done(self._entries.pop(name))
