"""YAML text to plain data, with the file and line of every node kept at hand.

Data is built from the nodes that the C parser composes, and the nodes are thrown away: a thousand files would
keep the garbage collector busy. The first question for a line composes them again. Booleans follow YAML 1.2
(only true and false): ``on:`` is a key of the language and ``off`` is a common value of switches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from chaoskit.base.errors import InputError, Problem
from chaoskit.base.plain_files import read_text

YamlPath = tuple[str | int, ...]
"""The keys and indexes that lead from the top of a file to a value."""

# The C parser where PyYAML was built with it; the same language, eight times the speed.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
# What plain text means by YAML 1.2: of the words only these are not text.
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "tag:yaml.org,2002:bool"),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), "tag:yaml.org,2002:null"),
    "<<": _MERGE,
}
_NUMERIC = frozenset("0123456789+-.")
_BOOLEANS = {"true": True, "false": False}
_COLLECTIONS = {yaml.MappingNode: "tag:yaml.org,2002:map", yaml.SequenceNode: "tag:yaml.org,2002:seq"}
_ScalarNode = yaml.ScalarNode

# All but what YAML calls printable (1.2, production 1), and the mark that tells the order of bytes.
_NOT_PRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BARE_TEMPLATE = re.compile(r"(: |- ) *\{\{")
_BARE_BOUND = re.compile(r"[\w-]: *[<>]")

# No scenario comes near these; aliases can make a short text endless.
DEEPEST = 60
MOST = 100_000
_SAFE_DEPTH = 2_000
_LONGEST_NUMBER = 400
"""Characters. What is longer makes a number that Python does not write again."""
_TOO_DEEP = f"nested more than {DEEPEST} levels deep, or an alias that contains itself"
_TOO_LARGE = f"more than {MOST} values, counting what aliases repeat"


class _Refused(yaml.MarkedYAMLError):
    """It is YAML, and not for us."""


class _Loader(_Base):  # type: ignore[misc]  # chosen at run time
    """Resolves plain scalars by YAML 1.2, and without regular expressions unless it may be a number.

    Composes no more than :data:`MOST` nodes.
    """

    composed = 0

    def descend_resolver(self, parent: Any, _: Any) -> None:
        """Called for each node: there are no path resolvers, and there is a most of nodes."""
        self.composed += 1
        if self.composed > 2 * MOST:  # a value may have a key
            raise _error(_TOO_LARGE, parent.start_mark if parent is not None else None)

    def ascend_resolver(self) -> None:
        """There are no path resolvers."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node without one."""
        if kind is not _ScalarNode:
            return _COLLECTIONS[kind]
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
    def _keys(self) -> dict[int, dict[str, tuple[Any, int]]]:
        """The value and the zero-based line of each key, for the mappings (by id) that were looked into."""
        return {}

    @cached_property
    def _root(self) -> Any:
        return nodes(self.text)

    def line(self, path: Sequence[str | int]) -> int:
        """One-based line of the node at ``path``, or of its nearest parent that exists."""
        node, line = self._root, self._root.start_mark.line if self._root is not None else 0
        for step in path:
            if isinstance(node, yaml.MappingNode):
                if id(node) not in self._keys:
                    pairs = ((key.value, (value, key.start_mark.line)) for key, value in reversed(node.value))
                    self._keys[id(node)] = {name: at for name, at in pairs if isinstance(name, str)}
                if step not in self._keys[id(node)]:
                    break
                node, line = self._keys[id(node)][str(step)]
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


def nodes(text: str) -> Any:
    """The node of a text that has been read, with its marks; None where it is empty."""
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def shown(file: Path) -> Path:
    """The file's path as a person types it: relative to the working directory where it lies below."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else Path(relative)


def read(file: Path, text: str | None = None, *, tags: bool = False) -> Source:
    """Read a YAML file that holds one mapping. With ``tags`` what has a tag of its own (``!reset``) is null.

    Raises InputError with the line of what is not YAML, not allowed, or more than anybody writes.
    """
    if text is None:
        try:
            text = read_text(file)
        except OSError as error:
            raise InputError([Problem(shown(file), 1, f"cannot be read: {error.strerror}")]) from None
    builder = _Builder(file, text, tags=tags)
    data = None
    try:
        _check_depth(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            data = builder.build(loader, root) if root is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line + 1, len(text.splitlines())) if mark else 1  # the parser's own end lies behind ours
        what = " ".join(filter(None, (error.context, error.problem)))
        hint = "" if isinstance(error, _Refused) else _hint(text, mark)
        raise InputError([Problem(shown(file), line, f"not YAML: {what}{hint}")]) from None
    except yaml.reader.ReaderError as error:
        line, what = _unreadable(text, error)
        raise InputError([Problem(shown(file), line, what)]) from None
    if not builder.problems and not isinstance(data, dict):
        builder.wrong(1, "a mapping is expected at the top")
    if builder.problems:
        raise InputError(builder.problems)
    return Source(file, text, data)


def as_yaml(data: Any) -> str:
    """Plain data as a file of ours that :func:`read` reads."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def _hint(text: str, mark: Any) -> str:
    """What is probably meant where YAML itself is at a loss."""
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return ""
    line = lines[mark.line]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; YAML indents with blanks, not with tabs"
    if _BARE_BOUND.search(line):
        return '; a bound stands in quotes: ">= 99%"'
    if _BARE_TEMPLATE.search(line):
        return '; a text that begins with {{ stands in quotes: "{{ orders.url }}/orders"'
    if line.count(": ") > 1:
        return '; a text that holds a colon and a blank stands in quotes: "Orders: in time"'
    return ""


def _unreadable(text: str, error: Any) -> tuple[int, str]:
    """Line and reason of a character that YAML does not allow."""
    match = _NOT_PRINTABLE.search(text)
    found = match.start() if match else 0
    return text.count("\n", 0, found) + 1, f"not YAML: {text[found : found + 1]!r}: {error.reason}"


def _check_depth(text: str) -> None:
    """The C parser composes nodes by recursion without a limit: hundreds of brackets in a row would end the process."""
    indent = max(map(len, text.splitlines()), default=0)
    if text.count("[") + text.count("{") + indent < _SAFE_DEPTH:
        return  # as deep as this text can be at most
    depth = 0
    try:
        for number, event in enumerate(yaml.parse(text, _Loader)):
            if number > 4 * MOST:  # a key and a value, and the ends of collections
                raise _error(_TOO_LARGE, event.start_mark)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEEPEST:
                    raise _error(_TOO_DEEP, event.start_mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.MarkedYAMLError as error:
        # A parser may have a limit of its own, which it meets while it reads ahead of the events that it gives.
        read = text[: error.problem_mark.index] if error.problem_mark else ""
        if sum(map(read.count, "[{")) - sum(map(read.count, "]}")) > DEEPEST:
            raise _error(_TOO_DEEP, error.problem_mark) from None
        raise


class _Builder:
    """Plain data from nodes; collects what is wrong with them."""

    def __init__(self, file: Path, text: str, *, tags: bool) -> None:
        self._shown = shown(file)
        self.problems: list[Problem] = []
        self._tags = tags
        self._merges = "<<" in text
        self._left = MOST

    def wrong(self, line: int, what: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(self._shown, line, what))

    def build(self, loader: Any, node: Any, depth: int = 0) -> Any:
        """The data of a node. Raises MarkedYAMLError for what cannot be data at all."""
        if self._tags and not node.tag.startswith("tag:yaml.org,"):
            return None
        if isinstance(node, _ScalarNode):
            return node.value if node.tag == _STR else _scalar(loader, node)
        if depth > DEEPEST:
            raise _error(_TOO_DEEP, node.start_mark)
        self._take(len(node.value), node)
        if node.tag != _COLLECTIONS[type(node)]:
            raise _not_allowed(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(loader, item, depth + 1) for item in node.value]
        return self._mapping(loader, node, depth)

    def _take(self, values: int, node: Any) -> None:
        """Count values. Raises MarkedYAMLError where they become too many."""
        self._left -= values
        if self._left < 0:
            raise _error(_TOO_LARGE, node.start_mark)

    def _mapping(self, loader: Any, node: Any, depth: int) -> dict[str, Any]:
        merges = [key for key, _ in node.value if key.tag == _MERGE] if self._merges else ()
        if merges:
            for again in merges[1:]:
                first = merges[0].start_mark.line + 1
                self.wrong(again.start_mark.line + 1, f"'<<' stands here again; first in line {first}: merge a list")
            try:
                self._merge(node)
            except RecursionError:
                raise _error(_TOO_DEEP, node.start_mark) from None
        data: dict[str, Any] = {}
        firsts: dict[str, int] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(key, _ScalarNode):
                self.wrong(key.start_mark.line + 1, "a key must be plain text")
            elif name in data:
                firsts = firsts or {
                    other.value: other.start_mark.line
                    for other, _ in reversed(node.value)
                    if isinstance(other, _ScalarNode)
                }
                self.wrong(key.start_mark.line + 1, f"{name!r} stands here again; first in line {firsts[name] + 1}")
            else:
                plain = value.tag == _STR and isinstance(value, _ScalarNode)  # most are: no call for each of them
                data[name] = value.value if plain else self.build(loader, value, depth + 1)
        return data

    def _merge(self, node: Any, inside: tuple[Any, ...] = ()) -> None:
        """Take in what ``<<`` names, under what the mapping says itself; of a list the earlier wins (YAML's merge key).

        Our own, since PyYAML's order differs between its versions. In place, so that what is merged often is flattened
        once. Raises MarkedYAMLError for what is no mapping.
        """
        if node in inside:  # an alias within what it names
            raise _error(_TOO_DEEP, node.start_mark)
        own = [(key, value) for key, value in node.value if key.tag != _MERGE]
        names = {key.value for key, _ in own if isinstance(key, _ScalarNode)}
        merged: dict[str, tuple[Any, Any]] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    raise _error("expected a mapping or list of mappings for merging", source.start_mark)
                self._merge(source, (*inside, node))
                self._take(len(source.value), source)
                for pair in source.value:
                    if isinstance(pair[0], _ScalarNode) and pair[0].value not in names:
                        merged.setdefault(pair[0].value, pair)
        node.value = [*merged.values(), *own]


def _scalar(loader: Any, node: Any) -> Any:
    text: str = node.value
    try:
        if len(text) > _LONGEST_NUMBER:
            raise ValueError
        match node.tag.rpartition(":")[2]:
            case "bool":
                return _BOOLEANS[text.lower()]
            case "int" if ":" not in text:
                return loader.construct_yaml_int(node)
            case "float" if ":" not in text:
                return loader.construct_yaml_float(node)
            case "null":
                return None
            case "int" | "float" | "timestamp":
                # 12:30 and 2026-01-01 are text here: YAML 1.1 would make surprising numbers of them.
                return text
    except (ValueError, KeyError, IndexError):
        short = text if len(text) <= 40 else text[:37] + "..."
        raise _error(f"{short!r} is not usable as a value", node.start_mark) from None
    raise _not_allowed(node)


def _not_allowed(node: Any) -> _Refused:
    return _error(f"the tag {node.tag} is not allowed", node.start_mark)


def _error(what: str, mark: Any) -> _Refused:
    """A mistake at the mark of a node or event."""
    return _Refused(problem=what, problem_mark=mark)
