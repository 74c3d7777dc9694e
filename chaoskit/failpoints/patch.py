"""Putting a failpoint in front of a function, in place.

The function object stays and only its ``__code__`` is swapped, so every reference to it (``from m import f``,
a route table, a registered callback) meets the failpoint, and restoring it is putting back one object. The code
put in has the same parameters and is of the same sort (coroutine, generator, ...), so ``inspect`` sees no difference.
"""

from __future__ import annotations

from types import CodeType, FunctionType

from chaoskit.failpoints.errors import FailpointsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any

    from chaoskit.failpoints.actions import Returned

# Flags of a code object, as in the inspect module, which is slow to import.
_VARARGS, _VARKEYWORDS, _GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = (
    4,
    8,
    32,
    128,
    256,
    512,
)

# Stands in the source where the Patch comes in as a constant: a global name could clash with the module's own.
_PATCH = "chaoskit failpoint"
_HIT, _INNER, _ITEM, _SENT = "__failpoint_hit", "__failpoint_inner", "__failpoint_item", "__failpoint_sent"

_FUNCTION = f"""\
    def {{name}}({{parameters}}):
        if ({_HIT} := {_PATCH!r}.enter()) is not None: return {_HIT}.value
        return {_PATCH!r}.original({{arguments}})
"""
_COROUTINE_FUNCTION = f"""\
    async def {{name}}({{parameters}}):
        if ({_HIT} := await {_PATCH!r}.enter_async()) is not None: return {_HIT}.value
        return await {_PATCH!r}.original({{arguments}})
"""
_GENERATOR_FUNCTION = f"""\
    def {{name}}({{parameters}}):
        if ({_HIT} := {_PATCH!r}.enter()) is not None: return (yield from {_PATCH!r}.items({_HIT}.value))
        return (yield from {_PATCH!r}.original({{arguments}}))
"""
# ``yield from`` does not exist here, so what is sent, thrown and closed is passed on by hand.
_ASYNC_GENERATOR_FUNCTION = f"""\
    async def {{name}}({{parameters}}):
        if ({_HIT} := await {_PATCH!r}.enter_async()) is not None:
            for {_ITEM} in {_PATCH!r}.items({_HIT}.value): yield {_ITEM}
            return
        {_INNER} = {_PATCH!r}.original({{arguments}})
        try:
            {_ITEM} = await {_INNER}.__anext__()
            while True:
                try: {_SENT} = yield {_ITEM}
                except GeneratorExit: raise
                except BaseException as {_SENT}: {_ITEM} = await {_INNER}.athrow({_SENT})
                else: {_ITEM} = await {_INNER}.asend({_SENT})
        except StopAsyncIteration: return
        finally: await {_INNER}.aclose()
"""


class CannotPatch(FailpointsError):
    """The name leads to something that a failpoint cannot be put in front of."""


class Patch:
    """A failpoint in front of one function. Nothing happens before :meth:`install`."""

    def __init__(
        self,
        name: str,
        function: FunctionType,
        enter: Callable[[str], Returned | None],
        enter_async: Callable[[str], Awaitable[Returned | None]],
    ) -> None:
        self.name = name
        self.function = function
        self._enter = enter
        self._enter_async = enter_async
        self._trampoline = self._compile(function.__code__)

    def install(self) -> None:
        """From the next call on the failpoint decides; nothing changes when it does already."""
        function = self.function
        if function.__code__ is self._trampoline:
            return
        self._code = function.__code__
        self.original = FunctionType(self._code, function.__globals__, function.__name__, None, function.__closure__)
        self.original.__qualname__ = function.__qualname__
        function.__code__ = self._trampoline

    def restore(self) -> None:
        """Put the very code object back that was there."""
        self.function.__code__ = self._code

    def enter(self) -> Returned | None:
        return self._enter(self.name)

    def enter_async(self) -> Awaitable[Returned | None]:
        return self._enter_async(self.name)

    @staticmethod
    def items(value: Any) -> Generator[Any, None, Any]:
        """What a generator does at ``return(VALUE)``: a list is yielded item by item, else it ends with VALUE."""
        if isinstance(value, list):
            yield from value
            return None
        return value

    def _compile(self, code: CodeType) -> CodeType:
        flags = code.co_flags
        if flags & _COROUTINE:
            template = _COROUTINE_FUNCTION
        elif flags & _ASYNC_GENERATOR:
            template = _ASYNC_GENERATOR_FUNCTION
        elif flags & _GENERATOR:
            template = _GENERATOR_FUNCTION
        else:
            template = _FUNCTION
        parameters, arguments = _signature(code)
        body = template.format(name="__failpoint", parameters=parameters, arguments=arguments)
        lines = body.splitlines(keepends=True)
        # A function's code must want as many cells as the function has.
        if code.co_freevars:
            lines.insert(0, f"    {' = '.join(code.co_freevars)} = None\n")
            lines.insert(2, f"        if 0: {', '.join(code.co_freevars)}\n")
        source = "def __make():\n" + "".join(lines)
        try:
            module = compile(source, f"<failpoint {self.name}>", "exec", dont_inherit=True)
        except SyntaxError:
            raise CannotPatch(f"{self.name} has parameters that cannot be written in Python") from None
        made = _inner_code(_inner_code(module, "__make"), "__failpoint")
        return made.replace(
            co_name=code.co_name,
            co_qualname=code.co_qualname,
            co_flags=made.co_flags | (flags & _ITERABLE_COROUTINE),
            co_consts=tuple(self if const == _PATCH else const for const in made.co_consts),
        )


def _signature(code: CodeType) -> tuple[str, str]:
    """The parameters of a function as they stand in ``def``, and the arguments that pass all of them on."""
    names = list(code.co_varnames)
    positional, names = names[: code.co_argcount], names[code.co_argcount :]
    keyword, names = names[: code.co_kwonlyargcount], names[code.co_kwonlyargcount :]
    rest = "*" + names.pop(0) if code.co_flags & _VARARGS else ""
    keywords = "**" + names.pop(0) if code.co_flags & _VARKEYWORDS else ""
    only = [*positional[: code.co_posonlyargcount], "/"] if code.co_posonlyargcount else []
    star = [rest] if rest else ["*"] if keyword else []
    parameters = [*only, *positional[code.co_posonlyargcount :], *star, *keyword, keywords]
    arguments = [*positional, rest, *(f"{name}={name}" for name in keyword), keywords]
    return ", ".join(filter(None, parameters)), ", ".join(filter(None, arguments))


def _inner_code(code: CodeType, name: str) -> CodeType:
    return next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
