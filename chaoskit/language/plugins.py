"""Plug-ins by kind: the language knows no fault, expectation, provider or action, but where each is found.

A kind is a folder of files, one for each plug-in: our own, what installed packages offer by an entry point, and a
project's own ``plugins/KIND/``.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any, cast

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


def load_plugins(project: Path) -> None:
    """Offer what a project has in ``plugins/KIND/*.py``. Nothing is imported before its name is used.

    Raises ChaosError for a name that is taken.
    """
    for kind in KINDS:
        if (folder := project / "plugins" / kind).is_dir():
            registry(kind).add_folder(folder)


def project_of(place: Path) -> Path:
    """The root of the project that a folder is part of: the nearest above with a :data:`ROOT_FILES`, or else itself."""
    folders = (place, *place.parents)
    return next((folder for folder in folders if any((folder / name).exists() for name in ROOT_FILES)), place)
