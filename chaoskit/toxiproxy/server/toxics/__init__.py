"""The toxics: one file each, named after its type; it holds a class of that name in CamelCase.

``noop`` is the simplest: start there to write another.
"""

from __future__ import annotations

from importlib import import_module
from os import listdir

from chaoskit.toxiproxy.server.toxics.base import Toxic

_FILES = listdir(__path__[0])  # noqa: PTH208 - pathlib costs start-up time
_NAMES = {name[:-3] for name in _FILES if name.endswith(".py")} - {"__init__", "base"}


def names() -> list[str]:
    """The legal types, sorted."""
    return sorted(_NAMES)


def new(kind: str) -> Toxic | None:
    """A toxic with all attributes at their defaults; None when there is no such type."""
    if kind not in _NAMES:
        return None
    module = import_module(f"{__name__}.{kind}")
    toxic: Toxic = getattr(module, "".join(word.capitalize() for word in kind.split("_")))()
    return toxic
