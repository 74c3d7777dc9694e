"""Plug-ins by kind: the language knows no fault, expectation, provider or action, but where each is found.

A kind is a folder of files, one for each plug-in: our own, what installed packages offer by an entry point, and a
project's own ``plugins/KIND/``.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any, cast

from chaoskit.base.errors import ChaosError, nearest
from chaoskit.base.registry import Registry

_WHERE = {
    "faults": ("chaoskit.language.fault", "FAULTS"),
    "expectations": ("chaoskit.language.expectation", "EXPECTATIONS"),
    "providers": ("chaoskit.services.create", "PROVIDERS"),
    "actions": ("chaoskit.language.action", "ACTIONS"),
}
KINDS = tuple(_WHERE)
ROOT_FILES = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg", ".git")
"""What tells a project's root, as pytest has it."""


@functools.cache
def registry(kind: str) -> Registry[Any]:
    """All plug-ins of one of :data:`KINDS`."""
    module, attribute = _WHERE[kind]
    return cast("Registry[Any]", getattr(importlib.import_module(module), attribute))


def loadable(kind: str, name: str) -> Any:
    """The plug-in of that name; None where there is none, or it cannot be loaded, which is told elsewhere."""
    try:
        return registry(kind).get(name)
    except ChaosError:
        return None


def load_plugins(project: Path) -> None:
    """Offer what a project has in ``plugins/KIND/*.py``. Nothing is imported before its name is used.

    Raises ChaosError for a name that is taken, and for a folder of plug-ins that is none of :data:`KINDS`, but nearly.
    """
    for folder in sorted(project.glob("plugins/*/")):
        meant = nearest(folder.name, KINDS)
        if folder.name not in KINDS and meant and any(folder.glob("[!_]*.py")):
            raise ChaosError(f"{folder}: {folder.name!r} is no kind of plug-in; did you mean {meant!r}?")
    for kind in KINDS:
        if (folder := project / "plugins" / kind).is_dir():
            registry(kind).add_folder(folder)


def project_of(place: Path) -> Path:
    """The root of the project that a folder is part of: the nearest above with a :data:`ROOT_FILES`, or else itself."""
    folders = (place, *place.parents)
    return next((folder for folder in folders if any((folder / name).exists() for name in ROOT_FILES)), place)
