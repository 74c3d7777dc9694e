"""End connections after a number of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from chaoskit.faults._toxic import ToxicFault
from chaoskit.language.types import Size

if TYPE_CHECKING:
    from chaoskit.toxiproxy.facts import ToxicCounters


class LimitData(ToxicFault):
    """Lets a number of bytes through on each connection, then closes it.

    Rehearses answers that break off in the middle: is half an answer taken for a whole one?

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``bytes``: how many (``1KB``), counted per connection from when the fault began; ``0B`` closes at the first.
    - ``direction``: ``downstream`` (answers, the default) or ``upstream`` (requests).
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    Evidence counts the ``connections`` that were cut.
    """

    bytes: Size

    toxic: ClassVar[str] = "limit_data"

    def attributes(self) -> dict[str, int]:
        """In bytes."""
        return {"bytes": round(self.bytes)}

    def touched(self, toxic: ToxicCounters, ended: int) -> int:  # noqa: ARG002  # the base's signature
        """Connections that were cut."""
        return toxic.cut
