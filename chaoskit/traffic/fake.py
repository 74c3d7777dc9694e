"""``faker`` as templates see it: the data functions of Faker's providers and nothing else.

A Faker object would hand a template its generators and providers, and its state; here only the providers'
functions can be called, and they draw from the template's own generator.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from faker import Faker

from chaoskit.errors import unknown


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
        functions = self.__functions
        if name not in functions:
            near = sorted(n for n in functions if n[:3] == name[:3]) or ["name", "email", "user_name", "word"]
            raise AttributeError(unknown("faker function", name, near))
        return functions[name]
