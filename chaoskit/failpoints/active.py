"""A failpoint while it is switched on: which term acts, how often it did, and who hangs in it."""

from __future__ import annotations

import _thread  # threading takes longer to import than all of this package
import os

from chaoskit.failpoints.errors import BadTerms
from chaoskit.failpoints.terms import TermsError, format_terms, parse_terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from chaoskit.failpoints.terms import Term


# One lock for all that changes. The API holds it while it answers too, so that an ``abort`` cannot overtake the
# answer; and a fork waits for it, so that the child finds everything whole.
LOCK = _thread.RLock()
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
_quiet = _thread._local()


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
        self._chain = [(term, [_Modifier(*modifier) for modifier in term.modifiers]) for term in chain]
        self._random = _random(name, seed) if any(s == "%" for t in chain for s, _ in t.modifiers) else None
        self._released = False
        self._waiting: list[Callable[[], object]] = []

    def choose(self) -> Term | None:
        """The term that acts now, counted as a hit; None when none is left or the dice say no."""
        if getattr(_quiet, "on", False):
            return None
        with LOCK:
            for term, modifiers in self._chain:
                if all(map(self._allows, modifiers)):
                    self.count += 1
                    return term
        return None

    def _allows(self, modifier: _Modifier) -> bool:
        if modifier.symbol == "%":
            assert self._random is not None
            return self._random.random() * 100 < modifier.number
        modifier.number -= 1
        return modifier.number >= 0

    def on_release(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called (from any thread) when this is switched off or replaced; at once if it was."""
        with LOCK:
            if not self._released:
                self._waiting.append(wake)
                return
        wake()

    def forget(self, wake: Callable[[], object]) -> None:
        """Undo :meth:`on_release` for someone who stopped waiting."""
        with LOCK:
            if wake in self._waiting:
                self._waiting.remove(wake)

    def release(self) -> None:
        """Let everything go that hangs here."""
        with LOCK:
            self._released = True
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()


class _Modifier:
    """A percentage, or what is left of a count."""

    __slots__ = ("number", "symbol")

    def __init__(self, symbol: str, number: float) -> None:
        self.symbol = symbol
        self.number = number


def _random(name: str, seed: str | None) -> Random:
    """Each failpoint draws from its own sequence, so that the order among failpoints does not matter."""
    import random

    return random.Random(None if seed is None else f"{seed}/{name}")  # noqa: S311  # dice, not keys


def quiet() -> None:
    """From here on no failpoint acts in this thread: the API must answer whatever is switched on."""
    _quiet.on = True


STATES: dict[str, Active | None] = {}
"""What is read without a lock: a name is a key once it is known, its value is None while the failpoint is inactive."""
