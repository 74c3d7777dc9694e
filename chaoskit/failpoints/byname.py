"""Functions as failpoints by name: ``module:function``, ``module:Class.method``.

A name leads to a function written in Python, also through staticmethod, classmethod, property and whatever keeps
the function in ``__wrapped__``. What is inherited or imported is one function under several names: the failpoint
acts wherever it is called from, and only one of the names can be active.
"""

from __future__ import annotations

import sys
from types import FunctionType

from chaoskit.failpoints.active import LOCK, STATES
from chaoskit.failpoints.errors import FailpointsError, UnknownFailpoint
from chaoskit.failpoints.imports import ImportWatch
from chaoskit.failpoints.patch import CannotPatch, Patch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from chaoskit.failpoints.actions import Returned

    Enter = Callable[[str], Returned | None]
    EnterAsync = Callable[[str], Awaitable[Returned | None]]


class Functions:
    """The functions that are failpoints by name. Methods that change something run under LOCK."""

    def __init__(self, enter: Enter, enter_async: EnterAsync) -> None:
        self._enter = enter
        self._enter_async = enter_async
        self._names: set[str] = set()
        self._patches: dict[str, Patch] = {}
        self._waiting: dict[str, set[str]] = {}  # module that is not imported yet -> names in it
        self._watch = ImportWatch(self._imported)
        self.problems: dict[str, FailpointsError] = {}  # what went wrong when a module was imported at last

    def owns(self, name: str) -> bool:
        """Whether ``name`` is a function's, and not one that the code registered itself."""
        return name in self._names or (name not in STATES and _split(name) is not None)

    def prepare(self, name: str) -> Patch | None:
        """Find the function and make its patch; None while its module is not imported.

        Raises UnknownFailpoint, CannotPatch.
        """
        module, path = _parts(name)
        if module not in sys.modules:
            _check_exists(module)
            return None
        return self._patch(name, _finished(module), path)

    def _patch(self, name: str, module: object, path: list[str]) -> Patch:
        if name.startswith("chaoskit.failpoints"):
            raise CannotPatch("chaoskit.failpoints cannot fail by its own means")
        function = _function(name, module, path)
        known = self._patches.get(name)
        if known is not None and known.function is function:
            return known
        return Patch(name, function, self._enter, self._enter_async)

    def check(self, patches: list[Patch]) -> None:
        """Raises CannotPatch where a function already is a failpoint under another name."""
        taken = {id(patch.function): patch for patch in self._patches.values()}
        for patch in patches:
            other = taken.setdefault(id(patch.function), patch)
            if other.name != patch.name:
                raise CannotPatch(f"{patch.name} is the same function as {other.name}, which is set already")

    def attach(self, name: str, patch: Patch | None) -> None:
        """Put the failpoint in front of its function, or see to it that this happens on import."""
        self._names.add(name)
        self.problems.pop(name, None)
        if patch is not None:
            before = self._patches.get(name)
            if before is not None and before is not patch:  # the module was reloaded
                before.restore()
            self._patches[name] = patch
            patch.install()
            return
        module, _ = _parts(name)
        self._waiting.setdefault(module, set()).add(name)
        self._watch.add(module)
        if module in sys.modules:  # imported since we looked
            self._imported(module)

    def detach(self, name: str) -> None:
        """Give the function its own code back; nothing if there is none."""
        patch = self._patches.pop(name, None)
        if patch is not None:
            patch.restore()
        self.problems.pop(name, None)
        for module, names in list(self._waiting.items()):
            names.discard(name)
            if not names:
                del self._waiting[module]
                self._watch.discard(module)

    def _imported(self, module: str) -> None:
        with LOCK:
            self._watch.discard(module)
            for name in sorted(self._waiting.pop(module, ())):
                try:
                    patch = self._patch(name, sys.modules[module], _parts(name)[1])
                    self.check([patch])
                except FailpointsError as error:
                    self.problems[name] = error
                    sys.stderr.write(f"chaoskit.failpoints: {name}: {error}\n")
                else:
                    self.attach(name, patch)


def _split(name: str) -> tuple[str, list[str]] | None:
    """Module and path of attributes, or None where ``name`` is not of the form ``module:Class.method``."""
    module, colon, path = name.partition(":")
    words = module.split(".") + path.split(".")
    return (module, path.split(".")) if colon and all(map(str.isidentifier, words)) else None


def _parts(name: str) -> tuple[str, list[str]]:
    parts = _split(name)
    assert parts is not None, name
    return parts


def _finished(module: str) -> object:
    """The module, once the thread that is importing it now has finished."""
    import importlib

    if module == "__main__":  # is running, not being imported
        return sys.modules[module]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnknownFailpoint(f"the import of {module} failed: {error}") from None


def _check_exists(module: str) -> None:
    """Refuse a module that cannot be found, as far as can be told without importing anything."""
    from importlib.util import find_spec

    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        if name in sys.modules:
            continue
        try:
            found = find_spec(name) is not None
        except (ImportError, ValueError):
            found = False
        if not found:
            raise UnknownFailpoint(f"there is no module {name!r}")
        return  # what is inside of it would have to be imported to be known


def _function(name: str, module: object, path: list[str]) -> FunctionType:
    found: Any = module
    walked = name.partition(":")[0] + ":"
    for attribute in path:
        try:
            found = _member(found, attribute)
        except AttributeError:
            raise UnknownFailpoint(f"{walked.rstrip(':.')} has no attribute {attribute!r}") from None
        walked += attribute + "."
    if isinstance(found, type):
        raise CannotPatch(f"{name} is a class; name one of its methods, such as {name}.__init__")
    given = found
    while not isinstance(found, FunctionType):
        for link in (
            "__func__",
            "fget",
            "__wrapped__",
            "func",
        ):  # methods, properties, decorators, cached_property
            inner = getattr(found, link, None)
            if inner is not None:
                found = inner
                break
        else:
            raise CannotPatch(f"{name} is a {type(given).__name__}, not a function written in Python")
    return found


def _member(owner: Any, attribute: str) -> Any:
    """The attribute as it was defined: a staticmethod, classmethod or property stays what it is."""
    if isinstance(owner, type):
        for base in owner.__mro__:
            if attribute in vars(base):
                return vars(base)[attribute]
    return getattr(owner, attribute)
