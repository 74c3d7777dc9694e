"""The fields of a model as rows for a table: key, type, default, meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chaoskit.base import units
from chaoskit.expectations._fields import Count, Regex
from chaoskit.faults._fields import Place
from chaoskit.faults.pool_exhaustion import Hold
from chaoskit.language import types
from chaoskit.language.bounds import Bound

_QUANTITIES = {
    "duration": (types.Duration, units.format_duration),
    "rate": (types.Rate, units.format_rate),
    "size": (types.Size, units.format_size),
    "bandwidth": (types.Bandwidth, lambda value: f"{units.format_size(value)}/s"),
    "share": (types.Ratio, units.format_ratio),
}
_NAMED = {
    **{name: alias for name, (alias, _) in _QUANTITIES.items()},
    "bound: duration": types.DurationBound,
    "bound: share": types.ShareBound,
    "bound: ratio": types.RatioBound,
    "bound: rate": types.RateBound,
    "bound: size": types.SizeBound,
    "bound: number": types.NumberBound,
    "bound: whole number": types.CountBound,
    "bound: number, or a number": Count,
    "bound: duration, or × steady": types.RelativeDurationBound,
    "bound: share, or × steady": types.RelativeShareBound,
    "bound: rate, or × steady": types.RelativeRateBound,
    "regular expression": Regex,
    "service": types.ServiceName,
    "service, read as HTTP": types.CalledService,
    "service, HTTP": types.HttpService,
    "service, a database": types.Database,
    "operation": types.OperationName,
    "failpoint": Place,
    "number or share": Hold,
}
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "any value"}
_SCALARS = {"text", "whole number", "number", "`true` or `false`"}

Row = list[str]


class Fields:
    """Rows of tables. ``meanings`` says by model what keys mean, ``links`` which models have a section of their own.

    Raises KeyError for a key without a meaning. ``unused`` tells meanings that no key asked for.
    """

    def __init__(self, meanings: Mapping[str, Mapping[str, str]], links: Mapping[str, str]) -> None:
        self._meanings = meanings
        self._links = links
        self._used: set[tuple[str, str]] = set()

    @property
    def unused(self) -> list[str]:
        """Meanings whose key is gone."""
        every = {(model, key) for model, keys in self._meanings.items() for key in keys}
        return [f"{model}: {key}" for model, key in sorted(every - self._used)]

    def rows(self, model: type[BaseModel], meanings: Mapping[str, str] | None = None) -> Iterator[Row]:
        """The fields of ``model``, those of models within it below theirs."""
        return self._rows(model.__name__, model, "", meanings)

    def _rows(
        self, owner: str, model: type[BaseModel], prefix: str, meanings: Mapping[str, str] | None
    ) -> Iterator[Row]:
        for name, info in model.model_fields.items():
            key = prefix + (info.alias or name)
            meaning = info.description or (meanings[key] if meanings is not None else self._meaning(owner, key))
            kind = self._type(info.annotation, info.metadata)
            yield [f"`{key}`", kind, self._default(info), _sentence(meaning)]
            inner, many = _inner(info.annotation)
            if inner is not None and inner.__name__ not in self._links:
                yield from self._rows(owner, inner, f"{key}{'[]' if many else ''}.", meanings)

    def _meaning(self, owner: str, key: str) -> str:
        if key not in self._meanings.get(owner, {}):
            raise KeyError(f"meanings.yaml: {owner}: {key} is missing")
        self._used.add((owner, key))
        return self._meanings[owner][key]

    def _type(self, annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
        metadata = _flat(metadata)
        named = _named(metadata)
        if named is not None:
            return named
        origin, inside = get_origin(annotation), get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            return self._type(annotation.__origin__, [*annotation.__metadata__, *metadata])
        if origin in (Union, UnionType):
            return _either([self._type(part, metadata) for part in inside if part is not NoneType])
        if origin is Literal:
            return _either([f"`{_yaml(part)}`" for part in inside])
        if origin is list:
            return f"list of {_plural(self._type(inside[0]))}"
        if origin is dict:
            return "mapping" if inside[1] is Any else f"mapping to {self._type(inside[1])}"
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self._links.get(annotation.__name__, "mapping")
        low = next((item.ge for item in metadata if getattr(item, "ge", None) is not None), None)
        high = next((item.le for item in metadata if getattr(item, "le", None) is not None), None)
        limits = f", {low} to {high}" if high is not None else f", at least {low}" if low is not None else ""
        return _PLAIN[annotation] + limits

    def _default(self, info: FieldInfo) -> str:
        if info.is_required():
            return "required"
        value = info.default
        if value is None or isinstance(value, BaseModel) or value in ([], {}, ""):
            return "–"
        named = _named(_flat(info.metadata))
        if named in _QUANTITIES:
            return f"`{_QUANTITIES[named][1](value)}`"
        return f"`{value if isinstance(value, Bound) else _yaml(value)}`"


def _flat(metadata: list[Any] | tuple[Any, ...]) -> list[Any]:
    """The metadata, with that of a Field(...) unpacked."""
    return [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _named(metadata: list[Any]) -> str | None:
    """The type of the language that these annotations make: the one that explains most of them."""
    matching = [
        (len(alias.__metadata__), name)
        for name, alias in _NAMED.items()
        if all(item in metadata for item in alias.__metadata__)
    ]
    return max(matching)[1] if matching else None


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if get_origin(annotation) in (Union, UnionType, list):
        for part in get_args(annotation):
            if (found := _inner(part)[0]) is not None:
                return found, get_origin(annotation) is list
    return None, False


def _either(words: list[str]) -> str:
    if len(words) > 1 and set(words) <= _SCALARS:
        return "text or number" if "`true` or `false`" not in words else "text, number, `true` or `false`"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _plural(words: str) -> str:
    return f"{words}s" if words in ("mapping", "whole number") else words


def _sentence(text: str) -> str:
    text = (text[:1].upper() + text[1:]).removesuffix(", or")
    return text if text.endswith((".", "?")) else f"{text}."


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
