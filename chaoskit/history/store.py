"""The history of one scenario: append-only rows in memory and, at the same time, in the run's folder.

A crash leaves every row that was flushed (the engine flushes five times a second), so what was seen until then
can still be judged.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import STORED, By, mask_texts, mask_values
from chaoskit.base.plain_files import MOST
from chaoskit.base.units import format_duration
from chaoskit.history import rows as r
from chaoskit.history.files import create_kept, make_folder, open_kept
from chaoskit.system.processes import CUT

LONGEST = 7 * 24 * 3600.0
"""Seconds from the first to the last moment of a history that is read."""

R = TypeVar("R", bound=r.Row)
_OURS: dict[type[r.Row], str] = {
    r.Phase: "name",
    r.Request: "op stream id traceparent idempotency_key method unread absent",
    r.Connection: "proxy client end",
    r.Exchange: "proxy method id end",
    r.Fault: "name kind target unit",
    r.Sample: "service",
    r.Log: "service stream",
    r.Event: "service what",
    r.Read: "name",
    r.Alert: "name source fingerprint",
    r.SopRun: "sop alert fingerprint incident target_service report",
    r.Span: "service trace_id span_id parent_id kind",
}
"""Texts that are written as they are, by kind of row: names, ids and kinds, by which rows are found. All others may
hold what somebody has told."""
_NAMES = {kind: name for name, kind in r.KINDS.items()}


class History:
    """Rows by kind, each in the order of arrival. Safe to add to from several threads."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._rows: dict[type[r.Row], list[r.Row]] = {kind: [] for kind in r.KINDS.values()}
        self._files: dict[type[r.Row], IO[bytes]] = {}
        self._lock = threading.Lock()
        self._mark = _marks()
        self._encode = msgspec.json.Encoder().encode
        if folder is not None:
            make_folder(folder)

    def add(self, row: r.Row) -> None:
        """Append one row. After :meth:`close` rows are dropped: the history of a scenario has an end."""
        kind = type(row)
        with self._lock:
            if self._encode is None:
                return
            self._rows[kind].append(row)
            if self.folder is not None:
                file = self._files.get(kind)
                if file is None:
                    file = create_kept(self.folder / f"{_NAMES[kind]}.jsonl")
                    self._files[kind] = file
                file.write(self._encode(_kept(row, self._mark)) + b"\n")

    def rows(self, kind: type[R]) -> list[R]:
        """A copy of all rows of one kind so far."""
        with self._lock:
            return list(self._rows[kind])  # type: ignore[arg-type]  # the dict maps each kind to its own rows

    def since(self, kind: type[R], start: int) -> list[R]:
        """Rows of one kind from index ``start`` on: cheap to follow while the scenario runs."""
        with self._lock:
            return self._rows[kind][start:]  # type: ignore[return-value]  # as above

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        with self._lock:
            for file in self._files.values():
                file.flush()

    def close(self) -> None:
        """Close the files. Later rows are dropped."""
        with self._lock:
            self._encode = None  # type: ignore[assignment]  # the mark that add() looks for
            for file in self._files.values():
                file.close()
            self._files.clear()

    def counts(self) -> dict[str, int]:
        """Number of rows of each kind, by file name."""
        with self._lock:
            return {_NAMES[kind]: len(rows) for kind, rows in self._rows.items() if rows}


def _holds_text(type_: Any) -> bool:
    inspect = msgspec.inspect
    match type_:
        case inspect.StrType() | inspect.AnyType():
            return True
        case inspect.UnionType():
            return any(map(_holds_text, type_.types))
        case inspect.DictType():
            return _holds_text(type_.value_type)
        case inspect.ListType():
            return _holds_text(type_.item_type)
    return False


def _told(kind: type[r.Row]) -> tuple[str, ...]:
    fields = msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]  # every row is a struct
    ours = _OURS.get(kind, "").split()
    return tuple(field.name for field in fields if field.name not in ours and _holds_text(field.type))


_TOLD = {kind: _told(kind) for kind in r.KINDS.values()}
"""Fields that are masked, by kind of row."""


def _kept(row: r.Row, by: By) -> Any:
    """The row as it is written: files are kept, copied and uploaded, so what somebody has told is masked."""
    kept: dict[str, Any] = {}
    # What an alert is called, the key of all that a look at the rules tells, says nothing of its value.
    masking = mask_texts if isinstance(row, r.Rules) else mask_values
    for name in _TOLD[type(row)]:
        told = getattr(row, name)
        if told and (masked := masking(told, by)) != told:
            kept[name] = masked
    if "line" in kept and row.line.endswith(CUT) and not kept["line"].endswith(CUT):  # type: ignore[attr-defined]
        kept["line"] += CUT  # a secret that was cut off took it along, and that it was is judged
    if isinstance(row, r.Sample) and not math.isfinite(row.value):  # JSON has no such number
        return {**msgspec.structs.asdict(row), "value": str(row.value), **kept}
    return msgspec.structs.replace(row, **kept) if kept else row


def _marks() -> Callable[[str], str]:
    """What stands for each secret: the same for the same, so that paths and series which differed still do.

    The key is nowhere kept, so nobody can find out by trying which secret it was.
    """
    key = os.urandom(16)

    def mark(secret: str) -> str:
        digest = hashlib.blake2b(secret.encode(errors="surrogatepass"), digest_size=8, key=key)
        return f"{STORED}-{digest.hexdigest()}"

    return mark


def load(folder: Path) -> History:
    """Read a history back. A last line cut short by a crash is dropped; any other bad line is an error.

    Raises BrokenError that names file and line; also for one that lasts for longer than :data:`LONGEST`.
    """
    history = History()
    for name, kind in r.KINDS.items():
        file = folder / f"{name}.jsonl"
        try:
            with open_kept(folder, file.name) as stream:
                history._rows[kind].extend(_read(file, stream, kind))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BrokenError(f"{file} cannot be read: {error.strerror}") from None
    spans = [(row.started, row.ended) for row in history.rows(r.Phase)]
    spans += [(row.started, row.ended) for row in history.rows(r.Fault)]
    spans += [(row.intended, row.ended) for row in history.rows(r.Request)]
    if spans and max(end for _, end in spans) - min(start for start, _ in spans) > LONGEST:
        # Figures are looked for second by second.
        raise BrokenError(f"{folder} is no history of a scenario: it lasts for longer than {format_duration(LONGEST)}")
    return history


def _read(file: Path, stream: IO[bytes], kind: type[r.Row]) -> Iterator[r.Row]:
    decode = msgspec.json.Decoder(kind, strict=kind is not r.Sample).decode  # see _kept()
    for number, line in enumerate(iter(lambda: stream.readline(MOST), b""), 1):
        if line == b"\n":
            continue
        try:
            yield decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            if not line.endswith(b"\n") and len(line) < MOST:
                return  # written by a process that was killed in mid-line
            raise BrokenError(f"{file}:{number}: not a row of a history: {error}") from None
