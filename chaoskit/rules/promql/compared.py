"""What a rule waits for: the comparisons of its expression with numbers, each side of which can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chaoskit.rules.promql.evaluate import Query
from chaoskit.rules.promql.operators import COMPARISONS
from chaoskit.rules.promql.series import Store
from chaoskit.rules.supported_promql import lacking, parsed

_SWAPPED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}


@dataclass(frozen=True)
class Comparison:
    """``left sign limit``, such as ``rate(errors_total[1m]) > 5``. ``told`` is the left side as it is written."""

    left: Query
    told: str
    sign: str
    limit: float

    def holds(self, value: float) -> bool:
        """Whether it does for this value of the left side."""
        return COMPARISONS[self.sign](value, self.limit)


def comparisons(expression: str) -> list[Comparison]:
    """Those that an expression comes to through ``and``, ``or`` and ``unless`` (behind ``unless``: none).

    Left out is what our evaluator does not understand, and what is compared with something else than a number.
    """
    try:
        return list(_found(parsed(expression)))
    except ValueError:  # a newer Prometheus may understand more than we do
        return []


def _found(tree: Any) -> Iterator[Comparison]:
    if type(tree).__name__ == "ParenExpr":
        yield from _found(tree.expr)
    if type(tree).__name__ != "BinaryExpr":
        return
    sign = str(tree.op)
    if sign in ("and", "or", "unless"):
        yield from _found(tree.lhs)
        if sign != "unless":
            yield from _found(tree.rhs)
    elif sign in COMPARISONS and not (tree.modifier is not None and tree.modifier.return_bool):
        left, right = tree.lhs, tree.rhs
        if _is_number(left):
            left, right, sign = right, left, _SWAPPED.get(sign, sign)
        if _is_number(right) and not _is_number(left) and not lacking(left):
            told = str(left).replace("{}", "").replace(")(", ") (")
            yield Comparison(Query(left), told, sign, Query(right).vector(Store(), 0)[0].value)


def _is_number(tree: Any) -> bool:
    match type(tree).__name__:
        case "NumberLiteral":
            return True
        case "ParenExpr" | "UnaryExpr":
            return _is_number(tree.expr)
        case "BinaryExpr":
            return _is_number(tree.lhs) and _is_number(tree.rhs)
    return False
