"""From pydantic's errors to problems that a person can act on: line, what is legal, what was meant."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from chaoskit.errors import Problem
from chaoskit.scenario.source import Source


def problems_of(
    error: ValidationError, model: type[BaseModel], source: Source, base: Sequence[str | int] = ()
) -> Iterator[Problem]:
    """One problem for each mistake. ``base`` is where in the file the validated data stands."""
    seen: set[tuple[object, ...]] = set()
    for item in error.errors(include_url=False):
        path = _in_data(source, (*base, *item["loc"]))
        context = item.get("ctx", {})
        legal, found = list(context.get("legal", ())), context.get("found")
        what = item["msg"]
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            fields = _keys(_at(model, item["loc"][:-1]))
            what, legal, found = f"unknown key {key!r}", fields, key
        elif item["type"] == "missing":
            what = f"{str(item['loc'][-1])!r} is missing"
            path = path[: len(base) + len(item["loc"]) - 1]
        elif item["type"] == "literal_error":
            legal = [
                str(value).strip("'") for value in str(context.get("expected", "")).replace(" or ", ", ").split(", ")
            ]
            found = str(item["input"])
            what = f"{found!r} is not allowed here"
        elif item["type"] != "chaoskit":
            what = f"{_where(item['loc'])}{what[0].lower()}{what[1:]}, found {_short(item['input'])}"
        elif item["loc"]:
            what = f"{_where(item['loc'])}{what}"
        line = source.line(path)
        if (line, what) not in seen:
            seen.add((line, what))
            yield Problem(source.problem((), "").file, line, what, legal, found)


def _where(loc: Sequence[str | int]) -> str:
    names = [str(step) for step in loc if not isinstance(step, int)]
    return f"{names[-1]}: " if names else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _in_data(source: Source, path: Sequence[str | int]) -> tuple[str | int, ...]:
    """``path`` without the steps that pydantic adds for the members of a union."""
    kept: list[str | int] = []
    data: Any = source.data
    for step in path:
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
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
