"""A room of plug-ins: one file each, the file's name is the name used in scenarios.

``Registry("fault", "chaoskit.faults")`` offers every module of the package (``latency.py`` → ``latency``) and
every entry point of the group ``chaoskit.faults``; files of a project's own ``plugins/`` folder are added with
:meth:`Registry.add_folder`. A module is imported only when its name is asked for. What a module offers is the
object in it named after the file in CamelCase (``pool_exhaustion.py`` → ``PoolExhaustion``), so nothing has to
register itself, and reading a file tells its name.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar, cast

from chaoskit.base.errors import ChaosError, described, unknown

T = TypeVar("T")

_PROJECT = "__plugins__"
"""Below a room's package: the names of modules that are files of a project's own."""


@dataclass(frozen=True)
class Plugin:
    """What another process finds a plug-in by: its room's package, its name, and the folder it was offered from.

    ``folder`` is None for one that is installed with an entry point.
    """

    package: str
    name: str
    folder: str | None = None

    def __str__(self) -> str:
        return f"the plug-in {self.name!r} of {self.folder or self.package}"

    def load(self) -> None:
        """Import it, as every run does. Raises ChaosError when it is not there, and whatever its code raises."""
        if not self.package.startswith("chaoskit."):
            raise ChaosError(f"{self.package} is no room for plug-ins")
        room: Registry[object] = Registry("plug-in", self.package)
        if self.folder is not None:
            room.add_folder(Path(self.folder))
        room.get(self.name)

    def as_dict(self) -> dict[str, str | None]:
        """For :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, str | None]) -> Plugin:
        """Raises KeyError and TypeError for what is none."""
        folder = data["folder"]
        return cls(str(data["package"]), str(data["name"]), None if folder is None else str(folder))


_importing: ContextVar[Plugin | None] = ContextVar("chaoskit_importing", default=None)


def importing() -> Plugin | None:
    """The plug-in that is being imported in this thread: a project's own, or an installed one."""
    return _importing.get()


def installed_with(module: str) -> Plugin | None:
    """The first plug-in, by its entry point, of the distribution package that ``module`` is in."""
    top = module.partition(".")[0]
    for group in sorted(name for name in entry_points().groups if name.startswith("chaoskit.")):
        for point in entry_points(group=group):
            if point.module.partition(".")[0] == top:
                return Plugin(group, point.name)
    return None


def is_project_module(name: str) -> bool:
    """Whether a module of this name is a file of a project's own plugins folder."""
    return f".{_PROJECT}." in name


class Registry(Generic[T]):
    """Names of one kind of plug-in, and the classes behind them."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._loaded: dict[str, T] = {}
        self._sources: dict[str, str | Path | EntryPoint] | None = None

    def _find(self) -> dict[str, str | Path | EntryPoint]:
        if self._sources is None:
            package = importlib.import_module(self.package)
            self._sources = {
                module.name: f"{self.package}.{module.name}"
                for module in pkgutil.iter_modules(package.__path__)
                if not module.name.startswith("_") and module.name != "base"
            }
            for point in entry_points(group=self.package):
                self._add(point.name, point)
        return self._sources

    def _add(self, name: str, source: str | Path | EntryPoint) -> None:
        sources = self._find()
        if name in sources and sources[name] != source:
            where = [each.value if isinstance(each, EntryPoint) else each for each in (sources[name], source)]
            raise ChaosError(f"two {self.kind}s are named {name!r}: {where[0]} and {where[1]}; give one another name")
        sources[name] = source

    def add_folder(self, folder: Path) -> None:
        """Offer every ``*.py`` of a project's own folder. Raises ChaosError for a name that is taken."""
        for file in sorted(folder.glob("[!_]*.py")):
            self._add(file.stem, file.resolve())

    def names(self) -> list[str]:
        """All legal names, sorted."""
        return sorted(self._find())

    def __contains__(self, name: object) -> bool:
        return name in self._find()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name: str) -> T:
        """The plug-in named ``name``. Raises ChaosError for an unknown name or a file without its class."""
        if name not in self._loaded:
            source = self._find().get(name)
            if source is None:
                raise ChaosError(unknown(self.kind, name, self.names()))
            self._loaded[name] = self._load(name, source)
        return self._loaded[name]

    def _load(self, name: str, source: str | Path | EntryPoint) -> T:
        place = source.value if isinstance(source, EntryPoint) else source
        try:
            found = self._found(name, source)
        except ChaosError:
            raise
        except Exception as error:  # whatever a plug-in's own code raises while it is imported
            raise ChaosError(f"{place}: the {self.kind} {name!r} cannot be loaded: {described(error)}") from error
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise ChaosError(f"{place}: the {self.kind} {name!r} lacks {', '.join(f'{each}()' for each in missing)}")
        if (lacks := getattr(found, "lacks", None)) and (why := lacks()):
            raise ChaosError(f"{place}: the {self.kind} {name!r} lacks {why}")
        return found

    def _found(self, name: str, source: str | Path | EntryPoint) -> T:
        if isinstance(source, EntryPoint):
            with _as(Plugin(self.package, name)):
                return cast(T, source.load())
        module = importlib.import_module(source) if isinstance(source, str) else _import_file(self, source)
        attribute = "".join(part.capitalize() for part in name.split("_"))
        if not hasattr(module, attribute):
            raise ChaosError(f"{source}: the {self.kind} {name!r} must be a class named {attribute}")
        return cast(T, getattr(module, attribute))


def _import_file(registry: Registry[T], file: Path) -> ModuleType:
    name = f"{registry.package}.{_PROJECT}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ChaosError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _as(Plugin(registry.package, file.stem, str(file.parent))):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _as(plugin: Plugin) -> Iterator[None]:
    token = _importing.set(plugin)
    try:
        yield
    finally:
        _importing.reset(token)
