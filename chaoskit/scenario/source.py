"""YAML text to plain data, with the file and line of every node kept at hand.

Data is built from the nodes that the C parser composes, and the nodes are thrown away: a thousand files would
keep the garbage collector busy. The first question for a line composes them again. Booleans follow YAML 1.2
(only true and false): ``on:`` is a key of the language and ``off`` is a common value of switches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from chaoskit.errors import InputError, Problem

# The C parser where PyYAML was built with it; the same language, eight times the speed.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR = "tag:yaml.org,2002:str"
# What plain text means by YAML 1.2: of the words only these are not text.
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "tag:yaml.org,2002:bool"),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), "tag:yaml.org,2002:null"),
    "<<": "tag:yaml.org,2002:merge",
}
_NUMERIC = frozenset("0123456789+-.")


class _Loader(_Base):  # type: ignore[misc]  # chosen at run time
    """Resolves plain scalars by YAML 1.2, and without regular expressions unless it may be a number."""

    def descend_resolver(self, *_: Any) -> None:
        """There are no path resolvers."""

    def ascend_resolver(self) -> None:
        """There are no path resolvers."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node without one."""
        if kind is not yaml.ScalarNode:
            return super().resolve(kind, value, implicit)
        if not implicit[0]:
            return _STR
        if value[:1] in _NUMERIC:
            return super().resolve(kind, value, implicit)
        return _WORDS.get(value, _STR)


@dataclass(frozen=True)
class Source:
    """One YAML file: its text, its data, and where everything stands."""

    file: Path
    text: str
    data: Any

    @cached_property
    def _root(self) -> Any:
        loader = _Loader(self.text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()

    def line(self, path: Sequence[str | int]) -> int:
        """One-based line of the node at ``path``, or of its nearest parent that exists."""
        node, line = self._root, self._root.start_mark.line if self._root is not None else 0
        for step in path:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == step:
                        node, line = value, key.start_mark.line
                        break
                else:
                    break
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
            else:
                break
        return int(line) + 1

    def problem(
        self, path: Sequence[str | int], what: str, legal: Sequence[str] = (), found: str | None = None
    ) -> Problem:
        """A mistake at ``path`` of this file."""
        return Problem(shown(self.file), self.line(path), what, legal, found)


def shown(file: Path) -> Path:
    """The file's path as a person types it: relative to the working directory where it lies below."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else Path(relative)


def read(file: Path, text: str | None = None) -> Source:
    """Read a YAML file that holds one mapping. Raises InputError with the line of a syntax error."""
    if text is None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise InputError([Problem(shown(file), 1, f"cannot be read: {reason}")]) from None
    problems: list[Problem] = []
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        data = _build(loader, root, file, problems) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(filter(None, (error.context, error.problem)))
        raise InputError([Problem(shown(file), mark.line + 1 if mark else 1, f"not YAML: {what}")]) from None
    except RecursionError:
        raise InputError([Problem(shown(file), 1, "not usable: an alias contains itself, or too deep")]) from None
    except yaml.YAMLError as error:
        raise InputError([Problem(shown(file), 1, f"not YAML: {error}")]) from None
    finally:
        loader.dispose()
    if not problems and not isinstance(data, dict):
        problems.append(Problem(shown(file), 1, "a mapping is expected at the top"))
    if problems:
        raise InputError(problems)
    return Source(file, text, data)


def _build(loader: Any, node: Any, file: Path, problems: list[Problem]) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.tag == _STR else _scalar(loader, node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, file, problems) for item in node.value]
    if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
        loader.flatten_mapping(node)
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(shown(file), line, "a key must be plain text"))
        elif key.value in data:
            problems.append(
                Problem(shown(file), line, f"{key.value!r} stands here again; first in line {lines[key.value]}")
            )
        else:
            lines[key.value] = line
            data[key.value] = _build(loader, value, file, problems)
    return data


def _scalar(loader: Any, node: Any) -> Any:
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "bool":
            return text.lower() == "true"
        case "int" if ":" not in text:
            return loader.construct_yaml_int(node)
        case "float" if ":" not in text:
            return loader.construct_yaml_float(node)
        case "null":
            return None
        case "int" | "float" | "timestamp":
            return text  # 12:30 and 2026-01-01 are text here: YAML 1.1 would make surprising numbers of them
    raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag} is not allowed", node.start_mark)
