"""Docstrings as Markdown: the little of reStructuredText that chaoskit's docstrings use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

_ASIDE = re.compile(r"\s+(\(see :\w+:`[^`]+`\)|in\s+:mod:`[^`]+`)")
"""Where the code goes on: nothing for a reader of the reference."""

_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
_CODE = re.compile(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", re.DOTALL)
_RULE = re.compile(r"=+( +=+)+")


def prose(of: Any) -> str:
    """The docstring of a module or a class as Markdown; empty without one of its own."""
    lines = _ASIDE.sub("", inspect.cleandoc(of.__doc__ or "")).splitlines()
    return _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", "\n".join(_blocks(lines))))


def split_arguments(text: str) -> tuple[str, dict[str, str], str]:
    """What stands before, in, and after the list under ``Arguments:`` of a text from :func:`prose`.

    The list is a mapping of names to meanings. Without a list all of the text comes first.
    """
    before, _, rest = text.partition("Arguments:\n")
    listed: dict[str, str] = {}
    lines = rest.strip("\n").splitlines()
    while lines and lines[0].startswith("- "):
        item = [lines.pop(0)]
        while lines and lines[0].startswith("  "):
            item.append(lines.pop(0).strip())
        name, _, meaning = " ".join(item).removeprefix("- `").partition("`: ")
        listed[name] = meaning
    return before.replace("Arguments: none.\n\n", "").strip(), listed, "\n".join(lines).strip()


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _blocks(lines: list[str]) -> Iterator[str]:
    """The lines, with tables and literal blocks in Markdown's form."""
    while lines:
        line = lines.pop(0)
        if _RULE.fullmatch(line):
            yield from _table(line, lines)
        elif line.endswith("::"):
            yield from (line[:-2].rstrip() + ":", *_literal(lines))
        else:
            yield line


def _literal(lines: list[str]) -> Iterator[str]:
    block = []
    while lines and (not lines[0].strip() or lines[0].startswith("    ")):
        block.append(lines.pop(0)[4:])
    yield from ("", "```text", *"\n".join(block).strip("\n").splitlines(), "```", "")


def _table(rule: str, lines: list[str]) -> Iterator[str]:
    """A simple table, whose rows are one line each; one without a head gets an empty one."""
    starts = [match.start() for match in re.finditer("=+", rule)]
    parts: list[list[list[str]]] = [[]]
    while lines and lines[0].strip():
        line = lines.pop(0)
        if _RULE.fullmatch(line):
            parts.append([])
        else:
            ends = [*starts[1:], None]
            parts[-1].append([line[start:end].strip() for start, end in zip(starts, ends, strict=True)])
    rows = [part for part in parts if part]
    head = rows.pop(0)[0] if len(rows) == 2 else [""] * len(starts)
    yield from table(head, rows[0])
