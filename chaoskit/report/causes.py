"""Findings that follow from another one, put under it: what failed for one reason is told once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def folded(findings: Iterable[T], id: Callable[[T], str], because: Callable[[T], str]) -> list[tuple[T, list[T]]]:
    """Each finding that stands by itself, with those that follow from it, in their order.

    ``because`` is the id of the finding that another follows from, or empty. A finding of a chain is put under the
    chain's first cause; one whose cause is not among ``findings`` stands by itself.
    """
    told = list(findings)
    first: dict[str, int] = {}
    for index, finding in enumerate(told):
        first.setdefault(id(finding), index)
    groups: dict[int, tuple[T, list[T]]] = {}
    for index, finding in enumerate(told):
        root, seen = index, {index}
        while (cause := first.get(because(told[root]))) is not None and cause not in seen:
            root = cause
            seen.add(root)
        if cause is not None:  # a circle: nothing came first
            root = index
        groups.setdefault(root, (told[root], []))
        if root != index:
            groups[root][1].append(finding)
    return [groups[index] for index in sorted(groups)]
