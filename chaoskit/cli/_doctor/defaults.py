"""What the embedded defaults stand on: everything that a scenario without Docker needs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
import resource
import socket
import sys
from pathlib import Path

from chaoskit.base.errors import BrokenError
from chaoskit.cli._doctor.parts import NotThere, Part, told

OPEN_FILES = 1024
"""Below this a run with many connections may end in "too many open files"."""
PORTS = 100
"""What two environments side by side may take."""


def _python() -> str:
    return f"{platform.python_version()} ({sys.executable})"


def _packages() -> str:
    """Whether pip installed what chaoskit itself requires."""
    try:
        required = importlib.metadata.requires("chaoskit") or []
    except importlib.metadata.PackageNotFoundError:
        raise NotThere("chaoskit itself is not installed, only imported") from None
    names = [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    missing = [name for name in names if not _installed(name)]
    if missing:
        raise NotThere(f"missing: {', '.join(missing)}")
    return f"all {len(names)} that chaoskit requires"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _postgres() -> str:
    from chaoskit.services.providers._postgres_server import find_binaries

    try:
        found = find_binaries(None)
    except BrokenError as error:
        raise NotThere(str(error).partition(":")[0]) from None
    return _version(found.postgres)


def _redis() -> str:
    from chaoskit.services.providers.redis import find_server

    try:
        return _version(find_server())
    except BrokenError as error:
        raise NotThere(str(error).partition(":")[0]) from None


def _version(server: Path) -> str:
    version = re.search(r"\d+(\.\d+)+", told(str(server), "--version"))
    wheel = [f"wheel {folder.name}" for folder in server.parents if folder.parent.name == "site-packages"]
    return f"{version[0] if version else 'version unknown'} ({wheel[0] if wheel else server})"


def _free_ports() -> str:
    """Counted without reserving any."""
    from chaoskit.system.ports import FIRST, LAST

    free = 0
    for port in range(FIRST, LAST + 1):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free += 1
    text = f"{free} of those from {FIRST} to {LAST} on loopback"
    if free < PORTS:
        raise NotThere(f"only {text}")
    return text


def _open_files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"limit {soft}, may be raised to {hard}"
    if soft < OPEN_FILES:
        raise NotThere(f"{text}; {OPEN_FILES} or more are advisable")
    return text


_GROUP = "Embedded defaults"
_DEMO = "pip install 'chaoskit[demo]'"

PARTS = (
    Part(
        _GROUP, "Python", _python, "chaoskit", "https://www.python.org/downloads/, or pyenv install 3.11", needed=True
    ),
    Part(_GROUP, "packages", _packages, "chaoskit", "pip install chaoskit", needed=True),
    Part(_GROUP, "PostgreSQL", _postgres, "provider postgres without Docker", _DEMO, needed=True),
    Part(_GROUP, "Redis", _redis, "provider redis without Docker", _DEMO, needed=True),
    Part(_GROUP, "free ports", _free_ports, "services and proxies", "end what listens there: ss -ltnp", needed=True),
    Part(_GROUP, "open files", _open_files, "many connections at once", f"ulimit -n {OPEN_FILES * 16}"),
)
