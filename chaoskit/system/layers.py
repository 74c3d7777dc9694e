"""Faults that overlap on one piece of state: each gives back its own share only.

A piece of state is whether a proxy is up, the CPU quota of a service, the terms of a failpoint. It has a *key*, and
each active fault that asks something of it is a *layer*. Whenever one begins, asks for something else or ends, the
state is set anew to the fold of all that is asked (any, the tightest, the latest: each kind says which); what was
before comes back with the last. The journal has it once for all layers, until the latest of their leases ends.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from chaoskit.system.journal import Journal


class State(ABC):
    """One piece of state that faults change. Its methods are called one at a time."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._entries: list[int] = []

    def note(self, kind: str, *, root: Path | None = None, **facts: Any) -> None:
        """Write down how a change is undone, before it is made; :meth:`end` undoes it. As ``Journal.add``."""
        self._entries.append(self.journal.add(kind, root=root, **facts))

    def begin(self) -> None:  # noqa: B027  # for those that look at what is before
        """Called before the first layer: see what is, and :meth:`note` it."""

    @abstractmethod
    def set(self, asked: Sequence[Any]) -> None:
        """Make it what the layers ask for: at least one, the latest begun last. May be called with the same again."""

    def end(self) -> None:
        """Give back what was before: all layers are gone."""
        with contextlib.ExitStack() as stack:
            for entry in self._entries:
                stack.callback(self.journal.undo, entry)
            self._entries = []

    def done(self) -> None:
        """What was noted has been given back already."""
        while self._entries:
            self.journal.done(self._entries.pop())

    def prolong(self) -> None:
        """The lease of what was noted ends no earlier than that of the fault that is being injected."""
        for entry in self._entries:
            self.journal.prolong(entry)


S = TypeVar("S", bound=State)


class Layer(Generic[S]):
    """What one active fault asks of a piece of state."""

    def __init__(self, pile: _Pile[S], ask: Any) -> None:
        self._pile = pile
        self.ask = ask
        self.lock = pile.lock
        """Held while the state is set. Whoever holds it sees no other fault begin or end."""

    @property
    def state(self) -> S:
        """The state, which all layers share."""
        return self._pile.state

    def asked(self) -> list[Any]:
        """What all layers ask for now, the latest begun last."""
        with self.lock:
            return [layer.ask for layer in self._pile.layers]

    def change(self, ask: Any) -> None:
        """Ask for something else. When that cannot be set, what was asked before stays, and the error is raised."""
        with self.lock:
            before, self.ask = self.ask, ask
            try:
                self.state.set(self.asked())
            except BaseException:
                self.ask = before
                raise


class _Pile(Generic[S]):
    """The layers of one piece of state."""

    state: S

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.layers: list[Layer[S]] = []

    def add(self, ask: Any, make: Callable[[], S]) -> Layer[S]:
        with self.lock:
            layer = Layer(self, ask)
            if self.layers:
                self.state.prolong()
            else:
                self.state = make()
            self.layers.append(layer)
            try:
                if len(self.layers) == 1:
                    self.state.begin()
                self.state.set(layer.asked())
            except BaseException:
                self.remove(layer)
                raise
            return layer

    def remove(self, layer: Layer[S]) -> None:
        with self.lock:
            self.layers.remove(layer)
            if self.layers:
                self.state.set(self.layers[0].asked())
                return
            try:
                self.state.end()
            finally:
                del self.state  # it knows its journal, which keeps the pile


_piles: WeakKeyDictionary[Journal, dict[Hashable, _Pile[Any]]] = WeakKeyDictionary()
_lock = threading.Lock()


def _pile(journal: Journal, key: Hashable) -> _Pile[Any]:
    with _lock:
        return _piles.setdefault(journal, {}).setdefault(key, _Pile())


@contextlib.contextmanager
def layer(journal: Journal, key: Hashable, ask: Any, make: Callable[[], S]) -> Iterator[Layer[S]]:
    """A layer for the length of a block, among those of the same ``journal`` and ``key``.

    ``make`` gives the state where this is the first. Raises what setting the state raises; then nothing is left of it.
    """
    pile: _Pile[S] = _pile(journal, key)
    added = pile.add(ask, make)
    try:
        yield added
    finally:
        pile.remove(added)


def asked(journal: Journal, key: Hashable) -> list[Any]:
    """What is asked now of a piece of state, the latest begun last; nothing if no fault is on it."""
    pile = _pile(journal, key)
    with pile.lock:
        return [each.ask for each in pile.layers]
