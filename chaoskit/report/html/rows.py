"""Rows of one kind out of a scenario's folder, as many as can be read: a page about a broken run must still be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from chaoskit.history.files import open_kept
from chaoskit.history.rows import KINDS, Row

R = TypeVar("R", bound=Row)
_NAMES = {kind: name for name, kind in KINDS.items()}


def rows(folder: Path, kind: type[R]) -> Iterator[R]:
    """In the order of the file. Lines that are no such row (the last of a run that was killed) are passed over."""
    try:
        lines = open_kept(folder, f"{_NAMES[kind]}.jsonl")
    except OSError:
        return
    decode = msgspec.json.Decoder(kind).decode
    with lines:
        for line in lines:
            try:
                yield decode(line)
            except msgspec.DecodeError:
                continue
