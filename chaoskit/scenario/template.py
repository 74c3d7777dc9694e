"""Templates checked at load, without rendering them: syntax, and names that nothing stands behind."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FUNCTIONS = ("faker", "pick", "randint", "uuid")
PER_REQUEST = ("op", "seq")
ADDRESS = ("direct_url", "failpoints_url", "host", "port", "url")
"""What a template may ask of a service: ``url``, ``host`` and ``port`` are those of its proxy."""

Mistake = tuple[str, Sequence[str], str | None]


@functools.lru_cache(maxsize=8192)
def mistakes(text: str, names: frozenset[str]) -> tuple[Mistake, ...]:
    """What is wrong with a template when ``names`` exist besides the functions: (what, legal, found)."""
    if "{{" not in text and "{%" not in text:
        return ()
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _environment()
    try:
        tree = environment.parse(text)
        environment.compile(tree)  # finds unknown filters and tests
    except TemplateSyntaxError as error:
        return ((f"template {text!r}: {error.message}", (), None),)
    legal = sorted({*names, *FUNCTIONS, *PER_REQUEST, "matrix"})
    unknown = meta.find_undeclared_variables(tree) - {*legal, *environment.globals}
    found: list[Mistake] = [(f"template {text!r}: unknown name {name!r}", legal, name) for name in sorted(unknown)]
    for access in tree.find_all(nodes.Getattr):
        if access.attr.startswith("_"):
            found.append((f"template {text!r}: {access.attr!r} may not be reached from a template", (), None))
    return tuple(found)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(autoescape=False)
