"""The rooms above, reached through their registries by name: the language knows no fault, expectation or provider."""

from __future__ import annotations

import functools
import importlib
from typing import Any, cast

from chaoskit.base.registry import Registry


@functools.cache
def room(name: str) -> Registry[Any]:
    """The registry of a room above: ``faults``, ``expectations``, ``providers`` or ``actions``."""
    module, attribute = {
        "faults": ("chaoskit.language.fault", "FAULTS"),
        "expectations": ("chaoskit.language.expectation", "EXPECTATIONS"),
        "providers": ("chaoskit.services.create", "PROVIDERS"),
        "actions": ("chaoskit.language.action", "ACTIONS"),
    }[name]
    return cast("Registry[Any]", getattr(importlib.import_module(module), attribute))
