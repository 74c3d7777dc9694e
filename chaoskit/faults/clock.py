"""Let a service live at another time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.faults._container import container_of
from chaoskit.faults._host_capabilities import faketime_library, lacking
from chaoskit.faults._life import LifeFault, Wish, living
from chaoskit.language.fault import Evidence, FaultContext
from chaoskit.language.types import Duration, problem
from chaoskit.system.pids import family, identify

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service


class Clock(LifeFault):
    """Restarts a service with its clock ahead or behind (libfaketime), and once more with the true time afterwards.

    Rehearses a machine without time synchronisation, and what only shows at a certain date: leases and tokens that
    expire too early or never, caches that are never fresh, certificates not valid yet, rows in the wrong order.

    Arguments:

    - ``service``: which one.
    - ``ahead``: by how much it is early; or
    - ``behind``: by how much it is late.

    It is the wall clock that is wrong (``CLOCK_REALTIME``); the monotonic clock stays as it is, as on a real machine,
    so that time-outs work. The offset lasts from the start of a process to its end: changed under a running process it
    would do what no real clock does. A clock therefore costs two restarts, in which the service keeps its data and
    its address. A service has one clock at a time. Programs that are linked statically, or that ask the kernel
    themselves (Go), do not notice anything.

    A container is made anew for it, and what it holds outside of volumes is lost; the container of a provider is
    therefore refused. Its image must bring libfaketime.

    Evidence counts the ``processes`` of the service that had the library loaded while the window lasted. Facts:
    ``offset`` (seconds), ``seen`` (the offset that the service showed in the ``Date`` of an HTTP answer, null where
    it gives none; it knows whole seconds only), ``pid``, ``new_pid`` and ``ready_after`` (seconds the first restart
    took). Where ``seen`` is another time than it should be, nothing was touched.
    """

    role: ClassVar[str] = "changes"

    ahead: Duration | None = None
    behind: Duration | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.ahead is None) == (self.behind is None):
            raise problem("which way: either ahead or behind", ["ahead: 1h", "behind: 10m"])
        if not self._offset:
            raise problem("0s changes nothing")
        return self

    @property
    def _offset(self) -> float:
        return (self.ahead or 0.0) - (self.behind or 0.0)

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes without libfaketime; on containers without root, who may look into them."""
        return lacking("root" if setting.runtime == "docker" else "faketime")

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Restart it with the offset before the window is entered, and without after it."""
        service = context.service(self.service)
        evidence = Evidence(unit="processes", facts={"offset": self._offset, "pid": service.pid})
        if container_of(service) is not None:
            if service.pid is None:  # nobody can look into it for the library
                yield evidence
                return
            if service.spec.provider is not None:
                raise BrokenError(f"{self.service} is the container of a provider, whose data would be lost")
        env = self._environment(_library(service), str(service.spec.env.get("LD_PRELOAD", "")))
        context.hold(service.start)  # where the cure fails, the next scenario shall not suffer
        began = now()
        with living(context.journal, service, Wish(env=env)) as life:
            # None where another fault keeps it stopped: then it will be started with the offset.
            evidence.facts |= {"new_pid": service.pid, "ready_after": round(now() - began, 3)}
            loaded = _loaded(service)
            yield evidence
            with life.lock:
                ours = [wish for wish in life.asked() if wish.env][-1] is life.ask  # none has just begun after it
                seen = _seen(service) if ours else None
                evidence.facts["seen"] = seen
                wrong = seen is not None and abs(seen - self._offset) > 2.0
                evidence.touched = 0 if wrong else max(loaded, _loaded(service))

    def _environment(self, library: Path, preloaded: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": " ".join(filter(None, (str(library), preloaded))),
            "FAKETIME": f"{self._offset:+.6f}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library(service: Service) -> Path:
    """Where libfaketime is, as the service sees it. Raises BrokenError where it is not."""
    contained = container_of(service) is not None
    root = Path(f"/proc/{service.pid}/root") if contained else Path("/")
    try:
        found = faketime_library(root)
    except PermissionError as error:
        raise BrokenError(f"cannot see the files of {service.name}'s container: {error.strerror}") from error
    if found is None:
        where = f"the image of {service.name}" if contained else "this machine"
        raise BrokenError(f"no libfaketimeMT.so.1 in {where}: install the package libfaketime")
    return found


def _loaded(service: Service) -> int:
    """How many processes of a service have the library in their memory."""
    pid = service.pid
    leader = identify(pid) if pid is not None else None
    found = 0
    for process in family(leader) if leader is not None else []:
        try:
            found += "/libfaketime" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError as error:
            raise BrokenError(f"cannot see the memory of process {process.pid}: it belongs to another user") from error
    return found


def _seen(service: Service) -> float | None:
    """By how many seconds the ``Date`` of an HTTP answer differs from our time; None where there is none."""
    if service.protocol != "http":
        return None
    connection = HTTPConnection(service.host, service.port, timeout=2.0)
    try:
        connection.request("GET", service.spec.ready.http or "/")
        told = connection.getresponse().getheader("Date")
        return None if told is None else round(parsedate_to_datetime(told).timestamp() - time.time(), 1)
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
