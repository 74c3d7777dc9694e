"""A copy of a rule file for a rehearsal: ranges and waiting times divided, intervals taken from the rehearsal.

The team's file stays as it is; every change is told with file and line.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.base.errors import Problem
from chaoskit.language.source import shown
from chaoskit.rules import durations
from chaoskit.rules.files import RuleFile

FEWEST = 4
"""Scrapes that a range must span after it was divided."""

# Texts and comments are passed over: what looks like a range in them is none.
_PARTS = re.compile(
    r"""(?P<other>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*)
      |\[(?P<range>[^\]]*)\]
      |(?P<offset>\boffset\s+-?\s*)(?P<by>[0-9][0-9a-z]*)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Copy:
    """``text`` is the copy in YAML, ``changes`` what differs: ``FILE:LINE: what``."""

    text: str
    changes: Sequence[str]


def hastened(expression: str, factor: float) -> str:
    """``expression`` with every range, step and offset divided by ``factor``."""

    def divided(word: str) -> str:
        return durations.write(durations.parse(word) / factor) if word.strip() else word

    def replace(found: re.Match[str]) -> str:
        if found["other"] is not None:
            return found[0]
        if found["range"] is not None:
            return f"[{':'.join(map(divided, found['range'].split(':')))}]"
        return found["offset"] + divided(found["by"])

    return expression if factor == 1 else _PARTS.sub(replace, expression)


def ranges(expression: str) -> list[int]:
    """The ranges of an expression, in milliseconds."""
    found = [match["range"] for match in _PARTS.finditer(expression) if match["range"] is not None]
    return [durations.parse(word.partition(":")[0]) for word in found]


def too_hasty(file: RuleFile, factor: float, scrape_every: float) -> list[Problem]:
    """Ranges that ``factor`` makes shorter than a few scrapes (``scrape_every`` seconds): nothing is seen in them."""
    if factor == 1:
        return []
    least = FEWEST * scrape_every * 1000
    return [
        rule.problem(
            f"speed_up {factor:g} makes the range [{durations.write(length)}] {durations.write(length / factor)}; "
            f"at least {durations.write(least)} ({FEWEST} scrapes) is needed"
        )
        for rule in file.rules
        for length in ranges(rule.spec.expr)
        if length / factor < least
    ]


def copied(file: RuleFile, factor: float, evaluate_every: float) -> Copy:
    """The file for a rehearsal whose time runs ``factor`` times as fast; rules every ``evaluate_every`` seconds."""
    import yaml

    data: Any = copy.deepcopy(file.data)
    changes: list[str] = []
    name = shown(file.page.file)

    def note(path: tuple[str | int, ...], what: str, before: str, after: str) -> None:
        changes.append(f"{name}:{file.page.line(path)}: {what} {before} → {after}")

    for number, group in enumerate(file.spec.groups):
        place: tuple[str | int, ...] = ("groups", number)
        if group.interval is not None:
            del data["groups"][number]["interval"]
            after = durations.write(evaluate_every * 1000)
            note((*place, "interval"), f"interval of group {group.name}", durations.write(group.interval), after)
        for index, rule in enumerate(group.rules):
            raw, here = data["groups"][number]["rules"][index], (*place, "rules", index)
            quick = hastened(rule.expr, factor)
            if quick != rule.expr:
                raw["expr"] = quick
                note((*here, "expr"), f"{rule.alert or rule.record}:", rule.expr.strip(), quick.strip())
            for key, wait in (("for", rule.for_), ("keep_firing_for", rule.keep_firing_for)):
                if wait and factor != 1:
                    raw[key] = durations.write(wait / factor)
                    note((*here, key), f"{rule.alert or rule.record}: {key}", durations.write(wait), raw[key])
    return Copy(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), changes)
