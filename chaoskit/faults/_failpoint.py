"""Faults inside a process: a failpoint that is set for the window, in whatever process the service then has."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, unknown
from chaoskit.failpoints.terms import Term, format_terms
from chaoskit.faults import _failpoint_undo as _failpoint_undo  # the journal learns to undo it
from chaoskit.faults._background import Background
from chaoskit.faults._fields import Place, Share, Times
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName
from chaoskit.system.layers import Layer, State, layer
from chaoskit.system.sockets import listens

if TYPE_CHECKING:
    from chaoskit.failpoints.client import FailpointClient
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal

_LOOK = 0.1
"""Seconds between two looks at the hits: those since the latest look are lost when the process dies."""

_PATIENCE = 2.0
"""Seconds that a name may be unknown: a failpoint in the code is known from its first call on."""

_DYING = 1.0
"""Seconds between a process's last word and its end."""

_SIGABRT = -6


class FailpointFault(Fault):
    """Base of the faults that set a failpoint. Evidence: see the pages of each; the facts are the same for all.

    Where several are on one failpoint, the one that began latest acts; when it ends, the one before it comes back,
    with what is left of its count.
    """

    service: ServiceName
    at: Place

    rearmed: ClassVar[bool] = True
    """What :attr:`follows` is, unless the fault's arguments say otherwise."""

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @property
    def to_ask(self) -> str:
        """For the place in the code."""
        return f"does {self.service} come through {self.at}"

    @property
    def follows(self) -> bool:
        """Whether it is set again in a process that was started during the window."""
        return self.rearmed

    def interrupted(self) -> str:
        """Why no other may take its place for a while; empty if one may."""
        return ""

    def conflict(self, other: Fault, *, first: bool) -> str:
        """One whose effect would be another if it were interrupted cannot be the earlier of two."""
        if not first or not isinstance(other, FailpointFault):
            return ""
        same = (other.service, other.at) == (self.service, self.at)
        return self.interrupted() if same else ""

    @abstractmethod
    def chain(self, used: int = 0) -> str | None:
        """gofail's terms, after ``used`` hits in processes that are no more. None when no hit is left."""

    def died_of_it(self, status: int) -> bool:
        """Whether a process that ended with ``status`` ended because of this fault: a fatal panic gives a status
        above 0 or SIGABRT, other signals came from outside."""
        return status > 0 or status == _SIGABRT

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Set the failpoint on entering, switch it off on leaving (what hangs in it goes on)."""
        service = context.service(self.service)
        client = context.failpoints(self.service)
        hook = _Hook(self, service, client)
        evidence = Evidence(unit="hits", facts={"at": self.at, "terms": self.chain()})
        context.hold(service.start)  # what died of it, and is not restarted by a supervisor
        key = ("failpoint", self.service, self.at)
        with layer(context.journal, key, hook, lambda: _Place(context.journal, service, client, self.at)) as place:
            background = Background(f"failpoint {self.at}", lambda stopped: hook.run(place, stopped))
            try:
                yield evidence
            finally:
                background.stop()
                with place.lock:
                    hook.last_look()
                evidence.touched = hook.hits
                evidence.facts |= {"deaths": hook.deaths, "processes": hook.processes}
        background.check()


class TermFault(FailpointFault):
    """Base of the faults that are one term of gofail's language."""

    share: Share = 1.0
    times: Times | None = None

    kind: ClassVar[str]

    @property
    def value(self) -> Any:
        """What stands between the term's brackets."""
        return None

    def chain(self, used: int = 0) -> str | None:
        """The term with its percentage and with what is left of its count."""
        modifiers: list[tuple[str, float]] = []
        if self.share < 1:
            modifiers.append(("%", round(self.share * 100, 6)))
        if self.times is not None:
            if used >= self.times:
                return None
            modifiers.append(("*", self.times - used))
        return format_terms([Term(self.kind, self.value, tuple(modifiers))])


class _Place(State):
    """A failpoint of a service: the fault that began latest acts."""

    def __init__(self, journal: Journal, service: Service, client: FailpointClient, name: str) -> None:
        super().__init__(journal)
        self._service = service
        self._client = client
        self._name = name
        self._acting: _Hook | None = None
        self._noted: dict[str, list[str]] | None = None

    def begin(self) -> None:
        """Raises BrokenError where somebody else has set it."""
        from chaoskit.failpoints.client import FailpointError

        try:
            active = self._client.list().get(self._name) if self._service.pid is not None else None
        except FailpointError as error:
            raise BrokenError(f"{self._service.name}: {error}") from error
        if active:
            raise BrokenError(f"{self._service.name}: {self._name} is set already, to {active}")
        self.follow()

    def follow(self) -> None:
        """Write it down for the process that listens now, if it is another than before: a process takes it along."""
        now_there = listens(self._client.url)
        if now_there != self._noted:
            self._noted = now_there
            self.note("failpoint", url=self._client.url, listens=now_there, name=self._name)

    def set(self, asked: Sequence[_Hook]) -> None:
        before, self._acting = self._acting, asked[-1]
        if before is self._acting:
            return
        if before is not None:
            before.last_look()
        self._acting.begin(self)  # in place of the other
        if before is not None:
            before.step_back(replaced=self._acting.acts)

    def end(self) -> None:
        if self._acting is not None:
            self._acting.free()
        self.done()


class _Hook:
    """What one fault has set in a service's current process, and what it did in all of them."""

    def __init__(self, fault: FailpointFault, service: Service, client: FailpointClient) -> None:
        self._fault = fault
        self._service = service
        self._client = client
        self._pid: int | None = None  # of the process in which it acts
        self._latest: int | None = None  # of the one in which it acted last
        self._seen = 0  # hits of the current process
        self._before = 0  # hits of those that are no more
        self.processes = 0
        self.deaths: list[int] = []

    @property
    def hits(self) -> int:
        """How often it acted so far."""
        return self._before + self._seen

    @property
    def acts(self) -> bool:
        """Whether it is set in the current process."""
        return self._pid is not None

    def begin(self, place: _Place) -> None:
        """Set it, unless the service is down just now. Raises BrokenError for an unknown name."""
        from chaoskit.failpoints.client import FailpointError

        if self._service.pid is None:
            return
        if self.processes:  # it comes back
            self._set_again(place)
            return
        deadline = now() + _PATIENCE
        try:
            while not self._set():
                if now() >= deadline:
                    raise BrokenError(
                        f"{self._service.name}: {unknown('failpoint', self._fault.at, self._client.list())}. "
                        "A failpoint in the code is known from its first call on"
                    )
                threading.Event().wait(0.05)
        except FailpointError as error:
            raise BrokenError(f"{self._service.name}: {error}") from error

    def run(self, place: Layer[_Place], stopped: threading.Event) -> None:
        """Follow the hits, and the service into its next process, unless another fault acts."""
        while not stopped.wait(_LOOK):
            with place.lock:
                if place.asked()[-1] is self:
                    self.look()
                    self._set_again(place.state)

    def look(self) -> bool:
        """Take note of the hits so far, or of the process's death. False when it tells neither."""
        from chaoskit.failpoints.client import FailpointError

        if self._pid is None:
            return True
        if self._service.pid == self._pid:
            try:
                self._seen = self._client.count(self._fault.at)
            except FailpointError as error:
                if self._service.pid == self._pid and error.status is not None:
                    raise BrokenError(f"{self._service.name}: the hits cannot be told: {error}") from error
                if self._service.pid == self._pid:
                    return False  # dying, stopped, or too busy
            else:
                return True
        status = self._service.last_exit
        if status is not None and self._fault.died_of_it(status):
            self.deaths.append(status)
            self._seen = max(self._seen, 1)  # the last hit was never told
        self._before, self._seen, self._pid = self.hits, 0, None
        return True

    def last_look(self) -> None:
        """The final figures. A process that is just dying is waited for."""
        deadline = now() + _DYING
        while not self.look() and now() < deadline:
            threading.Event().wait(0.02)

    def step_back(self, *, replaced: bool) -> None:
        """Act no longer, as another fault does; where that one does not act either, this is switched off."""
        if not replaced:
            self.free()
        self._before, self._seen, self._pid = self.hits, 0, None

    def _set_again(self, place: _Place) -> None:
        from chaoskit.failpoints.client import FailpointError

        pid = self._service.pid
        may = self._fault.follows or not self.processes or pid == self._latest
        if self._pid is not None or pid is None or not may:
            return
        place.follow()
        try:
            self._set()
        except FailpointError as error:
            if error.status is not None:
                raise BrokenError(f"{self._service.name}: {error}") from error
            return  # the new process does not listen yet

    def _set(self) -> bool:
        """True when it is set (or no hit is left); False when its name is not known (yet)."""
        from chaoskit.failpoints.client import FailpointError

        terms, pid = self._fault.chain(self._before), self._service.pid
        if terms is None:
            return True
        try:
            self._client.put(self._fault.at, terms)
        except FailpointError as error:
            if "does not exist" in str(error):
                return False
            raise
        self.processes += pid != self._latest
        self._pid = self._latest = pid
        return True

    def free(self) -> None:
        """Switch it off. Raises BrokenError when a living process does not let it be switched off."""
        from chaoskit.failpoints.client import FailpointError

        if self._pid is None or self._service.pid != self._pid:
            return
        try:
            self._client.delete(self._fault.at)
        except FailpointError as error:
            if self._service.pid == self._pid:
                raise BrokenError(f"{self._service.name}: could not be switched off: {error}") from error
        self._pid = None
