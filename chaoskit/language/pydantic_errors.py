"""From pydantic's errors to problems that a person can act on: line, what is legal, what was meant."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from chaoskit.base.errors import Problem, nearest
from chaoskit.language.source import Source, YamlPath

# What pydantic calls a wrong type, and what a person would call the right one.
_WANTED = {
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


_MOST = 1000
"""Of pydantic's errors: more are never told (:class:`InputError`), and each is compared with the others."""


@dataclass(frozen=True)
class _Mistake:
    """One of pydantic's errors. ``wanted`` is given when a value has the wrong type or is not among the literals."""

    path: YamlPath
    what: str
    legal: Sequence[str] = ()
    found: str | None = None
    missing: str | None = None
    wanted: Sequence[str] = field(default=())


def problems_of(
    error: ValidationError, model: type[BaseModel], source: Source, base: Sequence[str | int] = ()
) -> Iterator[Problem]:
    """One problem for each mistake. ``base`` is where in the file the validated data stands."""
    items = [_mistake(item, model, source, tuple(base)) for item in error.errors(include_url=False)[:_MOST]]
    seen: set[tuple[object, ...]] = set()
    for mistake in _without_misspelt(_unions(items)):
        what = mistake.what if mistake.missing is None else f"{mistake.missing!r} is missing"
        problem = source.problem(mistake.path, what, mistake.legal, mistake.found)
        if (problem.line, what) not in seen:
            seen.add((problem.line, what))
            yield problem


def _mistake(item: Any, model: type[BaseModel], source: Source, base: YamlPath) -> _Mistake:
    path = _in_data(source, (*base, *item["loc"]))
    context = item.get("ctx", {})
    kind, message, value = item["type"], str(item["msg"]), item["input"]
    if kind == "extra_forbidden":
        key = str(item["loc"][-1])
        return _Mistake(path, f"unknown key {key!r}", _keys(_at(model, item["loc"][:-1])), key)
    if kind == "missing":
        parent = _in_data(source, (*base, *item["loc"][:-1]))
        return _Mistake(parent, "", missing=str(item["loc"][-1]))
    if kind == "literal_error":
        words = str(context.get("expected", "")).replace(" or ", ", ").split(", ")
        legal = [word.strip("'") for word in words]
        return _Mistake(path, f"{_where(path)}{value!r} is not allowed", legal, str(value), wanted=legal)
    if kind in _WANTED:
        wanted = _WANTED[kind]
        legal = _keys(_at(model, item["loc"])) if wanted == "a mapping" else []
        return _Mistake(path, f"{_where(path)}{wanted} is expected, found {_short(value)}", legal, wanted=[wanted])
    if kind == "chaoskit":
        return _Mistake(path, f"{_where(path)}{message}", list(context.get("legal", ())), context.get("found"))
    message = message.removeprefix("Input ").replace(" after validation", "")
    return _Mistake(path, f"{_where(path)}{message[0].lower()}{message[1:]}, found {_short(value)}")


def _unions(mistakes: Sequence[_Mistake]) -> Iterator[_Mistake]:
    """Pydantic tells one error for each member of a union: of those about one value make one."""
    merged: set[YamlPath] = set()
    for mistake in mistakes:
        path = mistake.path
        if not mistake.wanted:
            yield mistake
            continue
        # The member of the union that fits so far knows better what is wrong further down.
        if path in merged or any(other.path[: len(path)] == path != other.path for other in mistakes):
            continue
        merged.add(path)
        same = [other for other in mistakes if other.wanted and other.path == path]
        legal = list(dict.fromkeys(word for other in same for word in other.wanted))
        literal = next((other for other in same if other.legal), None)
        if len(same) == 1:
            yield mistake
        elif literal is not None:
            yield _Mistake(path, literal.what, legal, literal.found)
        else:
            _, _, found = mistake.what.partition(" is expected")
            yield _Mistake(path, f"{_where(path)}{_either(legal)} is expected{found}")


def _without_misspelt(mistakes: Iterable[_Mistake]) -> list[_Mistake]:
    """A required key that was misspelt is one mistake, not two: an unknown key and a missing one."""
    kept = list(mistakes)
    meant = {
        (mistake.path[:-1], nearest(mistake.found, mistake.legal))
        for mistake in kept
        if mistake.found is not None and mistake.what.startswith("unknown key")
    }
    return [mistake for mistake in kept if mistake.missing is None or (mistake.path, mistake.missing) not in meant]


def _where(path: YamlPath) -> str:
    names = [str(step) for step in path if not isinstance(step, int)]
    return f"{names[-1]}: " if names else ""


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _in_data(source: Source, path: Sequence[str | int]) -> YamlPath:
    """``path`` without the steps that pydantic adds for the members of a union and for keys."""
    kept: list[str | int] = []
    data: Any = source.data
    for step in path:
        if isinstance(data, list):
            if not isinstance(step, int) or step >= len(data):
                continue
            data = data[step]
        elif isinstance(data, dict) and step in data:
            data = data[step]
        else:
            continue
        kept.append(step)
    return tuple(kept)


def _keys(model: Any) -> list[str]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return sorted(field.alias or name for name, field in model.model_fields.items())
    return []


def _at(model: Any, loc: Sequence[str | int]) -> Any:
    """The model class found by walking ``loc`` down from ``model``, or None."""
    current: Any = model
    for step in loc:
        current = _step(_plain(current), step)
        if current is None:
            return None
    return _plain(current)


def _plain(annotation: Any) -> Any:
    """Strip Annotated and Optional; of a union keep the members that can hold something."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        members = [_plain(arg) for arg in get_args(annotation) if arg is not type(None)]
        models = [arg for arg in members if isinstance(arg, type) and issubclass(arg, BaseModel)]
        return models[0] if len(models) == 1 else (members[0] if len(members) == 1 else tuple(members))
    return annotation


def _step(current: Any, step: str | int) -> Any:
    if isinstance(current, tuple):
        return next((found for member in current if (found := _step(member, step)) is not None), None)
    if isinstance(current, type) and issubclass(current, BaseModel):
        if issubclass(current, RootModel):
            return _step(_plain(current.model_fields["root"].annotation), step)
        for name, field in current.model_fields.items():
            if step in (name, field.alias):
                return field.annotation
        return current if step == current.__name__ else None
    origin, args = get_origin(current), get_args(current)
    if origin is dict and len(args) == 2:
        return args[1]
    if origin in (list, tuple) and args:
        return args[0]
    return None
