"""Which alerts fire, when, and what they say.

Each entry of the list is one of three things::

    alerts:
      - {name: OrdersPanics, severity: P2, fires_within: 5s, resolves_within: 10s, times: 1, runbook: present}
      - {never: true, severity: P1}
      - {nothing_else: true, ignore: [Watchdog]}

Times to firing and to delivery count from the start of the first fault, the time to resolving from the end of the
last one. One life of an alert, however many notifications it sends, counts once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, model_validator

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.expectations._alert_findings import Judge
from chaoskit.expectations._alert_lives import Evaluations, Lives, titled
from chaoskit.expectations._evidence import vacuous
from chaoskit.expectations._fields import Count, Regex
from chaoskit.history import rows as r
from chaoskit.history.alerts import Incident
from chaoskit.language.expectation import CollectContext, Expectation, Finding
from chaoskit.language.types import Duration, problem
from chaoskit.language.view import View

PROVED = 10.0
"""Seconds after the last fault in which rules that must stay silent are to be evaluated once more."""

RUNBOOK = ("runbook_url", "runbook")
_NEVER = {"never", "name", "source", "where", "severity", "labels"}
_NOTHING_ELSE = {"nothing_else", "ignore"}


def _known(name: str | None, info: ValidationInfo) -> str | None:
    names = (info.context or {}).get("alerts")
    if name is not None and names is not None and info.data.get("source") == "rules" and name not in names:
        raise problem(f"no rule file of the environment has an alert {name!r}", sorted(names), name)
    return name


class Alerts(Expectation):
    """One entry: an alert that must fire, one that must never, or nothing else at all.

    An alert that must fire has a ``name`` (one of the rule files', or with ``source: application`` any that a service
    sends by itself). ``where`` selects its instances by labels. Of each life of it ``severity`` and ``labels`` must
    be these, each of ``annotations`` must match this regular expression. It fires ``fires_within`` (some time, if
    not given), not before the first fault (``not_before_fault: false`` allows it), is delivered ``delivered_within``,
    is over ``resolves_within``, and has lives as many ``times``; ``notifications`` bounds how often it was delivered.
    With ``receiver`` only what Alertmanager sent there counts as delivered. ``runbook: present`` asks for a link in
    the annotation ``runbook_url`` (or ``runbook``), ``answers`` asks that it leads somewhere.

    With ``never: true`` no alert may fire that has this ``name``, ``severity`` and ``labels``, as far as they are
    given. With ``nothing_else: true`` none may fire that no other entry names, except those in ``ignore``.
    """

    source: Literal["rules", "application"] = "rules"
    name: Annotated[str | None, AfterValidator(_known)] = None
    where: dict[str, str] = {}
    severity: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, Regex] = {}
    receiver: str = ""
    fires_within: Duration | None = None
    delivered_within: Duration | None = None
    resolves_within: Duration | None = None
    times: Count | None = None
    notifications: Count | None = None
    not_before_fault: bool = True
    runbook: Literal["present", "answers"] | None = None
    never: Literal[True] | None = None
    nothing_else: Literal[True] | None = None
    ignore: list[str] = Field([], description="alerts that may fire all the same, such as one that always does")

    _named: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_fields_set
        if self.nothing_else and (other := sorted(given - _NOTHING_ELSE)):
            raise problem(f"nothing_else: true stands alone in its entry, without {', '.join(other)}", ["ignore"])
        if self.never and (other := sorted(given - _NEVER)):
            raise problem(f"what never fires has no {', '.join(other)}", sorted(_NEVER))
        if not self.never and not self.nothing_else:
            if self.name is None:
                raise problem("it is not said which alert", ["name", "never: true", "nothing_else: true"])
            if self.ignore:
                raise problem("ignore belongs to nothing_else: true", ["nothing_else"])
            if self.times is not None and (self.times.high < 1 or (self.times.high == 1 and self.times.open_high)):
                raise problem("an alert that must not fire is written with never", ["never: true"])
        return self

    def siblings(self, others: Sequence[Expectation]) -> None:
        """The alerts that other entries name are not noise."""
        self._named = frozenset(other.name for other in others if isinstance(other, Alerts) and other.name)

    # Waiting and collecting

    def awaits(self, view: View, moment: float) -> bool:
        """Whether firing, delivery or the end of an alert may still come in time, or proof that it is silent."""
        judge = self._judge(view, unfinished=True)
        lives = judge.lives
        if view.first_fault is None:
            return False
        if self.never or self.nothing_else:
            unproved = judge.observed and not lives.all and bool(judge.gap(self._must_be_seen(view)))
            return unproved and moment < lives.lifted + PROVED
        awaited = [
            (self.fires_within, lives.origin, not lives.later),
            (self.delivered_within, lives.origin, not judge.arrived),
            (self.resolves_within, lives.lifted, any(life.ended is None for life in lives.all)),
        ]
        return any(missing and limit is not None and moment < start + limit for limit, start, missing in awaited)

    def collect(self, reader: CollectContext, view: View) -> Iterable[r.Read]:
        """Whether the runbooks answer."""
        if self.runbook != "answers":
            return
        for url in sorted({url for life in Lives(view, self._matches).all if (url := _runbook(life))}):
            try:
                yield r.Read(name=_read_name(url), at=now(), rows=[[reader.get(url)]])
            except BrokenError as error:
                yield r.Read(name=_read_name(url), at=now(), rows=[], error=str(error))

    # Judging

    def judge(self, view: View) -> Iterator[Finding]:
        """``alerts.NAME.fires_within`` (``.fires`` without a limit), ``.times`` ...; ``alerts.NAME.never``,
        ``alerts.never`` without a name; ``alerts.nothing_else``."""
        judge = self._judge(view)
        if view.first_fault is None:
            yield vacuous(judge.id("fires"), "alerts of a fault", "no fault was injected", certain=True)
            return
        if self.nothing_else:
            yield judge.silent(
                "alerts.nothing_else", "no other alert fires", ("nothing_else",), self._must_be_seen(view)
            )
            return
        if self.never:
            id_ = judge.id("never") if self.name else "alerts.never"
            yield judge.silent(id_, f"{self._described()} never fires", ("never",), self._must_be_seen(view))
            return
        yield judge.fires(self.fires_within)
        if self.not_before_fault:
            yield judge.not_before_fault()
        if self.delivered_within is not None:
            yield judge.delivered(self.delivered_within)
        if self.resolves_within is not None:
            yield judge.resolves(self.resolves_within)
        if self.times is not None:
            yield judge.times(self.times)
        if self.notifications is not None:
            yield judge.notifications(self.notifications)
        for path, expected, wrong in self._demands(view):
            yield judge.every(path, expected, wrong)

    def _demands(self, view: View) -> Iterator[tuple[tuple[str, ...], str, Callable[[Incident], str]]]:
        """What is asked of each life: where it stands, what is expected, and how a life fails to meet it."""
        if self.severity is not None:
            yield ("severity",), self.severity, partial(_differs, "severity", self.severity)
        for name, value in self.labels.items():
            yield ("labels", name), value, partial(_differs, name, value)
        for name, pattern in self.annotations.items():
            yield ("annotations", name), f"/{pattern}/", partial(_matches_not, name, pattern)
        if self.runbook is not None:
            reads = {row.name: row for row in view.history.rows(r.Read)} if self.runbook == "answers" else None
            words = "a link to a runbook" + (" that answers" if reads is not None else "")
            yield ("runbook",), words, partial(_no_runbook, reads)

    def _judge(self, view: View, *, unfinished: bool = False) -> Judge:
        observed = self.source == "rules" and Evaluations(view).observed
        return Judge(Lives(view, self._matches, unfinished), self.name or "", observed, self.receiver)

    def _matches(self, alert: Incident | r.Alert) -> bool:
        if self.source == "application" and alert.source != "application":
            return False
        if self.nothing_else:
            return alert.name not in self._named and alert.name not in self.ignore
        wanted = dict(self.where)
        if self.never:
            wanted |= self.labels | ({"severity": self.severity} if self.severity is not None else {})
        named = self.name is None or alert.name == self.name
        return named and all(alert.labels.get(label) == value for label, value in wanted.items())

    def _must_be_seen(self, view: View) -> set[str]:
        """The alerts whose rules must have been evaluated before silence means anything."""
        if self.name is not None:
            return {self.name}
        return Evaluations(view).names - set(self.ignore)

    def _described(self) -> str:
        wanted = self.where | self.labels | ({"severity": self.severity} if self.severity is not None else {})
        return titled(self.name or "an alert", wanted)


def _differs(label: str, value: str, life: Incident) -> str:
    found = life.labels.get(label)
    return "" if found == value else f"{label} is {found!r}" if found is not None else f"{label} is absent"


def _matches_not(annotation: str, pattern: str, life: Incident) -> str:
    found = life.annotations.get(annotation)
    if found is None:
        return f"{annotation} is absent"
    return "" if re.search(pattern, found) else f"{annotation} is {found!r}"


def _runbook(life: Incident) -> str:
    return next((life.annotations[name] for name in RUNBOOK if life.annotations.get(name)), "")


def _no_runbook(reads: dict[str, r.Read] | None, life: Incident) -> str:
    """Why there is none; ``reads`` tells what the links answered, None when nobody has to ask."""
    url = _runbook(life)
    if not url:
        return f"neither {' nor '.join(RUNBOOK)} is there"
    if not url.startswith(("http://", "https://")):
        return f"{url!r} is no link"
    if reads is None:
        return ""
    read = reads.get(_read_name(url))
    if read is None or not read.rows:
        return (read.error if read is not None else None) or f"{url} was not asked"
    status = read.rows[0][0]
    return "" if 200 <= status < 400 else f"{url} answers {status}"


def _read_name(url: str) -> str:
    """What a question to a runbook is called in the history."""
    return f"runbook {url}"
