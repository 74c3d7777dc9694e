"""What a Redis or Valkey server holds, taken once and brought back in place, with what time keys have left."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from chaoskit.base.errors import BrokenError
from chaoskit.base.units import format_size
from chaoskit.services.base import SNAPSHOT_LIMIT, Address

_BATCH = 1000
"""Commands that are sent before their answers are read."""

_ANSWER = 10.0
"""Seconds until an answer comes."""

Reply = bytes | int | list["Reply"] | None
Word = bytes | str | int


@dataclass(frozen=True)
class RedisSnapshot:
    """Keys with their values as the server dumps them, by database, and its library of functions.

    Two are equal when they hold the same; what ``milliseconds`` keys have left (0: they stay for ever) differs anyway.
    Not in it: the cache of scripts and settings, which a reset leaves alone.
    """

    values: dict[tuple[int, bytes], bytes]
    milliseconds: dict[tuple[int, bytes], int] = field(compare=False)
    functions: bytes | None

    @classmethod
    def take(cls, name: str, address: Address) -> RedisSnapshot:
        """What the server of the service ``name`` holds. Raises BrokenError, also when that is more than 64 MB."""
        with _Connection(name, address) as redis:
            values: dict[tuple[int, bytes], bytes] = {}
            left: dict[tuple[int, bytes], int] = {}
            size = 0
            for database in redis.databases():
                redis.ask("SELECT", database)
                for keys in redis.scanned():
                    dumped = redis.ask_all([("DUMP", key) for key in keys])
                    ttls = redis.ask_all([("PTTL", key) for key in keys])
                    for key, value, ttl in zip(keys, dumped, ttls, strict=True):
                        if isinstance(value, bytes) and isinstance(ttl, int) and ttl != -2:  # else it has just expired
                            values[database, key], left[database, key] = value, max(ttl, 0)
                            size += len(key) + len(value)
                    if size > SNAPSHOT_LIMIT:
                        raise BrokenError(
                            f"{name} holds more than {format_size(SNAPSHOT_LIMIT)} when its services are ready, and so "
                            "much is not brought back between scenarios; say reset: none to have it stay as it is"
                        )
            return cls(values, left, redis.functions())

    def restore(self, name: str, address: Address) -> None:
        """Bring it back; no other client sees a part of it. Raises BrokenError."""
        with _Connection(name, address) as redis:
            if self.functions is not None and redis.functions() != self.functions:
                redis.ask("FUNCTION", "RESTORE", self.functions, "FLUSH")
            redis.flush()  # alone as well: a server whose memory is full takes no RESTORE, not even later on
            commands: list[Sequence[Word]] = [("MULTI",), ("FLUSHALL",)]
            selected = -1
            for (database, key), value in self.values.items():
                if database != selected:
                    commands.append(("SELECT", database))
                    selected = database
                commands.append(("RESTORE", key, self.milliseconds[database, key], value))
            redis.ask_all([*commands, ("EXEC",)])


class _Connection:
    """A connection past the proxy, on which several commands are under way at a time."""

    def __init__(self, name: str, address: Address) -> None:
        self._name = name
        self._address = address

    def __enter__(self) -> _Connection:
        try:
            self._socket = socket.create_connection(self._address, timeout=_ANSWER)
        except OSError as error:
            raise BrokenError(f"{self._name} at port {self._address[1]}: {error}") from error
        self._answers: BinaryIO = self._socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def ask(self, *words: Word) -> Reply:
        """The answer to one command."""
        return self.ask_all([words])[0]

    def ask_all(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        """The answers to commands, in their order. Raises BrokenError for one that is an error."""
        answers: list[Reply] = []
        for start in range(0, len(commands), _BATCH):
            batch = commands[start : start + _BATCH]
            try:
                self._socket.sendall(b"".join(map(_encoded, batch)))
                for words in batch:
                    answers.append(self._read(words))
            except OSError as error:
                raise BrokenError(f"{self._name}: {batch[0][0]!s}: {error}") from error
        return answers

    def flush(self) -> None:
        """Empty all databases, with the memory free when it is done: left to itself a server may free it later."""
        try:
            self.ask("FLUSHALL", "SYNC")
        except BrokenError:
            self.ask("FLUSHALL")  # before Redis 6.2, where it always is

    def databases(self) -> list[int]:
        """Those that hold keys."""
        told = self.ask("INFO", "keyspace")
        return [int(number) for number in re.findall(rb"(?m)^db(\d+):", told if isinstance(told, bytes) else b"")]

    def scanned(self) -> Iterator[list[bytes]]:
        """All keys of the selected database, in parts; each once."""
        cursor: Any = b"0"
        seen: set[bytes] = set()
        while True:
            told: Any = self.ask("SCAN", cursor, "COUNT", _BATCH)
            cursor, keys = told
            new = [key for key in dict.fromkeys(keys) if key not in seen]
            seen.update(new)
            yield new
            if cursor == b"0":
                return

    def functions(self) -> bytes | None:
        """Its library of functions; None before Redis 7."""
        try:
            told = self.ask("FUNCTION", "DUMP")
        except BrokenError:
            return None
        return told if isinstance(told, bytes) else None

    def _read(self, words: Sequence[Word]) -> Reply:
        line = self._answers.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._answers.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._read(words) for _ in range(int(rest))]
        why = line.decode("utf-8", "replace") or "the connection was closed"
        raise BrokenError(f"{self._name}: {words[0]!s}: {why}")


def _encoded(words: Sequence[Word]) -> bytes:
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
