"""What an expectation is: bounds checked at load, and one method from a history to findings."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from chaoskit.base.registry import Registry
from chaoskit.base.units import counted
from chaoskit.history.rows import Read
from chaoskit.language.bounds import Bound
from chaoskit.language.samples import Demand, share_needs
from chaoskit.language.source import YamlPath
from chaoskit.language.types import Model
from chaoskit.language.view import View

if TYPE_CHECKING:
    from chaoskit.language.planned import Given


class Outcome(enum.StrEnum):
    """Of one finding, and in the end of a scenario. ``broken`` says nothing about the service; nor does
    ``inconclusive``: what was seen could be the machine's doing, of which others took too much."""

    HELD = "held"
    VIOLATED = "violated"
    VACUOUS = "vacuous"
    INCONCLUSIVE = "inconclusive"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One judged figure.

    ``id`` is what a control names in ``violates`` (``during.place-order.p99``). ``path`` is where in the
    scenario the bound stands, relative to the expectation. ``worst`` tells the window or the case that was
    worst, ``rows`` the request ids or times of the history behind it. ``because`` is for one that is not met only
    for the reason that another is not: that one's id, or the beginning of it (``alerts.OrdersDown``). The judge puts
    the whole id there, or nothing where no such finding failed. ``certain`` is for one that is not met for a reason
    that no machine brings about, however disturbed (a metric that the service does not have).
    """

    id: str
    outcome: Outcome
    expected: str
    seen: str
    samples: int
    path: YamlPath = ()
    worst: str = ""
    rows: tuple[str, ...] = ()
    because: str = ""
    certain: bool = False

    @property
    def held(self) -> bool:
        """Whether the expectation was met on enough samples."""
        return self.outcome is Outcome.HELD


def check(
    id: str,
    bound: Bound,
    value: float,
    samples: int,
    *,
    need: int = 1,
    lost: bool = False,
    path: YamlPath = (),
    worst: str = "",
    rows: Iterable[str] = (),
) -> Finding:
    """Compare one figure with its bound. Fewer than ``need`` samples prove nothing (vacuous), unless the bound is
    ``lost`` whatever the others were (:func:`hopeless`).
    """
    seen = bound.show(value)
    if samples < need and not lost:
        return too_few(id, str(bound), samples, need, path=path, seen=seen)
    outcome = Outcome.HELD if bound.holds(value) else Outcome.VIOLATED
    return Finding(id, outcome, str(bound), seen, samples, path, worst, tuple(rows))


def check_between(
    id: str,
    bound: Bound,
    least: float,
    most: float,
    samples: int,
    *,
    show: Callable[[str], str],
    open_: str,
    path: YamlPath = (),
    worst: str = "",
    rows: Iterable[str] = (),
) -> Finding:
    """Compare a figure that is known no closer than ``least`` to ``most``; ``show`` puts it into words.

    Held where the bound holds for all between, violated where for none; else it proves nothing (vacuous), and ``open_``
    says why it is not known.
    """
    if not samples:
        return too_few(id, str(bound), 0, 1, path=path)
    if least == most or (bound.holds(least) and bound.holds(most)):
        outcome = Outcome.HELD if bound.holds(least) else Outcome.VIOLATED
    else:
        outcome = Outcome.VACUOUS if bound.reaches(least, most) else Outcome.VIOLATED
    text = bound.show(least) if least == most else f"between {bound.show(least)} and {bound.show(most)}"
    seen = f"{show(text)}: {open_}" if outcome is Outcome.VACUOUS else show(text)
    return Finding(id, outcome, str(bound), seen, samples, path, worst, tuple(rows))


def hopeless(need: int, *counts: tuple[float, float]) -> bool:
    """Whether too few samples decide all the same, whatever those would be that are missing of ``need``.

    Each of ``counts`` is how many there are of what a bound limits, and the share that it allows: 3 failures of 50 are
    more than the 1 % of 100 that ``>= 99%`` leaves.
    """
    return any(count > need * share + 1e-9 for count, share in counts)


def check_share(
    id: str,
    bound: Bound,
    part: int,
    samples: int,
    *,
    path: YamlPath = (),
    worst: str = "",
    rows: Iterable[str] = (),
) -> Finding:
    """:func:`check` for ``part`` of all ``samples``."""
    need = share_needs(bound)
    lost = hopeless(need, (samples - part, 1 - bound.low), (part, bound.high))
    value = part / (samples or 1)
    return check(id, bound, value, samples, need=need, lost=lost, path=path, worst=worst, rows=rows)


def too_few(id: str, expected: str, samples: int, need: int, *, path: YamlPath = (), seen: str = "nothing") -> Finding:
    """The finding of an expectation that had too little to judge."""
    needed = f"{need} {'is' if need == 1 else 'are'} needed"
    text = f"{seen} on {counted(samples, 'samples')}; {needed}" if samples else f"no samples; {needed}"
    return Finding(id, Outcome.VACUOUS, expected, text, samples, path)


class CollectContext(Protocol):
    """How an expectation reads data back from outside, directly (never through a proxy)."""

    def sql(self, service: str, statement: str) -> list[list[Any]]:
        """Rows of a query on a database service. Raises BrokenError when it fails."""

    def get(self, url: str) -> int:
        """The status that a GET of ``url`` is answered with, redirects not followed.

        Raises BrokenError for a host beyond the blast radius, and when no answer comes.
        """


@runtime_checkable
class Collects(Protocol):
    """An expectation that needs data from outside; the engine calls it after the last phase."""

    def collect(self, reader: CollectContext, view: View) -> Iterable[Read]:
        """Read what will be judged, waiting for deferred work as long as the expectation allows."""


@runtime_checkable
class Awaits(Protocol):
    """An expectation of something that comes late; while it awaits it, the phase ``after`` goes on, with traffic."""

    def awaits(self, view: View, moment: float) -> bool:
        """Whether, at ``moment`` (monotonic seconds), what it is met by may still come. False once it is too late.

        Asked after the phase ``recovery``, a few times a second. A pure function of the history and ``moment``.
        """


class NeverKnown(NamedTuple):
    """What no run can tell: the ``path`` in the scenario that is why, what is wrong, and what would do."""

    path: YamlPath
    what: str
    legal: list[str]


def no_phase_after(given: Given, path: YamlPath) -> Iterator[NeverKnown]:
    """For what is asked of the phase ``after``: whether the timeline has none."""
    if not given.timeline.after:
        yield NeverKnown(path, "the timeline has no phase 'after'", ["timeline: {after: 5s}"])


class Expectation(Model, ABC):
    """Base of all expectations. Fields are its bounds; the file's name is its key under ``expect:``."""

    def siblings(self, others: Sequence[Expectation]) -> None:
        """Told once, at load: what stands in the same list of the scenario."""

    def notes(self) -> Iterable[tuple[str, str]]:
        """What it needs of answers, as operation and dotted path in the JSON: noted by the traffic worker, which sees
        the whole answer. The history keeps the beginning of a body alone."""
        return ()

    def reads(self) -> Iterable[tuple[str, list[int]]]:
        """The operations whose answers it reads, with the statuses; none stands for any. More of these is kept."""
        return ()

    def never_known(self, given: Given) -> Iterable[NeverKnown]:  # noqa: ARG002  # for those that need something
        """Why, in this scenario, it could never be known whether it is met. Told at load, as mistakes."""
        return ()

    def demands(self) -> Iterable[Demand]:
        """The samples that its bounds need; what the timeline can never give is told at load."""
        return ()

    @abstractmethod
    def judge(self, view: View) -> Iterable[Finding]:
        """The findings. A pure function of the history: no clock, no network, no randomness."""


EXPECTATIONS: Registry[type[Expectation]] = Registry("expectation", "chaoskit.expectations")
