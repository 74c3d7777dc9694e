"""A YAML file of a team as it is kept beside a run: without secrets, of the same lines, and still to be loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from chaoskit.base.mask import mask, names_secret
from chaoskit.language.source import nodes

WORD = "masked"
"""What stands for a secret. YAML would take asterisks for an alias."""

_AS_IT_IS = {"expect", "steady_state", "control", "matrix"}
"""What is compared with what was seen, and by what a run is found again, at the top of a scenario."""
_OF_A_TEAM = {"headers", "env", "environment", "args", "json", "form", "body", "data", "labels", "annotations"}
"""Mappings whose keys are of the team's making, so that a text below ``token`` is one. Elsewhere a key may be the name
of an operation or a field of ours."""
_TEMPLATE = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\$\{[^}]*\})", re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*")


def masked(text: str) -> str:
    """``text``, which has been read as YAML, with what looks like a secret masked; templates stay."""
    parts, done = [], 0
    for start, end, kept in sorted({*_scalars(nodes(text))}):
        written = text[start:end]
        if kept is not None:
            written = json.dumps(kept, ensure_ascii=False) + "\n" * written.count("\n")
        parts += [_COMMENT.sub(lambda match: mask(match[0], WORD), text[done:start]), written]
        done = end
    return "".join([*parts, _COMMENT.sub(lambda match: mask(match[0], WORD), text[done:])])


def _scalars(node: Any, parent: str = "", key: str = "", *, top: bool = True, hide: bool = True) -> Iterator[Any]:
    """Begin and end of each scalar in the text, and what takes its place, if anything."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            its = str(name.value)
            yield from _scalars(name, hide=False)
            yield from _scalars(value, key, its, top=False, hide=hide and not (top and its in _AS_IT_IS))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, top=False, hide=hide)
    elif node is not None:
        kept = None
        if hide and node.tag.endswith(":str"):
            whole = parent in _OF_A_TEAM and names_secret(key)
            kept = "".join(
                part if number % 2 or not part else WORD if whole and "{" not in node.value else mask(part, WORD)
                for number, part in enumerate(_TEMPLATE.split(node.value))
            )
        yield node.start_mark.index, node.end_mark.index, None if kept == node.value else kept
