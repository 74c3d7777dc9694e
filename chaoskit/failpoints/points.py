"""The failpoints of this process: which exist, which are active, how often each has acted.

What is set is kept in :data:`~chaoskit.failpoints.active.STATES`, which :func:`failpoint` reads without a lock;
everything else happens under ``LOCK``.
"""

from __future__ import annotations

import os

from chaoskit.failpoints.actions import Returned, act, act_async
from chaoskit.failpoints.active import LOCK, STATES, Active
from chaoskit.failpoints.errors import DisabledFailpoint, FailpointsError, UnknownFailpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaoskit.failpoints.byname import Functions
    from chaoskit.failpoints.patch import Patch

_NO_AGENT = (
    "a function is a failpoint by name only in a process started with python -m chaoskit.failpoints.agent, "
    "or with CHAOSKIT_FAILPOINTS_AGENT=1"
)


class Points:
    """All failpoints of the process. One instance, :data:`POINTS`."""

    def __init__(self, seed: str | None = None) -> None:
        self.seed = seed
        self.functions: Functions | None = None  # set where functions are failpoints by name
        self._at_start: dict[str, str] = {}

    def at_start(self, items: dict[str, str]) -> None:
        """Terms from the environment, for names that will be registered later. Raises BadTerms."""
        for name, text in items.items():
            Active(name, text, self.seed)
        self._at_start.update(items)

    def start_functions(self, functions: Functions) -> None:
        """Make functions failpoints by name, and set those the environment asks for. Raises FailpointsError."""
        with LOCK:
            if self.functions is not None:
                return
            self.functions = functions
        self.set({n: t for n, t in self._at_start.items() if functions.owns(n)})

    def register(self, name: str) -> None:
        """Make ``name`` known; asked twice, nothing changes."""
        with LOCK:
            if name not in STATES:
                text = self._at_start.get(name)
                STATES[name] = None if text is None else Active(name, text, self.seed)

    def prepare(self, items: dict[str, str]) -> list[tuple[Active, Patch | None]]:
        """Check everything that can be checked before anything is changed. Raises FailpointsError.

        Not under the lock: it may have to wait for another thread to finish an import.
        """
        return [(Active(name, text, self.seed), self._find(name)) for name, text in items.items()]

    def _find(self, name: str) -> Patch | None:
        functions = self.functions
        if functions is not None and functions.owns(name):
            return functions.prepare(name)
        if name in STATES:
            return None
        raise UnknownFailpoint(_NO_AGENT if ":" in name else "")

    def apply(self, prepared: list[tuple[Active, Patch | None]]) -> None:
        """Switch on what was prepared: all of it or, on FailpointsError, nothing."""
        with LOCK:
            if self.functions is not None:
                self.functions.check([patch for _, patch in prepared if patch is not None])
            for active, patch in prepared:
                owner = self.functions if self.functions and self.functions.owns(active.name) else None
                before = STATES.get(active.name)
                STATES[active.name] = active
                if owner is not None:
                    owner.attach(active.name, patch)
                if before is not None:
                    before.release()

    def set(self, items: dict[str, str]) -> None:
        """Switch failpoints on, ``{name: terms}``: all of them or, on FailpointsError, none."""
        self.apply(self.prepare(items))

    def unset(self, name: str) -> None:
        """Switch a failpoint off. Raises UnknownFailpoint, DisabledFailpoint."""
        with LOCK:
            active = self._find_active(name)
            STATES[name] = None
            if self.functions is not None:
                self.functions.detach(name)
            active.release()

    def status(self, name: str) -> tuple[str, int]:
        """Terms and hits of an active failpoint. Raises UnknownFailpoint, DisabledFailpoint."""
        with LOCK:
            active = self._find_active(name)
            problem = self.functions.problems.get(name) if self.functions is not None else None
            if problem is not None:
                raise problem
            return active.text, active.count

    def _find_active(self, name: str) -> Active:
        if name not in STATES:
            raise UnknownFailpoint
        active = STATES[name]
        if active is None:
            raise DisabledFailpoint
        return active

    def listing(self) -> dict[str, str]:
        """All known names, sorted, with their terms ('' while inactive)."""
        with LOCK:
            return {name: active.text if active else "" for name, active in sorted(STATES.items())}


def split_items(text: str) -> dict[str, str]:
    """``a=terms;b=terms`` taken apart; ``;`` and ``=`` inside a quoted value stay. Raises FailpointsError."""
    items: dict[str, str] = {}
    for item in filter(str.strip, _outside_quotes(text)):
        name, equals, terms = item.partition("=")
        if not equals or not name.strip():
            raise FailpointsError(f"bad failpoint {item!r}: expected name=terms, several joined by ';'")
        if name.strip() in items:
            raise FailpointsError(f"bad failpoint {item!r}: {name.strip()} is given twice")
        items[name.strip()] = terms.strip()
    return items


def _outside_quotes(text: str) -> Iterable[str]:
    start, quoted, escaped = 0, False, False
    for at, letter in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == ";" and not quoted:
            yield text[start:at]
            start = at + 1
    yield text[start:]


POINTS = Points(os.environ.get("CHAOSKIT_FAILPOINTS_SEED"))


def failpoint(name: str) -> Returned | None:
    """Let the failpoint ``name`` act, if it is active; blocks the thread for ``sleep`` and ``hang``.

    Returned holds the value of a ``return`` term; in all other cases the result is None. Raises Panic.
    The first call makes the name known to the API.
    """
    try:
        active = STATES[name]
    except KeyError:
        POINTS.register(name)
        active = STATES[name]
    if active is None:
        return None
    term = active.choose()
    return None if term is None else act(active, term)


async def afailpoint(name: str) -> Returned | None:
    """:func:`failpoint` for coroutines: ``sleep`` and ``hang`` leave asyncio's event loop running."""
    try:
        active = STATES[name]
    except KeyError:
        POINTS.register(name)
        active = STATES[name]
    if active is None:
        return None
    term = active.choose()
    return None if term is None else await act_async(active, term)
