"""The failpoints of this process: which exist, which are active, how often each has acted.

``STATES`` is what :func:`chaoskit.failpoints.failpoint` reads without a lock: a name is a key once it is known, and
its value is None while the failpoint is inactive. Everything else happens under ``lock``.
"""

from __future__ import annotations

import os
import threading

from chaoskit.failpoints.terms import TermsError, format_terms, parse_terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from chaoskit.failpoints.byname import Functions
    from chaoskit.failpoints.patch import Patch
    from chaoskit.failpoints.terms import Term

_NO_AGENT = (
    "a function is a failpoint by name only in a process started with python -m chaoskit.failpoints.agent, "
    "or with CHAOSKIT_FAILPOINTS_AGENT=1"
)


class FailpointsError(Exception):
    """A request that cannot be carried out; the text is complete."""


class UnknownFailpoint(FailpointsError):
    """No failpoint has this name (yet)."""

    def __init__(self, why: str = "") -> None:
        super().__init__("failpoint: failpoint does not exist" + (f": {why}" if why else ""))


class DisabledFailpoint(FailpointsError):
    """The failpoint exists, but is not active."""

    def __init__(self) -> None:
        super().__init__("failpoint: failpoint is disabled")


class BadTerms(FailpointsError):
    """The terms cannot be read, or cannot be used at this place."""

    def __init__(self, why: str) -> None:
        super().__init__(f"failpoint: could not parse terms: {why}")


class Active:
    """A failpoint that is switched on: its terms, and what is left of their counts."""

    def __init__(self, name: str, text: str, seed: str | None) -> None:
        try:
            chain = parse_terms(text)
        except TermsError as error:
            raise BadTerms(str(error)) from None
        self.name = name
        self.text = format_terms(chain) if "\n" in text or "\r" in text else text  # one line each in the list
        self.count = 0
        self._chain = [(term, [[symbol, number] for symbol, number in term.modifiers]) for term in chain]
        self._random = _random(name, seed) if any(s == "%" for t in chain for s, _ in t.modifiers) else None
        self._released = False
        self._waiting: list[Callable[[], object]] = []

    def choose(self) -> Term | None:
        """The term that acts now, counted as a hit; None when none is left or the dice say no."""
        if getattr(_quiet, "on", False):
            return None
        with POINTS.lock:
            for term, modifiers in self._chain:
                if all(map(self._allows, modifiers)):
                    self.count += 1
                    return term
        return None

    def _allows(self, modifier: list[str | float]) -> bool:
        symbol, number = modifier
        assert not isinstance(number, str)
        if symbol == "%":
            assert self._random is not None
            return self._random.random() * 100 < number
        if number <= 0:
            return False
        modifier[1] = number - 1
        return True

    def on_release(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called (from any thread) when this is switched off or replaced; at once if it was."""
        with POINTS.lock:
            if not self._released:
                self._waiting.append(wake)
                return
        wake()

    def forget(self, wake: Callable[[], object]) -> None:
        """Undo :meth:`on_release` for someone who stopped waiting."""
        with POINTS.lock:
            if wake in self._waiting:
                self._waiting.remove(wake)

    def release(self) -> None:
        """Let everything go that hangs here."""
        with POINTS.lock:
            self._released = True
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()


class Points:
    """All failpoints of the process. One instance, :data:`POINTS`."""

    def __init__(self, seed: str | None = None) -> None:
        # Held while an answer of the HTTP API is written too, so that an ``abort`` cannot come before it.
        self.lock = threading.RLock()
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
        with self.lock:
            if self.functions is not None:
                return
            self.functions = functions
        self.set({n: t for n, t in self._at_start.items() if functions.owns(n)})

    def register(self, name: str) -> None:
        """Make ``name`` known; asked twice, nothing changes."""
        with self.lock:
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
        with self.lock:
            if self.functions is not None:
                self.functions.check([patch for _, patch in prepared if patch is not None])
            for active, patch in prepared:
                before = STATES.get(active.name)
                STATES[active.name] = active
                if self.functions is not None and self.functions.owns(active.name):
                    self.functions.attach(active.name, patch)
                if before is not None:
                    before.release()

    def set(self, items: dict[str, str]) -> None:
        """Switch failpoints on, ``{name: terms}``: all of them or, on FailpointsError, none."""
        self.apply(self.prepare(items))

    def unset(self, name: str) -> None:
        """Switch a failpoint off. Raises UnknownFailpoint, DisabledFailpoint."""
        with self.lock:
            active = self._active(name)
            STATES[name] = None
            if self.functions is not None:
                self.functions.detach(name)
            active.release()

    def status(self, name: str) -> tuple[str, int]:
        """Terms and hits of an active failpoint. Raises UnknownFailpoint, DisabledFailpoint."""
        with self.lock:
            active = self._active(name)
            problem = self.functions.problems.get(name) if self.functions is not None else None
            if problem is not None:
                raise UnknownFailpoint(problem)
            return active.text, active.count

    def _active(self, name: str) -> Active:
        if name not in STATES:
            raise UnknownFailpoint
        active = STATES[name]
        if active is None:
            raise DisabledFailpoint
        return active

    def listing(self) -> dict[str, str]:
        """All known names, sorted, with their terms ('' while inactive)."""
        with self.lock:
            return {name: active.text if active else "" for name, active in sorted(STATES.items())}


def split_items(text: str) -> dict[str, str]:
    """``a=terms;b=terms`` taken apart; ``;`` and ``=`` inside a quoted value stay. Raises BadTerms."""
    items: dict[str, str] = {}
    for item in filter(str.strip, _outside_quotes(text)):
        name, equals, terms = item.partition("=")
        if not equals or not name.strip():
            raise BadTerms(f"bad failpoint {item!r}: expected name=terms, several joined by ';'")
        if name.strip() in items:
            raise BadTerms(f"failpoint {name.strip()!r} is given twice")
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


def _random(name: str, seed: str | None) -> Random:
    """Each failpoint draws from its own sequence, so that the order among failpoints does not matter."""
    import random

    return random.Random(None if seed is None else f"{seed}/{name}")


def quiet() -> None:
    """From here on no failpoint acts in this thread: the API must answer whatever is switched on."""
    _quiet.on = True


def _new_lock_after_fork() -> None:
    POINTS.lock = threading.RLock()  # the thread that held the old one is not in the child


STATES: dict[str, Active | None] = {}
_quiet = threading.local()
POINTS = Points(os.environ.get("CHAOSKIT_FAILPOINTS_SEED"))
os.register_at_fork(after_in_child=_new_lock_after_fork)
