"""What of a scenario's findings only follows from another: found where no expectation can tell (:func:`following`),
led back to the one behind it all (:func:`linked`), and told under that one (:func:`folded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from chaoskit.judge.verdict import ORDER, STEADY_STATE, Judged
from chaoskit.language.expectation import Finding, Outcome

T = TypeVar("T")


def following(findings: Sequence[Judged]) -> list[Judged]:
    """The findings, with ``because`` given to those that follow from another and do not name it themselves.

    Two things take others with them: a steady state that was not met before the first fault, and data that could not
    be read, where several findings say so in the same words. ``findings`` come worst first in what is named.
    """
    ill = _ill(findings)
    unread = _unread(findings)
    return [_because(judged, _cause(judged.finding, ill, unread)) for judged in findings]


def _because(judged: Judged, cause: str) -> Judged:
    finding = judged.finding
    if not cause or cause == finding.id or finding.because:
        return judged
    return replace(judged, finding=replace(finding, because=cause))


def _cause(finding: Finding, ill: dict[str, str], unread: dict[str, str]) -> str:
    if finding.outcome is Outcome.BROKEN:
        return unread.get(finding.seen, "")
    if not ill or finding.held:
        return ""
    violated = finding.outcome is Outcome.VIOLATED
    kind, op, metric = _parts(finding.id)
    first = next(iter(ill.values()))
    match kind:
        case "steady_state":
            return "" if violated else ill.get(op, "")  # what hangs at the end of the phase is no sample
        case "recovery":
            return first if violated else ""
        case "fault":
            return first  # what an ill service does not call cannot be touched
        case "during" | "after":
            # How many requests there are is no matter of the service; how many of them it answers is.
            follows = metric == "fallback_rate" or (violated and metric != "requests")
            return ill.get(op, "") if follows else ""
        case "ledger":
            # Nothing was acknowledged. What was, and is lost, is a matter of its own.
            return "" if violated else ill.get(op, "")
    return ""


def _parts(id: str) -> tuple[str, str, str]:
    """``during.place-order.p99``: kind, operation, figure. The name of an operation may hold anything."""
    kind, _, rest = id.partition(".")
    op, _, figure = rest.rpartition(".")
    return kind, op, figure


def _ill(findings: Sequence[Judged]) -> dict[str, str]:
    """By operation, the finding that says that its steady state was not met. Too few samples do not say so."""
    ill: dict[str, str] = {}
    for finding in _worst_first(findings, Outcome.VIOLATED):
        if finding.id.startswith(STEADY_STATE):
            ill.setdefault(_parts(finding.id)[1], finding.id)
    return ill


def _unread(findings: Sequence[Judged]) -> dict[str, str]:
    """By what is said, the first finding that could not be judged because of it."""
    unread: dict[str, str] = {}
    for finding in _worst_first(findings, Outcome.BROKEN):
        unread.setdefault(finding.seen, finding.id)
    return unread


def _worst_first(findings: Sequence[Judged], outcome: Outcome) -> Iterator[Finding]:
    return (judged.finding for judged in sorted(findings, key=Judged.urgency) if judged.finding.outcome is outcome)


def linked(findings: Sequence[Judged]) -> list[Judged]:
    """The findings with ``because`` as the whole id of the one behind it all, empty where none of these failed.

    Only a finding that is at least as bad takes others with it.
    """
    failed = [judged.finding for judged in findings if not judged.finding.held]

    def cause(found: Finding) -> Finding | None:
        if found.held or not found.because:
            return None
        named = (
            other
            for other in failed
            if f"{other.id}.".startswith(f"{found.because}.")
            and other.because != found.because
            and ORDER.index(other.outcome) <= ORDER.index(found.outcome)
        )
        return next(named, None)

    def root(found: Finding) -> str:
        chain = [found]
        while (behind := cause(chain[-1])) is not None and behind not in chain:
            chain.append(behind)
        return "" if len(chain) == 1 else chain[-1].id

    return [replace(judged, finding=replace(judged.finding, because=root(judged.finding))) for judged in findings]


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
