"""An expression over series at one moment."""

from __future__ import annotations

from typing import Any

from chaoskit.rules.promql import operators
from chaoskit.rules.promql.functions import AGGREGATIONS, OVER_RANGE
from chaoskit.rules.promql.operators import EvaluationError, Matching, Vector, without_name
from chaoskit.rules.promql.series import NAME, Labels, Sample, Store, Wanted

_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


class Query:
    """An expression of the documented part of PromQL, which :mod:`chaoskit.rules.supported_promql` has let through."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._wanted: dict[int, tuple[str | None, Wanted]] = {}

    def vector(self, store: Store, moment: int) -> Vector:
        """Its elements at ``moment`` (Unix milliseconds); a number is one without labels.

        Raises EvaluationError for series that cannot be brought together.
        """
        value = self._value(self._tree, store, moment)
        found = [Sample({}, value)] if isinstance(value, float) else value
        keys = [frozenset(sample.labels.items()) for sample in found]
        if len(set(keys)) < len(keys):
            raise EvaluationError("vector cannot contain metrics with the same labelset")
        return found

    def _value(self, tree: Any, store: Store, moment: int) -> float | Vector:
        match type(tree).__name__:
            case "NumberLiteral":
                return float(tree.val)
            case "ParenExpr":
                return self._value(tree.expr, store, moment)
            case "UnaryExpr":  # the parser drops a plus
                inner = self._value(tree.expr, store, moment)
                if isinstance(inner, float):
                    return -inner
                return [Sample(without_name(labels), -value) for labels, value in inner]
            case "VectorSelector":
                name, wanted = self._selector(tree)
                return store.instant(name, wanted, moment)
            case "AggregateExpr":
                return self._aggregate(tree, store, moment)
            case "Call":
                return self._call(tree, store, moment)
            case "BinaryExpr":
                return self._binary(tree, store, moment)
        raise EvaluationError(f"a {type(tree).__name__} cannot be evaluated here")

    def _selector(self, tree: Any) -> tuple[str | None, Wanted]:
        if id(tree) not in self._wanted:
            matchers = [(each.name, _OPERATORS[str(each.op)], each.value) for each in tree.matchers.matchers]
            self._wanted[id(tree)] = (tree.name, Wanted(matchers))
        return self._wanted[id(tree)]

    def _aggregate(self, tree: Any, store: Store, moment: int) -> Vector:
        inner = self._value(tree.expr, store, moment)
        assert isinstance(inner, list)
        named = set(tree.modifier.labels) if tree.modifier is not None else set()
        by = tree.modifier is None or str(tree.modifier.type).endswith("By")
        groups: dict[Labels, list[float]] = {}
        for labels, value in inner:
            kept = (pair for pair in labels.items() if (pair[0] in named) == by and (by or pair[0] != NAME))
            groups.setdefault(frozenset(kept), []).append(value)
        function = AGGREGATIONS[str(tree.op)]
        return [Sample(dict(labels), function(values)) for labels, values in groups.items()]

    def _call(self, tree: Any, store: Store, moment: int) -> Vector:
        name, argument = tree.func.name, tree.args[0]
        if name in OVER_RANGE:
            return self._over_range(name, argument, store, moment)
        inner = self._value(argument, store, moment)
        if name == "vector":
            assert isinstance(inner, float)
            return [Sample({}, inner)]
        assert name == "absent"
        return [] if inner else [Sample(_absent_labels(argument), 1.0)]

    def _over_range(self, name: str, tree: Any, store: Store, moment: int) -> Vector:
        while type(tree).__name__ == "ParenExpr":
            tree = tree.expr
        metric, wanted = self._selector(tree.vector_selector)
        start = moment - round(tree.range.total_seconds() * 1000)
        values = (
            (window.labels, OVER_RANGE[name](window, start, moment))
            for window in store.range(metric, wanted, start, moment)
        )
        return [Sample(without_name(labels), value) for labels, value in values if value is not None]

    def _binary(self, tree: Any, store: Store, moment: int) -> float | Vector:
        sign, modifier = str(tree.op), tree.modifier
        left, right = self._value(tree.lhs, store, moment), self._value(tree.rhs, store, moment)
        as_bool = modifier is not None and modifier.return_bool
        if isinstance(left, float) and isinstance(right, float):
            return operators.scalars(sign, left, right)
        if isinstance(right, float):
            assert isinstance(left, list)
            return operators.vector_and_scalar(sign, left, right, swapped=False, as_bool=as_bool)
        if isinstance(left, float):
            return operators.vector_and_scalar(sign, right, left, swapped=True, as_bool=as_bool)
        matching = Matching()
        if modifier is not None and modifier.matching is not None:
            matching = Matching(modifier.matching.labels, str(modifier.matching.type).endswith("Include"))
        if sign in ("and", "or", "unless"):
            return operators.sets(sign, left, right, matching)
        return operators.vectors(sign, left, right, matching, as_bool=as_bool)


def _absent_labels(tree: Any) -> dict[str, str]:
    """What ``absent`` knows of a series that is not there: the labels that its selector asks to be equal, once each."""
    while type(tree).__name__ == "ParenExpr":
        tree = tree.expr
    if type(tree).__name__ != "VectorSelector":
        return {}
    labels: dict[str, str] = {}
    contradicted = set()
    for matcher in tree.matchers.matchers:
        if matcher.name == NAME:
            continue
        if str(matcher.op) == "MatchOp.Equal" and matcher.name not in labels:
            labels[matcher.name] = matcher.value
        else:
            contradicted.add(matcher.name)
    return {name: value for name, value in labels.items() if name not in contradicted and value}
