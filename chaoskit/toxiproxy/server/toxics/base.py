"""What a toxic is: a generator that says what it waits for, and is given it."""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.decode import BodyError, Fields


class Wait(NamedTuple):
    """What a toxic waits for: a chunk (``wants_chunk``), a moment (monotonic seconds), or the earlier of both."""

    wants_chunk: bool
    until: float


NEXT = Wait(True, inf)
"""``chunk = yield NEXT``: the next chunk, or None when the stream has ended."""


def sleep(until: float) -> Wait:
    """``yield sleep(moment)``: until that moment, never less. Chunks queue up meanwhile."""
    return Wait(False, until)


def next_before(until: float) -> Wait:
    """``chunk = yield next_before(moment)``: None at the end of the stream or when the moment has come."""
    return Wait(True, until)


Steps = Generator[Wait, Chunk | None, None]


class Stub(Protocol):
    """A toxic's place in the chain of one connection, as the toxic sees it."""

    memory: int
    """A number of the toxic's own, 0 at first; survives when the toxic is updated and started again."""

    @property
    def random(self) -> Random:
        """Chance that depends on the server's seed, the toxic and the number of the connection only."""

    def emit(self, chunk: Chunk) -> None:
        """Pass on to the next toxic, or to the socket."""

    def touch(self) -> None:
        """Note that the toxic has acted on this connection."""

    def answer(self, data: bytes) -> bool:
        """Send an HTTP answer to the client; False while earlier requests wait for theirs."""

    def reset(self) -> None:
        """End the whole connection with RST, both sides."""


class Toxic:
    """Base of all toxics: the attributes of one, as set through the API.

    A subclass stands in a file named after its type, names its integer attributes in ``ATTRIBUTES`` and writes
    :meth:`run`. Returning from ``run`` ends the stream: everything emitted is delivered, then the connection
    is closed. When the toxic is updated or removed, the generator is closed where it stands: a ``finally``
    emits what the toxic holds, so that nothing is lost.
    """

    ATTRIBUTES: ClassVar[tuple[str, ...]] = ()
    BUFFER: ClassVar[int] = 1
    """Chunks that may queue up before the toxic before it (or the sender) has to wait."""
    CLOSES_WHEN_REMOVED: ClassVar[bool] = False
    """Removing the toxic closes every connection (what it has swallowed is missing)."""

    STREAM: ClassVar[str] = "downstream"
    """The direction when none is named."""
    ONLY_STREAM: ClassVar[bool] = False
    """It acts on that direction only."""

    WATCHES_ANSWERS: ClassVar[bool] = False
    """Answers HTTP requests: the connection must know which of them are unanswered."""
    SELECTIVE: ClassVar[bool] = False
    """Not every chunk given to it is acted on: it says itself (``stub.touch()``) when it acts."""

    AT_OPEN: ClassVar[Literal["", "refuse", "hold"]] = ""
    """Acts on new connections, before the upstream is connected, and never on data: ``run`` is not called."""

    def run(self, stub: Stub) -> Steps:
        """Treat one direction of one connection."""
        raise NotImplementedError

    def read(self, fields: Fields) -> None:
        """Set the attributes that a body names. Raises BodyError, with nothing changed."""
        values = fields.integers("attributes", self.ATTRIBUTES, f"{type(self).__name__}Toxic")
        refused = self.check(values)
        if refused is not None:
            raise BodyError(refused)
        self.change(values)

    def check(self, values: dict[str, int]) -> str | None:  # noqa: ARG002 - for subclasses
        """Why these attributes are refused, or None."""
        return None

    def values(self) -> dict[str, Any]:
        """The attributes as the API shows them."""
        return {name: getattr(self, name) for name in self.ATTRIBUTES}

    def change(self, values: dict[str, int]) -> None:
        """Set some of the attributes."""
        for name, value in values.items():
            setattr(self, name, value)
