"""What was seen, kept for a while: rows of connections and exchanges, to be fetched by cursor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from json import JSONEncoder
from typing import Any, Literal

_encode = JSONEncoder(separators=(",", ":")).encode
Kind = Literal["connections", "exchanges"]

CAPACITY = 200_000
"""Rows kept; the oldest are dropped first."""
PAGE = 20_000
"""Rows given out at a time, so that a large answer does not hold up the traffic."""


class Ledger:
    """A ring of rows, encoded when they are added (a row costs a few µs then, and nothing when read)."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._rows: deque[str] = deque(maxlen=capacity)
        self._added = 0

    def add(self, kind: Kind, row: dict[str, Any]) -> None:
        """Append a row."""
        self.append(encode(kind, row))

    def append(self, line: str) -> None:
        """Append a row that is a line of NDJSON already."""
        self._rows.append(line)
        self._added += 1

    def since(self, cursor: int, still_open: Iterable[str] = ()) -> str:
        """NDJSON: a head with the next cursor and how many rows are lost, then the rows after ``cursor``.

        The lines of ``still_open`` follow when nothing is left for another page.
        """
        oldest = self._added - len(self._rows)
        first = min(max(cursor, oldest), self._added)
        page = list(islice(self._rows, first - oldest, first - oldest + PAGE))
        after = first + len(page)
        head = _encode({"next": after, "dropped": max(0, oldest - cursor), "more": after < self._added})
        lines = [head, *page]
        if after == self._added:
            lines += still_open
        return "\n".join(lines) + "\n"


def encode(kind: Kind, row: dict[str, Any], still_open: bool = False) -> str:
    """One line of NDJSON."""
    line: dict[str, Any] = {"kind": kind, "row": row}
    if still_open:
        line["open"] = True
    return _encode(line)
