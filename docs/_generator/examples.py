"""Examples for the reference: as they stand in the scenarios, else as written in meanings.yaml."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chaoskit.language import source
from chaoskit.language.plugins import registry


@dataclass(frozen=True)
class Example:
    """A fragment of YAML, and the file it was taken from (relative to the project) if there is one."""

    text: str
    file: str = ""


class Examples:
    """The first use of each fault, expectation and provider in the scenarios, by path.

    Raises ValueError for a written example that the models refuse, or that names nothing.
    """

    def __init__(self, root: Path, written: Mapping[str, Mapping[str, str]]) -> None:
        self._root = root
        self._found: dict[tuple[str, str], Example] = {}
        for file in sorted(root.glob("scenarios/**/*.yaml")):
            self._read(file)
        for kind, examples in written.items():
            for name, text in examples.items():
                _check(kind, name, text)
                self._found.setdefault((kind, name), Example(_placed(kind, text)))

    def get(self, kind: str, name: str) -> Example:
        """An example of the fault, expectation or provider ``name``. Raises KeyError when there is none."""
        if (kind, name) not in self._found:
            raise KeyError(f"meanings.yaml: examples: {kind}: {name} is missing, and no scenario uses it")
        return self._found[kind, name]

    def _read(self, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        tree = yaml.compose(text, yaml.SafeLoader)
        for kind, name, key, value in _uses(tree):
            end = value.end_mark.index
            fragment = textwrap.dedent(" " * key.start_mark.column + text[key.start_mark.index : end])
            lines = fragment.rstrip().splitlines()
            while not lines[-1].strip() or lines[-1].lstrip().startswith("#"):
                lines.pop()  # a block ends where the next begins, with the comments in between
            example = Example(_placed(kind, "\n".join(lines)), file.relative_to(self._root).as_posix())
            self._found.setdefault((kind, name), example)


def _uses(tree: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Kind, name, and the nodes of key and value, of everything used in a file."""
    for fault in _get(tree, "timeline", "faults").value:
        for key, body in _pairs(fault):
            for kind, _ in _pairs(body):
                if kind.value not in ("at", "for"):
                    yield "faults", kind.value, key, body
    for key, value in _pairs(_get(tree, "expect")):
        yield "expectations", key.value, key, value
    for key, value in _pairs(_get(tree, "services")):
        for what, name in _pairs(value):
            if what.value == "provider":
                yield "providers", name.value, key, value


_NOTHING = yaml.MappingNode("tag:yaml.org,2002:map", [])


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _get(node: Any, *path: str) -> Any:
    for step in path:
        node = next((value for key, value in _pairs(node) if key.value == step), _NOTHING)
    return node


def _placed(kind: str, text: str) -> str:
    """The fragment under the key where it belongs."""
    if kind == "faults":
        return "timeline:\n  faults:\n    - " + textwrap.indent(text, "      ").lstrip()
    return f"{'expect' if kind == 'expectations' else 'services'}:\n" + textwrap.indent(text, "  ")


def _check(kind: str, name: str, text: str) -> None:
    """Whether an example is what it is said to be, and right."""
    if name not in registry(kind):
        raise ValueError(f"meanings.yaml: examples: {kind}: there is no {name}")
    ((_, body),) = source.read(Path("meanings.yaml"), text).data.items()
    model = registry(kind).get(name)
    if kind == "faults":
        body = body[name] or {}
    elif kind == "providers":
        model, body = model.Args, body.get("args", {})
    model.model_validate(body)
