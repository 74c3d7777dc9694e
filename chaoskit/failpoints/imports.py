"""Being told when a module has been imported."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType


class ImportWatch(MetaPathFinder):
    """Calls ``imported(name)`` after a watched module has run. Stands first in ``sys.meta_path`` while it watches."""

    def __init__(self, imported: Callable[[str], None]) -> None:
        self._imported = imported
        self._modules: set[str] = set()

    def add(self, module: str) -> None:
        """Watch for a module that is not imported yet."""
        self._modules.add(module)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def discard(self, module: str) -> None:
        """Stop watching for a module."""
        self._modules.discard(module)
        if not self._modules and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, with a loader that tells. (The import system calls this.)"""
        if fullname not in self._modules:
            return None
        for finder in list(sys.meta_path):
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _TellingLoader(spec.loader, self._imported)
                return spec
        return None


class _TellingLoader(Loader):
    """The real loader, and a word when it is done."""

    def __init__(self, real: Loader, imported: Callable[[str], None]) -> None:
        self._real = real
        self._done = imported

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module must not see us: importlib.resources and others ask the loader for more than loading.
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        self._done(module.__name__)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)
