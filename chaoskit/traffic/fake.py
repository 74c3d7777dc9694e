"""``faker`` as templates see it: the data functions of Faker's providers and nothing else.

A Faker object would hand a template its generators and providers, and its state; here only the providers'
functions can be called, and they draw from the template's own generator.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from faker import Faker

from chaoskit.base.errors import ChaosError, unknown


class FakeData:
    """Attribute ``user_name`` is Faker's ``user_name`` and so on, drawing from ``rng``."""

    __slots__ = ("__functions",)

    def __init__(self, rng: random.Random) -> None:
        generator = Faker("en_US").factories[0]
        generator.random = rng
        self.__functions: dict[str, Callable[..., Any]] = {
            name: getattr(generator, name)
            for provider in generator.get_providers()
            for name in dir(provider)
            if not name.startswith("_") and callable(getattr(provider, name))
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)  # Python and Jinja2 ask for such names to see what an object can do
        functions = self.__functions
        if name not in functions:
            # All of Faker's 300 names would bury the message: those that start alike, or the usual ones.
            near = [known for known in functions if known[:2] == name[:2]] or ["email", "name", "user_name"]
            raise ChaosError(unknown("faker function", name, near))
        return functions[name]
