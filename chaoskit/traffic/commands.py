"""What the engine and the worker say to each other: one JSON object per line."""

from __future__ import annotations

from typing import Any

import msgspec

from chaoskit.traffic.spec import Operation, Stream


class Begin(msgspec.Struct, tag_field="cmd", tag="begin", kw_only=True):
    """Start a new session; one that is going on is dropped. Answered by ``begun``.

    ``session`` numbers it; errors carry the number, so that a late one is not taken for the next session's.
    Requests go to loopback and to ``hosts`` (see :class:`chaoskit.base.blast_radius.BlastRadius`).
    """

    session: int
    seed: int
    operations: list[Operation]
    variables: dict[str, Any] = {}
    hosts: list[str] = []


class StartStream(msgspec.Struct, tag_field="cmd", tag="stream", kw_only=True):
    """Start a stream of the session."""

    stream: Stream


class Stop(msgspec.Struct, tag_field="cmd", tag="stop", kw_only=True):
    """Stop a stream."""

    id: str


class End(msgspec.Struct, tag_field="cmd", tag="end", kw_only=True):
    """End the session after at most ``drain`` seconds. Answered by a ``schedules`` row and ``ended``."""

    drain: float


class Quit(msgspec.Struct, tag_field="cmd", tag="quit"):
    """Exit at once."""


Command = Begin | StartStream | Stop | End | Quit


class Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line of the worker: a row of a history file ``kind``, an error, or a signal."""

    kind: str | None = None
    row: msgspec.Raw = msgspec.Raw()
    error: str | None = None
    session: int = 0
    ready: bool = False
    begun: bool = False
    ended: bool = False
