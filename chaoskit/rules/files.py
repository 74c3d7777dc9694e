"""Rule files of Prometheus, each rule with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from chaoskit.base.errors import InputError, Problem
from chaoskit.base.plain_files import matching
from chaoskit.language import source
from chaoskit.language.check import Check
from chaoskit.language.source import Source, YamlPath
from chaoskit.language.types import Model, problem
from chaoskit.rules import durations
from chaoskit.rules.caret import Span, place_of_syntax, pointed, row

_BLOCK = re.compile(r":\s+\|[-+]?\s*(#.*)?$")


def _duration(value: object) -> int:
    try:
        return durations.parse(value)
    except ValueError as error:
        raise problem(str(error)) from None


def _text(value: object) -> object:
    """As Go reads a number or a truth where text belongs."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Milliseconds = Annotated[int, BeforeValidator(_duration)]
Text = Annotated[str, BeforeValidator(_text)]


class RuleSpec(Model):
    """A rule as it is written."""

    alert: str | None = None
    record: str | None = None
    expr: Text
    for_: Milliseconds = Field(0, alias="for")
    keep_firing_for: Milliseconds = 0
    labels: dict[str, Text] = {}
    annotations: dict[str, Text] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.alert is None) == (self.record is None):
            raise problem("a rule is either an alert or a record", ["alert", "record"])
        return self


class GroupSpec(Model):
    """A group of rules as it is written; they are evaluated one after the other."""

    name: str
    interval: Milliseconds | None = None
    query_offset: Milliseconds | None = None
    limit: int = 0
    labels: dict[str, Text] = {}
    rules: list[RuleSpec] = []


class RuleFileSpec(Model):
    """A rule file as it is written."""

    groups: list[GroupSpec] = []


@dataclass(frozen=True)
class Rule:
    """A rule, and where it stands: ``path`` leads to it in ``page``. Times are milliseconds."""

    spec: RuleSpec
    group: str
    page: Source
    path: YamlPath

    @property
    def name(self) -> str:
        """The alert's name, or the recorded series'."""
        return self.spec.alert or self.spec.record or ""

    def problem(self, what: str, key: str = "expr") -> Problem:
        """A mistake of this rule."""
        return self.page.problem((*self.path, key), f"rule {self.name}: {what}")

    def wrong_expression(self, what: str, span: Span | None) -> Problem:
        """A mistake of its expression, which is shown below, marked at ``span``; with the line of that in the file."""
        return _wrong_expression(self.page, self.path, self.name, self.spec.expr, what, span)


@dataclass(frozen=True)
class RuleFile:
    """A rule file that has no mistakes."""

    page: Source
    spec: RuleFileSpec
    rules: Sequence[Rule] = field(default=())

    @property
    def data(self) -> Any:
        """What the YAML holds."""
        return self.page.data


def load(file: Path) -> RuleFile:
    """A rule file. Raises InputError with every mistake, those of PromQL too, each with its line."""
    page = source.read(file)
    check = Check(page)
    spec: RuleFileSpec | None = check.validate(RuleFileSpec, page.data, ())
    check.problems.extend(_syntax_mistakes(page))
    if check.problems or spec is None:
        raise InputError(check.problems)
    return RuleFile(page, spec, tuple(_rules(page, spec)))


def _rules(page: Source, spec: RuleFileSpec) -> Iterator[Rule]:
    for number, group in enumerate(spec.groups):
        for index, rule in enumerate(group.rules):
            yield Rule(rule, group.name, page, ("groups", number, "rules", index))


def _syntax_mistakes(page: Source) -> Iterator[Problem]:
    """Of all expressions, also where something else of their rules is wrong."""
    import promql_parser

    for path, rule in _raw_rules(page.data):
        expression = _text(rule.get("expr"))
        if not isinstance(expression, str):
            continue  # missing, or no text: told already
        try:
            promql_parser.parse(expression)
        except ValueError as error:
            name = str(rule.get("alert") or rule.get("record") or "")
            span = place_of_syntax(expression, str(error))
            yield _wrong_expression(page, path, name, expression, f"not PromQL: {error}", span)


def _raw_rules(data: Any) -> Iterator[tuple[YamlPath, dict[str, Any]]]:
    groups = data.get("groups")
    for number, group in enumerate(groups if isinstance(groups, list) else ()):
        rules = group.get("rules") if isinstance(group, dict) else None
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            if isinstance(rule, dict):
                yield ("groups", number, "rules", index), rule


def _wrong_expression(
    page: Source, path: YamlPath, name: str, expression: str, what: str, span: Span | None
) -> Problem:
    found = page.problem((*path, "expr"), f"rule {name}: {what}{pointed(expression, span)}")
    lines = page.text.splitlines()
    # Of a block (|) each line is one of the file; other ways of writing fold them.
    if _BLOCK.search(lines[found.line - 1]):
        return replace(found, line=found.line + 1 + row(expression, span))
    return found


def find(patterns: Sequence[str], folder: Path) -> tuple[list[Path], list[str]]:
    """The files that ``patterns`` (paths and globs, relative to ``folder``) mean, and the patterns that mean none."""
    files: dict[Path, None] = {}
    missing = []
    for pattern in patterns:
        found = sorted(path.resolve() for path in matching(folder, pattern))
        if not found:
            missing.append(pattern)
        files.update(dict.fromkeys(found))
    return list(files), missing
