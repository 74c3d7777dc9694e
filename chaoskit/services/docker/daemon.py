"""The Docker daemon: one client for the whole process, and the only place that knows Docker's exceptions."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import mask
from chaoskit.services.docker.endpoint import UNIX, USUAL, endpoint, here

ANSWER = 20.0
"""Seconds that the daemon may take for an answer (pulls and builds take as long as they take)."""

INSTALL = "is it stopped, or DOCKER_HOST wrong? To install Docker: https://docs.docker.com/engine/install/"

FORWARDERS = {"ssh", "sshd", "autossh", "socat", "nc", "ncat", "netcat", "kubectl"}
"""Programs that lead a socket to another machine."""

_lock = threading.Lock()
_clients: dict[str, Any] = {}
_chosen: ContextVar[str | None] = ContextVar("chaoskit_docker_host", default=None)


class MissingError(BrokenError):
    """There is no such container, network or image."""


class ConflictError(BrokenError):
    """Its state does not allow it: a name is taken, it does not run, it is being removed."""


class Refused(BrokenError):
    """The daemon said no. ``status`` is the HTTP status of its answer."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def host() -> str:
    """Where the daemon is asked: what :func:`at` says (empty: the usual place), else as Docker's own client does.

    Raises BrokenError for a daemon of another machine.
    """
    chosen = _chosen.get()
    return endpoint() if chosen is None else here(chosen or USUAL, f"the Docker daemon {mask(chosen)}")


@contextlib.contextmanager
def at(place: str | None) -> Iterator[None]:
    """In the block this thread asks the daemon at ``place``, as :func:`host` gives it, whatever Docker's settings say.

    None leaves it as it is. What a run has made is undone where it was made, by whomever.
    """
    token = _chosen.set(place)
    try:
        yield
    finally:
        _chosen.reset(token)


def client() -> Any:
    """The shared ``docker.DockerClient``; may be used from all threads. Raises BrokenError as :func:`connect`."""
    place = host()
    with _lock:
        if place not in _clients:
            _clients[place] = connect(ANSWER)
        return _clients[place]


def connect(timeout: float) -> Any:
    """A ``docker.DockerClient`` of one's own, whose answers may take ``timeout`` seconds.

    Raises BrokenError when no daemon answers, and for one that is not known to be on this machine.
    """
    place = host()
    _knock()
    with asking("answer"):
        import docker

        environ = {**os.environ, "DOCKER_HOST": place}
        made = docker.from_env(version="auto", timeout=timeout, max_pool_size=64, environment=environ)
        kernel = made.api.version(api_version=False).get("KernelVersion", "")
    if kernel != os.uname().release:
        made.close()
        told = f"({kernel}, here {os.uname().release})" if kernel else "(it does not say which)"
        raise BrokenError(
            f"the Docker daemon at {place} runs on another kernel {told}: its containers would be on another machine, "
            "or in a virtual one"
        )
    return made


def refusal() -> str:
    """Why Docker cannot be used, with what to do about it; empty when a daemon answers."""
    try:
        _knock()
        ask("answer", lambda: client().ping())
    except BrokenError as error:
        return str(error)
    return ""


def _knock() -> None:
    """Raises BrokenError when nobody listens at the daemon's socket (there Docker's client leaves sockets open)."""
    place = host()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER)
        try:
            probe.connect(place.removeprefix(UNIX))
        except OSError as error:
            raise BrokenError(f"no Docker daemon answers at {place}: {error.strerror or error}; {INSTALL}") from None
        listener, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    # The kernel tells who listens. A pid of 0 is nobody whom we could see; what passes calls on may lead anywhere.
    who = _name_of(listener)
    if not listener or who in FORWARDERS:
        why = f"{who} ({listener}) passes on what it is asked" if listener else "it is no process seen from here"
        raise BrokenError(
            f"the Docker daemon at {place} is not known to be on this machine: {why}, so its containers may not be; "
            "use the daemon's own socket, on the machine where chaoskit runs"
        )


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def version() -> str:
    """The daemon's version. Raises BrokenError."""
    return str(ask("tell its version", lambda: client().version()["Version"]))


def ask(what: str, call: Any) -> Any:
    """The result of ``call``. Raises BrokenError (:class:`Missing` ...) that says ``what`` was asked of Docker."""
    with asking(what):
        return call()


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Whatever Docker's client raises in the block becomes a BrokenError that says ``what`` was asked."""
    import docker.errors
    import requests
    import urllib3

    try:
        yield
    except docker.errors.APIError as error:
        raise _refused(what, error) from None
    except requests.ReadTimeout:
        raise BrokenError(f"Docker did not {what} within {ANSWER:g} s: does its daemon hang?") from None
    except (requests.ConnectionError, FileNotFoundError, ConnectionError) as error:
        raise BrokenError(f"no Docker daemon answers (asked to {what}): {_reason(error)}; {INSTALL}") from None
    except docker.errors.DockerException as error:
        raise BrokenError(f"Docker could not be asked to {what}: {_reason(error)}; {INSTALL}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise BrokenError(f"Docker broke off when asked to {what}: {_reason(error)}") from None


def _refused(what: str, error: Any) -> BrokenError:
    status = error.response.status_code if error.response is not None else 0
    text = f"Docker could not {what}: {error.explanation or error}".strip()
    kinds = {404: MissingError, 409: ConflictError}
    return kinds[status](text) if status in kinds else Refused(text, status)


def _reason(error: BaseException) -> str:
    """The innermost cause: requests wraps several times."""
    while isinstance(error.args[0] if error.args else None, BaseException):
        error = error.args[0]
    inner = error.__cause__ or error.__context__
    text = str(error.args[-1] if isinstance(error, OSError) and error.args else error)
    return text if inner is None or "Error" not in text else str(inner)


def close(stream: Any) -> None:
    """End a stream of the client's, from any thread. Its own close() leaves the connection to the garbage collector."""
    with contextlib.suppress(OSError, AttributeError):  # it has ended by itself
        stream.close()
    with contextlib.suppress(OSError):
        stream._response.close()


class Watch:
    """Notices when the daemon ends or is started anew, which ends the containers that it runs."""

    def __init__(self, run_id: str) -> None:
        self._lost = ""
        self._stopping = False
        with asking("tell its events"):
            self._stream = client().events(filters={"label": f"chaoskit.run={run_id}"})
        self._thread = threading.Thread(target=self._run, name="chaoskit-docker-watch", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises BrokenError once the daemon was lost."""
        if self._lost:
            raise BrokenError(self._lost)

    def stop(self) -> None:
        """End the watch."""
        self._stopping = True
        close(self._stream)
        self._thread.join(5.0)

    def _run(self) -> None:
        reason = "it ended, or was restarted"
        try:
            with asking("tell its events"):
                for _ in self._stream:
                    pass
        except Exception as error:  # a stream that is closed under its reader raises all sorts
            reason = str(error) or type(error).__name__
        if not self._stopping:
            self._lost = f"the Docker daemon was lost during the run: {reason}. Its containers have ended with it"
