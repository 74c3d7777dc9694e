"""Docstrings as Markdown: the little of reStructuredText that chaoskit's docstrings use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?([\w.]+)`")
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_RULE = re.compile(r"=+( +=+)+")


def prose(of: Any) -> str:
    """The docstring of a module or a class as Markdown; empty without one of its own."""
    text = of.__doc__ or ""
    return "\n".join(_blocks(inspect.cleandoc(text).splitlines()))


def inline(text: str) -> str:
    """Roles and double backticks as Markdown's code."""
    return _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", text))


def bullets(text: str) -> tuple[str, dict[str, str], str]:
    """What stands before, in, and after the list of a docstring's ``Arguments:``, from :func:`prose`.

    The list is a mapping of names to meanings. Without such a list all of the text comes first.
    """
    before, found, rest = text.partition("Arguments:\n")
    if not found:
        return re.sub(r"Arguments: none\.\n*", "", text).strip(), {}, ""
    arguments: dict[str, str] = {}
    name = ""
    lines = rest.strip("\n").splitlines()
    while lines and (lines[0].startswith(("- ", "  ")) or not lines[0].strip() and lines[1:2] and lines[1].startswith("- ")):
        line = lines.pop(0)
        if match := re.match(r"- `(\w+)`: (.*)", line):
            name, arguments[match[1]] = match[1], match[2]
        elif line.strip():
            arguments[name] += " " + line.strip()
    return before.strip(), arguments, "\n".join(lines).strip()


def _blocks(lines: list[str]) -> Iterator[str]:
    """The lines with tables and literal blocks put into Markdown's form."""
    while lines:
        line = lines.pop(0)
        if _RULE.fullmatch(line):
            yield from _table(line, lines)
        elif line.endswith("::"):
            yield line.removesuffix("::").rstrip() + ":"
            yield from _literal(lines)
        else:
            yield inline(line)


def _literal(lines: list[str]) -> Iterator[str]:
    block = []
    while lines and (not lines[0].strip() or lines[0].startswith("    ")):
        block.append(lines.pop(0)[4:])
    yield "\n```text\n" + "\n".join(block).strip("\n") + "\n```\n"


def _table(rule: str, lines: list[str]) -> Iterator[str]:
    """A simple table, with or without a head; its rows are one line each."""
    spans = [match.span() for match in re.finditer("=+", rule)]
    parts: list[list[str]] = [[]]
    while True:
        line = lines.pop(0)
        if not _RULE.fullmatch(line):
            parts[-1].append(line)
        elif len(parts) == 1 and any(_RULE.fullmatch(later) for later in lines[: lines.index("")] if "" in lines):
            parts.append([])
        else:
            break
    head = parts[0][0] if len(parts) == 2 else ""
    cells = [[_cell(row, start, end, spans) for start, end in spans] for row in [head, *parts[-1]]]
    yield from table(cells[0], cells[1:])


def _cell(row: str, start: int, end: int, spans: list[tuple[int, int]]) -> str:
    return inline(row[start:] if (start, end) == spans[-1] else row[start : end + 1]).strip()


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
