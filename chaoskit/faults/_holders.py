"""How ``pool_exhaustion`` opens, watches and closes the connections of one kind of server.

A refused connection is an OSError, whatever the driver calls it.
"""

from __future__ import annotations

import contextlib
import select
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from chaoskit.base.errors import BrokenError

NAME = "chaoskit pool_exhaustion"
"""What our sessions are called at the server, so that they are told from those of others."""

_LIMIT = 2.0
"""Seconds that opening one connection may take."""


class Holder(ABC):
    """Connections to one server."""

    can_evict = False

    @abstractmethod
    def open(self) -> Any:
        """A connection that the server has accepted. Raises OSError where it did not."""

    @abstractmethod
    def alive(self, connection: Any) -> bool:
        """False when the other side has closed it."""

    @abstractmethod
    def close(self, connection: Any) -> None:
        """Release it. Harmless when it is closed."""

    def evict(self, held: Sequence[Any]) -> int:
        """End the sessions of others by means of one that is ``held``; tells how many. Nothing if none is held."""
        raise NotImplementedError(f"{type(self).__name__} ends no sessions; held: {len(held)}")


def holder_for(url: str, address: tuple[str, int]) -> Holder:
    """The holder that suits a service with this URL; ``address`` is its proxy's host and port."""
    if url.startswith(("postgresql:", "postgres:")):
        return PostgresHolder(url)
    if url.startswith("redis:"):
        return RedisHolder(address)
    return SocketHolder(address)


class SocketHolder(Holder):
    """Plain TCP connections."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def open(self) -> socket.socket:
        """Connect."""
        return socket.create_connection(self._address, timeout=_LIMIT)

    def alive(self, connection: Any) -> bool:
        """An idle server sends nothing: something to read is the end."""
        return not _readable(connection)

    def close(self, connection: Any) -> None:
        """Close."""
        connection.close()


class RedisHolder(SocketHolder):
    """Clients of a Redis server. Above ``maxclients`` it accepts, says so and closes: only PONG is a yes."""

    can_evict = True

    def open(self) -> socket.socket:
        """Connect, and see that the server took us."""
        connection = super().open()
        try:
            _redis(connection, f"CLIENT SETNAME {NAME.replace(' ', '-')}")
        except OSError:
            connection.close()
            raise
        return connection

    def evict(self, held: Sequence[Any]) -> int:
        """CLIENT KILL to all that do not bear our name."""
        if not held:
            return 0
        ended = 0
        with contextlib.suppress(OSError):  # ours was closed meanwhile; the next round has another
            for line in _redis(held[0], "CLIENT LIST").splitlines():
                facts = dict(word.partition("=")[::2] for word in line.split())
                if facts.get("name") != NAME.replace(" ", "-") and "id" in facts:
                    ended += _redis(held[0], f"CLIENT KILL ID {facts['id']}") != "0"
        return ended


class PostgresHolder(Holder):
    """Idle sessions of a PostgreSQL server."""

    can_evict = True

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            import psycopg
        except ImportError as error:
            raise BrokenError(f"holding PostgreSQL sessions needs psycopg ({error})") from error
        self._driver = psycopg

    def open(self) -> Any:
        """Open a session."""
        try:
            return self._driver.connect(self._url, connect_timeout=int(_LIMIT), application_name=NAME, autocommit=True)
        except self._driver.OperationalError as error:
            raise OSError(" ".join(str(error).split())) from error

    def alive(self, connection: Any) -> bool:
        """What an idle session gets to read is the reason why it ends, or the end itself."""
        return not (connection.closed or _readable(connection))

    def close(self, connection: Any) -> None:
        """End the session."""
        connection.close()

    def evict(self, held: Sequence[Any]) -> int:
        """Terminate all client sessions of our database that do not bear our name."""
        if not held:
            return 0
        statement = (
            "select count(pg_terminate_backend(pid)) from pg_stat_activity "
            "where datname = current_database() and backend_type = 'client backend' and application_name <> %s"
        )
        try:
            return int(held[0].execute(statement, [NAME]).fetchone()[0])
        except self._driver.OperationalError:
            return 0  # ours was closed meanwhile; the next round has another


def _readable(connection: Any) -> bool:
    poll = select.poll()  # select() would stop at descriptor 1024
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _redis(connection: socket.socket, command: str) -> str:
    """The answer to one inline command, without its type mark. Raises OSError for an error or an end."""
    connection.sendall(command.encode() + b"\r\n")
    with connection.makefile("rb") as answer:
        head = answer.readline().decode("utf-8", "replace").rstrip()
        if not head or head.startswith("-"):
            raise ConnectionRefusedError(head[1:] or "closed by the server")
        if head.startswith("$"):
            return answer.read(int(head[1:]) + 2).decode("utf-8", "replace")
    return head[1:]
