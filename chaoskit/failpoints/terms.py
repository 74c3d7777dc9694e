"""gofail's term language: what a failpoint does, as text.

``[MODIFIER...]TYPE[(VALUE)]``, several joined by ``->``: ``50.0%sleep(100)``, ``2*return("x")->1*panic``.

A modifier is ``PERCENT%`` or ``COUNT*``; several are asked from left to right, as in gofail: ``2*50.0%panic``
uses up a count even where the percentage then says no. The first term of the chain whose modifiers allow it is
the one that acts; when none does, nothing happens.

======= =====================================================================================
off     nothing
return  gives VALUE to the code at the failpoint; by name, the function returns it
sleep   waits: whole milliseconds, or a Go duration ("1m30s")
panic   raises Panic with VALUE as its text, else the failpoint's name
break   enters the debugger (``breakpoint()``)
print   writes the failpoint's name to standard output
abort   ends the process with SIGABRT, as a crash in C would
exit    ends the process with status VALUE (else 1), at once: nothing is flushed or cleaned up
hang    waits until the failpoint is switched off or set anew
======= =====================================================================================

Wider than gofail: a percentage may be a whole number (``50%``), VALUE may be any JSON value, a duration may
stand without quotes (``sleep(10s)``), and there are three more types: ``abort``, ``exit`` and ``hang``.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is slow to import, and a service imports this at start-up
if TYPE_CHECKING:
    from typing import Any, NoReturn

GOFAIL_KINDS = ("off", "return", "sleep", "panic", "break", "print")
OWN_KINDS = ("abort", "exit", "hang")
KINDS = GOFAIL_KINDS + OWN_KINDS

LONGEST_SLEEP = 365 * 86400.0  # seconds; more than that is a slip, and time.sleep has a limit too
_DIGITS = frozenset("0123456789")
_SPACE = " \t\r\n"
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class TermsError(ValueError):
    """A text that is not terms. The message names the position (one-based) and what is legal there."""


class Term:
    """One term of a chain.

    ``modifiers`` holds ``("%", percent)`` and ``("*", count)`` in the order written; ``value`` is the decoded
    VALUE, None where there is none (or ``null``).
    """

    __slots__ = ("kind", "modifiers", "value")

    def __init__(self, kind: str, value: Any = None, modifiers: tuple[tuple[str, float], ...] = ()) -> None:
        self.kind = kind
        self.value = value
        self.modifiers = modifiers

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Term)
            and (self.kind, self.modifiers) == (other.kind, other.modifiers)
            and _same(self.value, other.value)
        )

    def __repr__(self) -> str:
        return f"Term({format_terms([self])!r})"


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)  # 1, 1.0 and true are three values


def parse_terms(text: str) -> tuple[Term, ...]:
    """Read a chain of terms. Raises TermsError."""
    reader = _Reader(text)
    chain = [reader.term()]
    while reader.at < len(text):
        if not text.startswith("->", reader.at):
            reader.fail("expected '->' or the end")
        reader.at += 2
        chain.append(reader.term())
    return tuple(chain)


def format_terms(chain: tuple[Term, ...] | list[Term]) -> str:
    """The chain as text that gofail reads too, as long as only its own types and values are used."""
    return "->".join(_format(term) for term in chain)


def _format(term: Term) -> str:
    text = "".join(_plain(number) + symbol for symbol, number in term.modifiers) + term.kind
    if term.value is None:
        return text
    import json

    return f"{text}({json.dumps(term.value, ensure_ascii=False)})"


def _plain(number: float) -> str:
    """Digits without an exponent; a float keeps its point, because gofail wants one before ``%``."""
    from decimal import Decimal

    text = format(Decimal(repr(number)), "f")
    return text + ".0" if isinstance(number, float) and "." not in text else text


def sleep_seconds(value: Any) -> float:
    """The seconds of ``sleep(VALUE)``: whole milliseconds, or Go's duration text (``"1m30s"``).

    Raises ValueError, saying what is legal.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = min(value, 10**15) / 1000
    elif isinstance(value, str):
        seconds = _go_duration(value)
    else:
        raise ValueError('sleep needs whole milliseconds, as in sleep(100), or a duration, as in sleep("1.5s")')
    if not 0 <= seconds <= LONGEST_SLEEP:
        raise ValueError("sleep takes from 0 to 365 days")
    return seconds


def _go_duration(text: str) -> float:
    import re

    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", text, re.ASCII)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise ValueError(f"{text!r} is not a duration; legal: numbers with ns, us, ms, s, m, h, as in 1m30s or 1.5s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class _Reader:
    """The text, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, why: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        found = repr(self.text[at : at + 20]) if at < len(self.text) else "the end"
        raise TermsError(f"at character {at + 1} of {_shorten(self.text)}: {why}, found {found}")

    def term(self) -> Term:
        modifiers = []
        while self.text[self.at : self.at + 1] in _DIGITS:
            modifiers.append(self.modifier())
        kind = self.kind()
        value: Any = None
        if self.text.startswith("(", self.at):
            self.at += 1
            start = self.at
            value = self.value(kind)
            self.check(kind, value, start)
        else:
            self.check(kind, None, self.at)
        return Term(kind, value, tuple(modifiers))

    def modifier(self) -> tuple[str, float]:
        start = self.at
        digits = self.digits()
        number: float
        if self.text.startswith(".", self.at):
            self.at += 1
            number = float(f"{digits}.{self.digits()}0")
        elif len(digits) > 18:
            self.fail("the number is too long", start)
        else:
            number = int(digits)
        symbol = self.text[self.at : self.at + 1]
        if symbol == "%":
            number = float(number)
            if number > 100:
                self.fail("a percentage is at most 100", start)
        elif symbol != "*":
            self.fail("expected '%' or '*' after the number")
        elif isinstance(number, float):
            self.fail("a count is a whole number", start)
        self.at += 1
        return symbol, number

    def digits(self) -> str:
        start = self.at
        while self.text[self.at : self.at + 1] in _DIGITS:
            self.at += 1
        return self.text[start : self.at]

    def kind(self) -> str:
        for kind in KINDS:
            if self.text.startswith(kind, self.at):
                self.at += len(kind)
                return kind
        return self.fail(f"expected a type ({', '.join(GOFAIL_KINDS)}; beyond gofail {', '.join(OWN_KINDS)})")

    def value(self, kind: str) -> Any:
        """What stands between the brackets; leaves the reader behind the closing one."""
        rest = self.text[self.at :].lstrip(_SPACE)
        self.at = len(self.text) - len(rest)
        bare, closed, _ = rest.partition(")")
        bare = bare.rstrip(_SPACE)
        value: Any
        if closed and bare == "":
            value = None
        elif closed and kind == "sleep" and not bare.startswith('"') and not _is_int(bare):
            value = bare  # gofail's own page writes sleep(10s)
        elif closed and _is_int(bare) and len(bare) <= 4000:
            value = int(bare)  # leading zeros are legal, unlike in JSON
        else:
            return self.json_value()
        self.at += rest.index(")") + 1
        return value

    def json_value(self) -> Any:
        import json

        start = self.at
        try:
            value, end = json.JSONDecoder(parse_constant=_no_constant).raw_decode(self.text, start)
        except (ValueError, RecursionError):
            self.fail('expected a JSON value, such as 3, true, "text" or {"a": [1]}', start)
        while self.text[end : end + 1] in tuple(_SPACE):
            end += 1
        self.at = end
        if not self.text.startswith(")", end):
            self.fail("expected ')'")
        self.at += 1
        return value

    def check(self, kind: str, value: Any, at: int) -> None:
        """Whether the type can do something with its value. gofail's own types ignore what they do not need."""
        if kind == "sleep":
            try:
                sleep_seconds(value)
            except ValueError as error:
                self.fail(str(error), at)
        elif kind == "exit":
            if value is not None and (type(value) is not int or not 0 <= value <= 255):
                self.fail("exit takes a status from 0 to 255, as in exit(3)", at)
        elif kind in OWN_KINDS and value is not None:
            self.fail(f"{kind} takes no value", at)


def _is_int(text: str) -> bool:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits != "" and _DIGITS.issuperset(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shorten(text: str) -> str:
    return repr(text) if len(text) <= 120 else repr(text[:120]) + "..."
