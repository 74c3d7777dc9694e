"""Templates in scenarios: Jinja2 in its immutable sandbox, with data drawn from a seed.

``uuid()``, ``pick(list, skew=0.0)``, ``randint(a, b)``, ``faker``, ``seq`` and ``op`` are there besides the
caller's variables. All draws of one rendering come from one generator, seeded by :meth:`Templates.seed`: the
same seed gives the same data whatever was rendered before. Jinja2 and Faker are imported when a template
needs them.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chaoskit.base.errors import ChaosError

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FUNCTIONS = ("faker", "pick", "randint", "uuid")
PER_REQUEST = ("op", "seq")
RESERVED = (*FUNCTIONS, *PER_REQUEST)

Render = Callable[[dict[str, Any]], Any]
"""Gives a template's result for the names of one request (:meth:`Templates.names`)."""


class TemplateError(ChaosError):
    """A template that cannot be compiled or rendered. The text names the template and the reason."""


class Templates:
    """Compiles templates over one set of variables; each text once.

    Raises TemplateError when a variable has the name of a template function.
    """

    def __init__(self, variables: Mapping[str, Any] | None = None) -> None:
        self._variables = dict(variables or {})
        for name in RESERVED:
            if name in self._variables:
                raise TemplateError(f"the variable {name!r} would hide the template's own {name!r}: rename it")
        self._random = random.Random(0)  # noqa: S311 - repeatable on purpose
        self._weights: dict[tuple[int, float], list[float]] = {}
        self._compiled: dict[tuple[str, bool], Render] = {}
        self._globals: dict[str, Any] = {}

    def seed(self, *parts: object) -> None:
        """Let the next draws depend on ``parts`` (and on nothing that was drawn before)."""
        self._random.seed(stable_seed(*parts))

    def names(self, **request: Any) -> dict[str, Any]:
        """Everything that templates may name for one request; made once and shared by its templates."""
        return {**self._globals, **request}

    def uuid(self) -> str:
        """A version 4 UUID drawn from the seed."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def traceparent(self) -> str:
        """The header of W3C's trace context for a trace of its own, drawn from the seed and marked as sampled."""
        return f"00-{self._random.getrandbits(128):032x}-{self._random.getrandbits(64):016x}-01"

    def text(self, source: str) -> Render:
        """A renderer that gives text. Raises TemplateError."""
        return self._compile(source, native=False)

    def value(self, source: Any) -> Render:
        """A renderer for a JSON-like value whose strings are templates.

        A string that is exactly one ``{{ expression }}`` gives the expression's own type: ``{{ randint(1, 3) }}``
        a number. Ask for text with ``{{ randint(1, 3) | string }}``. Raises TemplateError.
        """
        if isinstance(source, str):
            return self._compile(source, native=True)
        if isinstance(source, Mapping):
            fields = [(self.text(str(key)), self.value(item)) for key, item in source.items()]
            return lambda given: {key(given): item(given) for key, item in fields}
        if isinstance(source, list | tuple):
            items = [self.value(item) for item in source]
            return lambda given: [item(given) for item in items]
        return lambda _: source

    def _compile(self, source: str, native: bool) -> Render:
        if not _is_template(source):
            return lambda _: source
        key = (source, native)
        if key not in self._compiled:
            self._compiled[key] = self._guard(source, self._renderer(source, native))
        return self._compiled[key]

    def _renderer(self, source: str, native: bool) -> Render:
        from jinja2 import TemplateSyntaxError, meta, nodes

        environment = self._environment
        try:
            tree = environment.parse(source)
            if "faker" in meta.find_undeclared_variables(tree) and "faker" not in environment.globals:
                from chaoskit.traffic.fake import FakeData

                environment.globals["faker"] = FakeData(self._random)
            expression = _only_expression(tree) if native else None
            if expression is not None:
                # The way Jinja2's own compile_expression does it, from an expression that is parsed already.
                assign = nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)
                tree = nodes.Template([assign], lineno=1)
            template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise TemplateError(f"template {source!r}: {error.message}") from None

        def evaluate(given: dict[str, Any]) -> Any:
            # Template.render would copy all names for every template; this is half of its time.
            context = environment.context_class(environment, given, None, template.blocks)
            text = "".join(template.root_render_func(context))
            return text if expression is None else context.vars["result"]

        return evaluate

    def _guard(self, source: str, render: Render) -> Render:
        from jinja2 import Undefined

        def guarded(given: dict[str, Any]) -> Any:
            try:
                value = render(given)
                if isinstance(value, Undefined):
                    str(value)  # a strict undefined value says what is missing
            # Whatever a template's expressions raise is the template's mistake and is shown as such.
            except Exception as error:
                raise TemplateError(f"template {source!r}: {error or type(error).__name__}") from None
            return value

        return guarded

    @functools.cached_property
    def _environment(self) -> ImmutableSandboxedEnvironment:
        environment = _new_environment()
        # Plain functions: nothing of this object can be reached from a template.
        environment.globals.update(
            self._variables,
            uuid=lambda: self.uuid(),
            randint=lambda a, b: self._random.randint(a, b),
            pick=lambda items, skew=0.0: self._pick(items, skew),
        )
        environment.filters["random"] = lambda items: self._pick(items, 0.0)
        self._globals = environment.globals
        return environment

    def _pick(self, items: Sequence[Any], skew: float) -> Any:
        if not items:
            raise ValueError("pick() from an empty list")
        key = (len(items), float(skew))
        if key not in self._weights:
            total = 0.0
            self._weights[key] = [total := total + 1 / (rank + 1) ** skew for rank in range(len(items))]
        return self._random.choices(items, cum_weights=self._weights[key])[0]


def render(text: str, variables: Mapping[str, Any], *, seed: int = 0) -> str:
    """``text`` rendered once, over ``variables`` and the template functions. Raises TemplateError."""
    own = {name: variables[name] for name in PER_REQUEST if name in variables}
    templates = Templates({name: value for name, value in variables.items() if name not in own})
    templates.seed(seed, "render", text)
    renderer = templates.text(text)
    return str(renderer(templates.names(**{"op": "", "seq": 0, **own})))


def stable_seed(*parts: object) -> int:
    """A number that depends on ``parts`` only, the same in every process and Python version."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a template that consists of nothing else."""
    from jinja2 import nodes

    if len(tree.body) == 1 and isinstance(output := tree.body[0], nodes.Output) and len(output.nodes) == 1:
        only = output.nodes[0]
        return None if isinstance(only, nodes.TemplateData) else only
    return None


def _new_environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Requests are not HTML: what a template gives is sent as it is.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    del environment.globals["lipsum"]  # draws from no seed
    return environment
