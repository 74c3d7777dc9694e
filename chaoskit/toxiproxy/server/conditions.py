"""On which connections a toxic acts: chaoskit's ``after``, ``every`` and ``first``."""

from __future__ import annotations

from chaoskit.toxiproxy.server.decode import Fields


class Conditions:
    """Skip ``after`` connections; of the rest take each ``every``-th; of those the ``first`` only.

    Connections are counted for each toxic in the order in which they were accepted, from when it was added;
    those that are open then come first.
    """

    __slots__ = ("_count", "after", "every", "first")

    def __init__(self, after: int | None, every: int | None, first: int | None) -> None:
        self.after = after
        self.every = every
        self.first = first
        self._count = 0

    @staticmethod
    def of(fields: Fields) -> Conditions:
        """Those in a toxic's body. Raises BodyError."""
        return Conditions(fields.condition("after", 0), fields.condition("every", 1), fields.condition("first", 1))

    def next(self) -> bool:
        """Whether the toxic may act on the next connection."""
        self._count += 1
        beyond = self._count - (self.after or 0)
        turn, rest = divmod(beyond, self.every or 1)
        return beyond > 0 and rest == 0 and (self.first is None or turn <= self.first)

    def as_dict(self) -> dict[str, int]:
        """Those that were set."""
        found = {"after": self.after, "every": self.every, "first": self.first}
        return {name: value for name, value in found.items() if value is not None}
