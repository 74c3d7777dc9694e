"""An expression shown below what is wrong with it, with a mark under the place where that is known."""

from __future__ import annotations

import re

Span = tuple[int, int]
"""Where something stands in an expression: its first character, and the one behind its last."""

_INDENT = "    "
# Texts and comments: what stands in them is not the expression's own.
_PASSED_OVER = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*""")
_QUOTED = re.compile(r"'([^\W\d]\w*)'")
_SUBQUERY = re.compile(r"\[[^\]]*:[^\]]*\]")
_NAMED = re.compile(
    r"(?:the (?:aggregation|function|operator|modifier) |^)(?P<word>@|\w+)$",
)


def place_of_syntax(expression: str, message: str) -> Span | None:
    """What the parser's message is about: it names a word of the expression, or a parenthesis that stays open."""
    bare = _bare(expression)
    if "unclosed left parenthesis" in message:
        open_ = []
        for index, char in enumerate(bare):
            if char == "(":
                open_.append(index)
            elif char == ")" and open_:
                open_.pop()
        return (open_[-1], open_[-1] + 1) if open_ else None
    named = _QUOTED.search(message)
    return _word(bare, named[1]) if named else None


def place_of_lack(expression: str, what: str) -> Span | None:
    """Where an expression is beyond the documented part: ``what`` is what
    :func:`~chaoskit.rules.supported_promql.lacking` says."""
    bare = _bare(expression)
    if what == "a subquery":
        found = _SUBQUERY.search(bare)
        return found.span() if found else None
    named = _NAMED.search(what)
    return _word(bare, named["word"]) if named else None


def pointed(expression: str, span: Span | None) -> str:
    """Lines to stand below a mistake: the line of ``span`` and a mark under it; without a span the whole expression."""
    if span is None:
        return "".join(f"\n{_INDENT}{line.rstrip()}" for line in expression.strip().splitlines())
    start = expression.rfind("\n", 0, span[0]) + 1
    line = expression[start:].partition("\n")[0]
    stripped = line.lstrip()
    column = span[0] - start - (len(line) - len(stripped))
    return f"\n{_INDENT}{stripped.rstrip()}\n{_INDENT}{' ' * column}{'^' * (span[1] - span[0])}"


def row(expression: str, span: Span | None) -> int:
    """Which line of an expression of several lines a span is on, from 0."""
    return expression.count("\n", 0, span[0]) if span else 0


def _bare(expression: str) -> str:
    """The expression with blanks for what is passed over."""
    return _PASSED_OVER.sub(lambda found: " " * len(found[0]), expression)


def _word(bare: str, word: str) -> Span | None:
    """The only place where a word stands; None where it stands nowhere, or where it cannot be told which is meant."""
    around = (r"(?<![\w:])", r"(?![\w:])") if word[0] != "@" else ("", "")
    found = [match.span() for match in re.finditer(f"{around[0]}{re.escape(word)}{around[1]}", bare)]
    return found[0] if len(found) == 1 else None
