"""A part of the machine that chaoskit uses where it is there, and how all of them are looked at in little time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Literal

State = Literal["found", "missing", "unknown"]

LIMIT = 1.6
"""Seconds that all looks together may take; what has not answered by then is ``unknown``."""
_share: ContextVar[float] = ContextVar("chaoskit_doctor_share", default=0.8 * LIMIT)


def share() -> float:
    """Seconds that one program or server may take to answer, so that its look still ends within the limit."""
    return _share.get()


class NotThere(Exception):
    """Raised by a look: the part is missing, and why."""


@dataclass(frozen=True)
class Part:
    """``look`` says what was found (or raises NotThere) and leaves nothing behind.

    ``enables`` is what works with the part and not without; ``install`` how to get it. ``needed``: the embedded
    defaults do not work without.
    """

    group: str
    name: str
    look: Callable[[], str]
    enables: str
    install: str
    needed: bool = False


@dataclass(frozen=True)
class Finding:
    """What was seen of a part."""

    part: Part
    state: State
    seen: str

    @property
    def bad(self) -> bool:
        """The embedded defaults will not work."""
        return self.part.needed and self.state == "missing"


def look_at(parts: Sequence[Part], limit: float = LIMIT) -> list[Finding]:
    """Look at all parts at once, and give what was seen within ``limit`` seconds, in the order of ``parts``."""
    seen: dict[Part, Finding] = {}

    def look(part: Part) -> None:
        try:
            finding = Finding(part, "found", part.look())
        except NotThere as reason:
            finding = Finding(part, "missing", str(reason))
        except Exception as error:  # a part that cannot be looked at must not hide the others
            finding = Finding(part, "unknown", f"could not be looked at: {error!r}")
        seen[part] = finding

    deadline = time.monotonic() + limit
    context = copy_context()
    context.run(_share.set, 0.8 * limit)
    threads = [threading.Thread(target=context.copy().run, args=(look, part), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"did not answer within {limit:g} s; --limit gives more time"
    return [seen.get(part) or Finding(part, "unknown", late) for part in parts]


def program(name: str) -> str:
    """Where a program is. Raises NotThere."""
    found = shutil.which(name)
    if found is None:
        raise NotThere(f"no {name} on the PATH")
    return found


def told(*command: str) -> str:
    """The first line that a program prints, on stdout or stderr; empty when it fails or takes too long."""
    try:
        # A session of its own, so that whatever it started can be ended with it.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    except OSError:
        return ""
    with process:
        try:
            out, err = process.communicate(timeout=share())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return ""
    lines = (out.strip() or err.strip()).splitlines() if process.returncode == 0 else []
    return lines[0].strip() if lines else ""


def versioned(name: str, *options: str) -> str:
    """What a program says of its version, or else where it is. Raises NotThere."""
    path = program(name)
    return told(path, *options) or f"{path} (it did not tell its version)"
