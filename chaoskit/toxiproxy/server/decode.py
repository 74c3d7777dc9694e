"""Reading a JSON body as Go's decoder does: its leniency, and its words for what is wrong."""

from __future__ import annotations

import struct
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any


def _refuse_constant(name: str) -> Any:
    # Python's decoder would take NaN and Infinity.
    raise BodyError(f"invalid character '{name.lstrip('-')[0]}' looking for beginning of value")


_DECODER = JSONDecoder(parse_constant=_refuse_constant)
_KINDS = {str: "string", bool: "bool", float: "number", int: "number", list: "array", dict: "object"}
_WHITE = " \t\r\n"


class BodyError(ValueError):
    """The body is not what it should be; the text is Go's."""


def decode(body: bytes) -> Any:
    """The first JSON value of ``body``; what follows it is ignored. Raises BodyError."""
    text = body.decode("utf-8", "replace").lstrip(_WHITE)
    if not text:
        raise BodyError("EOF")
    try:
        return _DECODER.raw_decode(text)[0]
    except RecursionError:
        raise BodyError("exceeded max depth") from None
    except JSONDecodeError as error:
        raise BodyError(_reason(text, error)) from None
    except BodyError:
        raise
    except ValueError:
        raise BodyError("json: a number has too many digits") from None


def _reason(text: str, error: JSONDecodeError) -> str:
    rest = text[error.pos :].lstrip(_WHITE)
    if (
        error.msg.startswith("Unterminated string")
        or not rest
        or any(literal.startswith(rest) for literal in ("true", "false", "null"))
    ):
        return "unexpected EOF"
    found = "'\\'" + "''" if rest[0] == "'" else f"'{rest[0]}'".replace("'\"'", "'\"'")
    for literal in ("true", "false", "null"):
        if rest[0] == literal[0] and error.msg == "Expecting value":
            wrong = next(i for i, letter in enumerate(literal) if rest[i : i + 1] != letter)
            return f"invalid character '{rest[wrong]}' in literal {literal} (expecting '{literal[wrong]}')"
    if error.msg.startswith("Expecting property name"):
        return f"invalid character {found} looking for beginning of object key string"
    if error.msg.startswith("Expecting ':'"):
        return f"invalid character {found} after object key"
    if error.msg.startswith("Expecting ','"):
        # Python does not say whether it was in an object or an array.
        place = "object key:value pair" if _in_object(text[: error.pos]) else "array element"
        return f"invalid character {found} after {place}"
    return f"invalid character {found} looking for beginning of value"


def _in_object(text: str) -> bool:
    """Whether the innermost bracket that is open at the end of ``text`` is a brace."""
    open_brackets: list[str] = []
    quoted = escaped = False
    for letter in text:
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "{[":
            open_brackets.append(letter)
        elif letter in "}]" and open_brackets:
            open_brackets.pop()
    return bool(open_brackets) and open_brackets[-1] == "{"


def mismatch(value: object, where: str, kind: str) -> BodyError:
    """A value of another JSON type than the field has."""
    return BodyError(f"json: cannot unmarshal {_KINDS[type(value)]} into Go {where} of type {kind}")


class Fields:
    """The fields of a JSON object, by the names of a Go struct: case does not matter, null is as if absent."""

    def __init__(self, value: object, struct_name: str, type_name: str) -> None:
        """``struct_name`` and ``type_name`` stand in error texts (Go is not consistent). Raises BodyError."""
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise mismatch(value, "value", type_name)
        self._struct = struct_name
        self._values = {key.lower(): found for key, found in value.items() if found is not None}

    def _get(self, name: str, kinds: tuple[type, ...], go_type: str, default: Any) -> Any:
        value = self._values.get(name, default)
        if value is not default and type(value) not in kinds:
            raise mismatch(value, f"struct field {self._struct}.{name}", go_type)
        return value

    def text(self, name: str, default: str = "", struct_name: str | None = None) -> str:
        """A string. Raises BodyError."""
        if struct_name is not None:
            self._struct = struct_name
        text = str(self._get(name, (str,), "string", default))
        # Half a surrogate pair becomes the replacement character, as in Go.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def flag(self, name: str, default: bool, struct_name: str | None = None) -> bool:
        """A boolean. Raises BodyError."""
        if struct_name is not None:
            self._struct = struct_name
        return bool(self._get(name, (bool,), "bool", default))

    def number(self, name: str, default: float) -> float:
        """A number with the precision of Go's float32. Raises BodyError."""
        return float32(self._get(name, (int, float), "float32", default))

    def condition(self, name: str, least: int) -> int | None:
        """An optional integer of at least ``least`` (chaoskit's own fields). Raises BodyError."""
        value = self._values.get(name)
        if value is not None and (type(value) is not int or not least <= value < 2**63):
            raise BodyError(f"{name} must be an integer of at least {least}")
        return value

    def entries(self, name: str) -> list[Any]:
        """An optional array. Raises BodyError."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, list):
            raise BodyError(f"{name} must be an array")
        return value or []

    def attributes(self) -> dict[str, Any]:
        """A toxic's attributes as they are, names in lower case (chaoskit's own types). Raises BodyError."""
        value = self._values.get("attributes")
        if value is not None and not isinstance(value, dict):
            raise BodyError("attributes must be an object")
        return {key.lower(): found for key, found in (value or {}).items() if found is not None}

    def integers(self, name: str, legal: tuple[str, ...], holder: str) -> dict[str, int]:
        """An object of 64-bit integers; other members than ``legal`` are ignored. Raises BodyError."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise mismatch(value, f"struct field ToxicWrapper.{name}", "toxics.NoopToxic")
        found = {}
        for key, number in value.items():
            attribute = key.lower()
            if attribute not in legal or number is None:
                continue
            where = f"struct field {holder}.{name}.{attribute}"
            if type(number) not in (int, float):
                raise mismatch(number, where, "int64")
            if type(number) is float or not -(2**63) <= number < 2**63:
                raise BodyError(f"json: cannot unmarshal number {number} into Go {where} of type int64")
            found[attribute] = number
        return found


def float32(number: float) -> float:
    """The shortest decimal that means the same as a 32-bit float: what Go shows."""
    try:
        packed = struct.pack("f", number)
        (single,) = struct.unpack("f", packed)
    except (OverflowError, struct.error):  # the latter for an integer beyond any float
        raise BodyError(f"json: cannot unmarshal number {number} into Go value of type float32") from None
    if not isfinite(single):
        raise BodyError(f"json: cannot unmarshal number {number} into Go value of type float32")
    for digits in range(6, 10):
        short = float(f"{single:.{digits}g}")
        if struct.pack("f", short) == packed:
            break
    return int(short) if short.is_integer() else short
