"""Templates checked at load, without rendering them: syntax, and names that nothing stands behind."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FUNCTIONS = ("faker", "pick", "randint", "uuid")
PER_REQUEST = ("op", "seq")
RECEIVER = "chaos"
"""The name of what services may tell chaoskit: ``{{ chaos.alerts_url }}``."""
RESERVED = (*FUNCTIONS, *PER_REQUEST, "matrix", RECEIVER)
"""What services and data cannot be named: a template would not reach them."""
ADDRESS = ("direct_url", "failpoints_url", "host", "port", "url")
"""What a template may ask of a service: ``url``, ``host`` and ``port`` are those of its proxy."""

RECEIVER_ADDRESS = ("alerts_url", "host", "otlp_url", "port", "sops_url", "url")
"""What a template may ask of ``chaos``: where alerts, OTLP and calls of a team's own SOP platform are received."""

Mistake = tuple[str, Sequence[str], str | None]


@functools.lru_cache(maxsize=8192)
def mistakes(text: str, services: frozenset[str], data: frozenset[str] = frozenset()) -> tuple[Mistake, ...]:
    """What is wrong with a template when these names exist besides the functions: (what, legal, found)."""
    if "{{" not in text and "{%" not in text:
        return ()
    from jinja2 import TemplateSyntaxError, meta

    environment = _environment()
    try:
        tree = environment.parse(text)
        environment.compile(tree)  # finds unknown filters and tests
    except TemplateSyntaxError as error:
        return ((f"template {text!r}: {error.message}", (), None),)
    # Whatever else Jinja2 cannot compile (a keyword given twice, endless nesting) is the template's mistake too.
    except Exception as error:
        return ((f"template {text!r}: {type(error).__name__}: {error}", (), None),)
    unknown = meta.find_undeclared_variables(tree) - {*services, *data, *FUNCTIONS, *PER_REQUEST, RECEIVER}
    found = [*_names(unknown - set(environment.globals), services | data), *_accesses(tree, services)]
    return tuple((f"template {text!r}: {what}", legal, name) for what, legal, name in found)


@functools.lru_cache(maxsize=8192)
def constants_and_names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The string constants and the undeclared names of a template; none for one that cannot be compiled."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    try:
        tree = _environment().parse(text)
    except TemplateSyntaxError:
        return frozenset(), frozenset()  # :func:`mistakes` tells
    constants = {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}
    return frozenset(constants), frozenset(meta.find_undeclared_variables(tree))


def _names(unknown: set[str], known: frozenset[str]) -> Iterator[Mistake]:
    legal = sorted({*known, *FUNCTIONS, *PER_REQUEST})
    for name in sorted(unknown):
        if name == "matrix":
            yield "a matrix value stands alone in its braces", ("{{ matrix.NAME }}",), None
        else:
            yield f"unknown name {name!r}", legal, name


def _accesses(tree: nodes.Template, services: frozenset[str]) -> Iterator[Mistake]:
    """Private attributes, which the sandbox would refuse at run time, and what services do not have."""
    from jinja2 import nodes

    for access in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)):
        match access:
            case (
                nodes.Getattr(node=owner, attr=str(name)) | nodes.Getitem(node=owner, arg=nodes.Const(value=str(name)))
            ):
                pass
            case nodes.Filter(node=owner, name="attr", args=[nodes.Const(value=str(name)), *_]):
                pass
            case _:
                continue
        if name.startswith("_"):
            yield f"{name!r} may not be reached from a template", (), None
        elif isinstance(owner, nodes.Name) and owner.name in services and name not in ADDRESS:
            yield f"the service {owner.name} has no {name!r}", ADDRESS, name
        elif isinstance(owner, nodes.Name) and owner.name == RECEIVER and name not in RECEIVER_ADDRESS:
            yield f"{RECEIVER} has no {name!r}", RECEIVER_ADDRESS, name


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(autoescape=False)
    del environment.globals["lipsum"]  # not there when the template is rendered: it draws from no seed
    return environment
