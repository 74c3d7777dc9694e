"""Writes docs/reference.md from the models and docstrings of chaoskit.

``python docs/generate.py`` writes it, ``--check`` only tells whether it is up to date (status 1 when not).
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, RootModel

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from _generator.docstrings import prose, split_arguments, table  # noqa: E402
from _generator.examples import Examples  # noqa: E402
from _generator.fields import Fields  # noqa: E402

from chaoskit.base import units  # noqa: E402
from chaoskit.expectations import _operations, _samples  # noqa: E402
from chaoskit.faults._toxic import ProxyFault  # noqa: E402
from chaoskit.language import compose, model, operation_bounds, samples, service, sop, source  # noqa: E402
from chaoskit.language.plugins import registry  # noqa: E402
from chaoskit.pytest_plugin.fixture import Chaos  # noqa: E402

REFERENCE = DOCS / "reference.md"
MEANINGS = DOCS / "_generator" / "meanings.yaml"
TEMPLATE = "reference.md.j2"
HEAD = ["key", "type", "default", "meaning"]
LINKS = {
    "Operation": "[operation](#traffic)",
    "OperationBounds": "[bounds](#bounds-by-operation)",
    "SteadyBounds": "[bounds](#bounds-by-operation)",
    "ServiceChange": "[change](#changes-to-services)",
    "Control": "[control](#control)",
    "Timeline": "[timeline](#timeline)",
    "ServiceSpec": "[service](#services)",
    "ComposedSpec": "[service](#services)",
}
"""Models with a section of their own."""


def generate() -> str:
    """The text of the reference. Raises KeyError or ValueError when meanings.yaml does not fit the code."""
    written = source.read(MEANINGS).data
    fields = Fields(written["meanings"], LINKS)
    page = _Page(fields, Examples(DOCS.parent, written["examples"]))
    jinja = Environment(  # other braces than usual, as the examples are full of these
        loader=FileSystemLoader(MEANINGS.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, variable_start_string="<<", variable_end_string=">>",
        autoescape=False,  # noqa: S701  # Markdown is not HTML
    )  # fmt: skip
    text = jinja.get_template(TEMPLATE).render(
        keys=page.keys, units=_units, figures="\n\n".join(map(_tables_of, (_operations, samples))),
        rules=_paragraphs(_samples),
        toxic_facts=_paragraphs(ProxyFault), methods=_methods(Chaos, "chaos"),
        faults=[page.fault(name) for name in registry("faults")],
        expectations=[page.expectation(name) for name in registry("expectations")],
        providers=[page.provider(name) for name in registry("providers")],
        actions=[page.action(name) for name in registry("actions")],
    )  # fmt: skip
    if fields.unused:
        raise ValueError(f"meanings.yaml: no such keys: {', '.join(fields.unused)}")
    return text


class _Page:
    """What the template puts together."""

    def __init__(self, fields: Fields, examples: Examples) -> None:
        self._fields = fields
        self._examples = examples
        headings = re.findall(r"^#+ (\w+)$", (MEANINGS.parent / TEMPLATE).read_text(encoding="utf-8"), re.MULTILINE)
        self._names: list[str] = [heading.lower() for heading in headings]

    def keys(self, name: str) -> str:
        """The table of a model of the scenario language."""
        return self._table(
            next(vars(room)[name] for room in (model, operation_bounds, service, compose, sop) if name in vars(room))
        )

    def fault(self, name: str) -> dict[str, Any]:
        """A fault: its docstring with the list of arguments as a table."""
        kind = registry("faults").get(name)
        text, arguments, rest = split_arguments(prose(kind))
        gone = set(arguments) - set(kind.model_fields)
        if gone:
            raise ValueError(f"{name}: the docstring names no arguments of it: {', '.join(sorted(gone))}")
        keys = self._table(kind, arguments).replace("| key |", "| argument |", 1)
        return self._entry("faults", name, [text, keys, rest])

    def expectation(self, name: str) -> dict[str, Any]:
        """An expectation: docstrings of module and class, and its keys."""
        kind = registry("expectations").get(name)
        keys = "" if issubclass(kind, RootModel) else self._table(kind)
        return self._entry("expectations", name, [prose(importlib.import_module(kind.__module__)), prose(kind), keys])

    def action(self, name: str) -> dict[str, Any]:
        """An action of SOPs: its docstring with the list of arguments as a table."""
        kind = registry("actions").get(name)
        text, arguments, rest = split_arguments(prose(kind))
        return {"name": name, "text": "\n\n".join(filter(None, [text, self._table(kind, arguments), rest]))}

    def provider(self, name: str) -> dict[str, Any]:
        """A provider: docstrings of module and class, and its arguments."""
        kind = registry("providers").get(name)
        about = [prose(importlib.import_module(kind.__module__)), prose(kind)]
        return self._entry("providers", name, [*about, self._table(kind.Args)])

    def _entry(self, kind: str, name: str, parts: list[str]) -> dict[str, Any]:
        anchor = f"{name}-{self._names.count(name)}" if name in self._names else name  # as GitHub numbers headings
        self._names.append(name)
        text = "\n\n".join(filter(None, parts))
        return {"name": name, "anchor": anchor, "text": text, "example": self._examples.get(kind, name)}

    def _table(self, of: type[BaseModel], meanings: dict[str, str] | None = None) -> str:
        if not of.model_fields:
            return "It takes no arguments."
        return "\n".join(table(HEAD, list(self._fields.rows(of, meanings))))


def _units(of: str) -> str:
    """The units of a quantity, with what each is in the base unit."""
    known: dict[str, float] = getattr(units, f"{of.upper()}_UNITS")
    return ", ".join(f"`{unit}`" for unit in known)


def _tables_of(module: object) -> str:
    """The tables in a docstring."""
    return "\n".join(line for line in prose(module).splitlines() if line.startswith("|"))


def _methods(of: type, name: str) -> str:
    """The public methods of a class as a table."""
    rows = []
    for method, function in vars(of).items():
        if inspect.isfunction(function) and not method.startswith("_"):
            _, *arguments = inspect.signature(function).parameters.values()
            words = ", ".join(str(argument.replace(annotation=argument.empty)) for argument in arguments)
            rows.append([f"`{name}.{method}({words})`", " ".join(prose(function).split())])
    return "\n".join(table(["call", "does"], rows))


def _paragraphs(of: object) -> str:
    """A docstring without its first paragraph, which says what the code is."""
    return prose(of).partition("\n\n")[2]


def main() -> int:
    """0 when the reference is written, or up to date; 1 when ``--check`` finds it stale."""
    parser = argparse.ArgumentParser(description="write docs/reference.md from the code")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 when it is not up to date")
    check = parser.parse_args().check
    text = generate()
    if check and (not REFERENCE.exists() or REFERENCE.read_text(encoding="utf-8") != text):
        sys.stderr.write("docs/reference.md is not up to date: run python docs/generate.py\n")
        return 1
    if not check:
        REFERENCE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
