"""One PostgreSQL server: its data folder, its program, and what is asked of it directly."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from chaoskit.base.errors import BrokenError
from chaoskit.language.service import ServiceSpec
from chaoskit.services.postgres_snapshot import PostgresSnapshot
from chaoskit.services.providers._postgres_args import PostgresArgs
from chaoskit.services.providers._postgres_server import Binaries, RunAs, find_binaries, run_as
from chaoskit.services.providers.base import Provider
from chaoskit.services.runtime import ContainerPlan

if TYPE_CHECKING:
    import psycopg

_INITDB = ("-A", "scram-sha-256", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")

DEFAULT_VERSION = 16
"""Of the image, where the environment does not say which."""

DATA = "chaoskit"
"""The data folder's name in a container, below its user's home."""

# Not in the image's own data folder: that is a volume, or holds what the image's entrypoint makes.
_IN_CONTAINER = """
for bin in "$(command -v initdb)" /usr/lib/postgresql/*/bin/initdb; do [ -x "$bin" ] && break; done
bin=${bin%%/initdb}
home=/var/lib/postgresql; [ -w "$home" ] || home=/tmp
data=$home/%(name)s
if [ ! -s "$data.made" ]; then
    rm -rf "$data"
    (umask 077 && echo "$PGPASSWORD" > "$data.password") || exit
    "$bin/%(tool)s" %(arguments)s -D "$data" || exit
    rm -f "$data.password"
    %(then)s
    echo yes > "$data.made"
fi
exec "$bin/postgres" -D "$data" "$@"
"""

_PASSWORD_FILE = "PASSWORD_FILE"  # noqa: S105  # the script says where that is

_LET_IN = """
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    echo "host replication all all scram-sha-256" >> "$data/pg_hba.conf"
"""


class SinglePostgres(Provider):
    """A server for the user ``postgres`` with a password of its own, drawn for this run, and an empty database."""

    Args = PostgresArgs
    container_port = 5432
    speaks = "PostgreSQL's protocol"

    @classmethod
    def image_of(cls, spec: ServiceSpec) -> str:
        """The official image of the version that its arguments say."""
        return spec.image or f"postgres:{PostgresArgs.model_validate(spec.args).version or DEFAULT_VERSION}"

    def __init__(self, name: str, spec: Any, **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        self._binaries: Binaries | None = None
        self._as: RunAs = RunAs()
        self._password = secrets.token_urlsafe(16)

    @property
    def args(self) -> PostgresArgs:
        """The checked arguments."""
        assert isinstance(self._args, PostgresArgs)
        return self._args

    @property
    def user(self) -> str:
        """The user to connect as."""
        return "postgres"

    @property
    def password(self) -> str:
        """What lets the user in, also from a socket or a container beside it: others use this machine, too."""
        return self._password

    def environment(self) -> dict[str, str]:
        """With the password for its tools and for a replica; a command line could be read by every user."""
        return {**super().environment(), "PGPASSWORD": self.password}

    @property
    def stop_signal(self) -> int:
        """At once: the data goes anyway."""
        return signal.SIGQUIT

    @property
    def restart_signal(self) -> int:
        """A fast shutdown: sessions are ended, nothing is lost."""
        return signal.SIGINT

    def maker(self, password_file: str) -> tuple[str, list[str]]:
        """The program that makes the data folder, and its arguments but for the folder."""
        return "initdb", [*_INITDB, f"--pwfile={password_file}"]

    def settings(self) -> dict[str, str]:
        """Further settings of the server, before those that the arguments say."""
        return {}

    def prepare(self) -> None:
        """Make the data folder (about half a second)."""
        self._binaries = find_binaries(self.args.version)
        self._as = run_as(self.folder)
        written = self.folder / "password"
        written.touch(mode=0o600)
        written.write_text(self.password, encoding="ascii")
        owner = self.folder.stat()
        os.chown(written, owner.st_uid, owner.st_gid)  # who runs it may be somebody else
        try:
            tool, arguments = self.maker(str(written))
            program = str(self._binaries.folder / tool)
            self.run_tool(tool, [*self._as.prefix, program, *arguments, "-D", str(self.folder / "data")])
        finally:
            written.unlink()

    def argv(self) -> list[str]:
        """The server; it writes its log to stderr."""
        assert self._binaries is not None, "prepare() has found the programs"
        return [*self._as.prefix, str(self._binaries.postgres), "-D", str(self.folder / "data"), *self._options()]

    def plan(self) -> ContainerPlan:
        """The image's programs, without what its entrypoint adds: so any image with PostgreSQL in it will do."""
        tool, arguments = self.maker(_PASSWORD_FILE)
        then = _LET_IN.strip() if tool == "initdb" else ":"
        words = shlex.join(arguments).replace(_PASSWORD_FILE, '"$data.password"')
        script = _IN_CONTAINER % {"name": DATA, "tool": tool, "arguments": words, "then": then}
        return ContainerPlan(
            image=self.image_of(self.spec),
            build=self.spec.build,
            entrypoint=["sh", "-c", script, "sh"],
            command=self._options(),
            user="postgres",
        )

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": self.runtime.listen[0],
            "port": str(self.runtime.listen[1]),
            "unix_socket_directories": "",
            "max_connections": str(self.args.max_connections),
            "fsync": "off",
            "full_page_writes": "off",
            "dynamic_shared_memory_type": "mmap",  # in the data folder: nothing is left in /dev/shm
            "log_timezone": "UTC",
            "timezone": "UTC",
            **self.settings(),
            **self.args.settings,
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def check(self) -> str:
        """Ready when it lets a client in."""
        try:
            with self.connect("postgres", connect_timeout=2):
                return ""
        except driver().OperationalError as error:
            return " ".join(str(error).split())

    def initialise(self) -> None:
        """Make the database."""
        try:
            with self.connect("postgres") as connection:
                connection.execute(f'create database "{self.args.database}"')
        except driver().Error as error:
            raise BrokenError(f"{self.name}: the database could not be made: {error}") from error

    def snapshot(self) -> PostgresSnapshot | None:
        """All databases but the tables of ``keep``, unless ``reset: none``."""
        if self.args.reset == "none":
            return None
        return PostgresSnapshot.take(self.name, self.connect, self.args.keep)

    def restore(self, snapshot: PostgresSnapshot) -> None:
        """Exactly these rows, beneath the sessions of the services."""
        snapshot.restore(self.name, self.connect)

    def read(self, sql: str) -> list[list[Any]]:
        """The rows of a query, asked directly and not through the proxy. Raises BrokenError when it fails."""
        try:
            with self.connect() as connection:
                connection.execute("set statement_timeout = '10s'")
                return [list(row) for row in connection.execute(sql.encode()).fetchall()]
        except driver().Error as error:
            raise BrokenError(f"{self.name}: {sql}: {error}") from error

    def url(self, host: str | None = None, port: int | None = None) -> str:
        """``postgresql://postgres:PASSWORD@HOST:PORT/DATABASE``."""
        return f"postgresql://{self.user}:{self.password}@{host or self.host}:{port or self.port}/{self.args.database}"

    def limit(self) -> int:
        """``max_connections``."""
        return self.args.max_connections

    @contextlib.contextmanager
    def connect(self, database: str = "", connect_timeout: int = 5) -> Iterator[psycopg.Connection[Any]]:
        """A connection past the proxy, to the one of ``args`` unless another is named. Raises the driver's errors."""
        with driver().connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database or self.args.database,
            connect_timeout=connect_timeout,
            autocommit=True,
            # Ours are not worth waiting for a replica, which may be down.
            options="-c synchronous_commit=local",
        ) as connection:
            yield connection


def driver() -> Any:
    """The module psycopg. Raises BrokenError when it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise BrokenError(f"the provider postgres needs psycopg: pip install 'chaoskit[demo]' ({error})") from error
    return psycopg
