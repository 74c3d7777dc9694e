"""Which metrics an expression cannot do without."""

from __future__ import annotations

from typing import Any

from chaoskit.rules.promql.series import NAME
from chaoskit.rules.supported_promql import parsed

ABSENCE = frozenset({"absent", "absent_over_time"})


def needed(expression: str) -> frozenset[str]:
    """The metrics by name that have to be there for an expression to find anything, as far as it names them.

    Not those whose absence is asked for or changes nothing: within ``absent`` and ``absent_over_time``, and behind
    ``unless``. None of an expression that cannot be parsed: a newer Prometheus may understand more than we do.
    """
    try:
        trees = [parsed(expression)]
    except ValueError:
        return frozenset()
    names = set()
    while trees:
        tree = trees.pop()
        if type(tree).__name__ == "VectorSelector":
            names.add(tree.name or _equal_name(tree))
        else:
            trees += _parts(tree)
    return frozenset(names - {""})


def _parts(tree: Any) -> list[Any]:
    match type(tree).__name__:
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr" | "AggregateExpr":
            return [tree.expr]
        case "MatrixSelector":
            return [tree.vector_selector]
        case "BinaryExpr":
            return [tree.lhs] if str(tree.op) == "unless" else [tree.lhs, tree.rhs]
        case "Call" if tree.func.name not in ABSENCE:
            return list(tree.args)
    return []


def _equal_name(tree: Any) -> str:
    """The name that ``{__name__="..."}`` asks for; empty where it is only matched by a pattern."""
    found = (each.value for each in tree.matchers.matchers if each.name == NAME and str(each.op) == "MatchOp.Equal")
    return next(found, "")
