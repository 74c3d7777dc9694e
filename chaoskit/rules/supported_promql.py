"""The part of PromQL and of Alertmanager's routing that our stand-ins understand; all else is told to whoever loads it.

docs/alerting-subset.md describes the same for people.
"""

from __future__ import annotations

import re
from typing import Any

from chaoskit.base.errors import Problem
from chaoskit.rules.caret import place_of_lack
from chaoskit.rules.files import RuleFile
from chaoskit.rules.routing import Routing, walk

FUNCTIONS = frozenset(
    {
        "absent", "avg_over_time", "changes", "count_over_time", "increase", "max_over_time", "min_over_time",
        "rate", "sum_over_time", "vector",
    }
)  # fmt: skip
AGGREGATIONS = frozenset({"avg", "count", "max", "min", "sum"})
ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "^"})
COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SETS = frozenset({"and", "or", "unless"})

TAIL = (
    "chaoskit's stand-in for Prometheus does not understand that. Install Prometheus and Alertmanager "
    "(apt install prometheus prometheus-alertmanager) and use --chaos-alerting=prometheus"
)


def beyond(file: RuleFile) -> list[Problem]:
    """The rules of a file that our stand-in does not understand, each with its line and the reason."""
    found = []
    for number, group in enumerate(file.spec.groups):
        if group.limit or group.query_offset:
            key = "limit" if group.limit else "query_offset"
            found.append(file.page.problem(("groups", number, key), f"{key} of a group: {TAIL}"))
    for rule in file.rules:
        if rule.spec.record is not None:
            found.append(rule.problem(f"a recording rule: {TAIL}", "record"))
            continue
        what = lacking(parsed(rule.spec.expr))
        if what:
            found.append(rule.wrong_expression(f"{what}: {TAIL}", place_of_lack(rule.spec.expr, what)))
        for key, texts in (("labels", rule.spec.labels), ("annotations", rule.spec.annotations)):
            for name, text in texts.items():
                if what := lacking_of_template(text):
                    problem = file.page.problem((*rule.path, key, name), f"rule {rule.name}: {what}: {TAIL}")
                    found.append(problem)
    return found


def parsed(expression: str) -> Any:
    """The tree of an expression. Raises ValueError for what is not PromQL."""
    import promql_parser

    return promql_parser.parse(expression)


def lacking(tree: Any) -> str:
    """What of an expression is beyond the documented part; empty when nothing is."""
    match type(tree).__name__:
        case "NumberLiteral":
            return ""
        case "ParenExpr" | "UnaryExpr":
            return lacking(tree.expr)
        case "VectorSelector":
            return _selector(tree)
        case "MatrixSelector":
            return _selector(tree.vector_selector)
        case "AggregateExpr":
            return lacking(tree.expr) if str(tree.op) in AGGREGATIONS else f"the aggregation {tree.op}"
        case "Call" if tree.func.name in FUNCTIONS:
            return next(filter(None, map(lacking, tree.args)), "")
        case "Call":
            return f"the function {tree.func.name}"
        case "BinaryExpr":
            return _binary(tree) or lacking(tree.lhs) or lacking(tree.rhs)
        case "SubqueryExpr":
            return "a subquery"
        case other:
            return f"a {other}"


def _selector(tree: Any) -> str:
    if tree.at is not None:
        return "the modifier @"
    if tree.offset is not None:
        return "the modifier offset"
    if tree.matchers.or_matchers:
        return "a selector with 'or'"
    return ""


def _binary(tree: Any) -> str:
    operator = str(tree.op)
    if operator not in ARITHMETIC | COMPARISONS | SETS:
        return f"the operator {operator}"
    card = str(tree.modifier.card) if tree.modifier is not None else ""
    if card.endswith(("ManyToOne", "OneToMany")):
        return f"group_{'left' if card.endswith('ManyToOne') else 'right'}"
    if tree.modifier is not None:
        fill = tree.modifier.fill_values
        if fill is not None and (fill.lhs, fill.rhs) != (None, None):
            return "the modifier fill"
    return ""


_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
PLACEHOLDER = re.compile(
    r"\{\{-?\s*(?:\$value|\.Value|(?:\$labels|\.Labels)\.(?P<label>\w+))\s*(?:\|\s*(?P<pipe>\w+)\s*)?-?\}\}"
)


def lacking_of_template(text: str) -> str:
    """What of a label's or annotation's template is beyond the documented part; empty when nothing is."""
    for found in _TEMPLATE.findall(text):
        match = PLACEHOLDER.fullmatch(found)
        if match is None:
            return f"the template {found}"
        if match["pipe"] is not None:
            return f"the template function {match['pipe']}"
    return ""


def beyond_routing(routing: Routing) -> list[Problem]:
    """What of Alertmanager's configuration our stand-in does not do."""
    page, tail = routing.page, TAIL.replace("for Prometheus", "for Alertmanager")
    found = []
    for path, route in walk(routing.data["route"]):
        for key in ("mute_time_intervals", "active_time_intervals"):
            if key in route:
                found.append(page.problem((*path, key), f"{key}: {tail}"))
    return found
