"""Cut what goes through a proxy into small pieces."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, model_validator

from chaoskit.faults._fields import Micros, micros
from chaoskit.faults._toxic import ToxicFault
from chaoskit.language.types import Size, problem


def _one_byte(size: float) -> float:
    if size < 1:
        raise problem(f"pieces have at least 1B, is {size:g}B")
    return size


class Slice(ToxicFault):
    """Cuts data into small pieces that arrive one after the other.

    Rehearses readers that take one ``recv`` for one message, and parsers at the seams of packets.

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``size``: of a piece on average (``64B``).
    - ``variation``: sizes are spread over size ± variation (``16B``); 0B unless given, at most ``size``.
    - ``delay``: from one piece to the next (``100us``, in whole microseconds); 0s unless given.
    - ``direction``: ``downstream`` (answers, the default) or ``upstream`` (requests).
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    Evidence counts the ``connections`` whose data was cut up (or was shorter than one piece).
    """

    size: Annotated[Size, AfterValidator(_one_byte)]
    variation: Size = 0.0
    delay: Micros = 0.0

    toxic: ClassVar[str] = "slicer"

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.variation > self.size:
            raise problem(f"variation is at most size ({self.size:g}B), is {self.variation:g}B")
        return self

    def attributes(self) -> dict[str, int]:
        """In bytes and microseconds."""
        return {
            "average_size": round(self.size),
            "size_variation": round(self.variation),
            "delay": micros(self.delay),
        }
