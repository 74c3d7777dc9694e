"""The findings about the lives of an alert: each method judges one thing that a scenario may ask of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._alert_lives import Evaluations, Lives, changed_metric, described, heard, since, titled
from chaoskit.expectations._alert_reach import others, pending_only, reached
from chaoskit.expectations._evidence import SHOWN, many, vacuous, with_unit
from chaoskit.history import rows as r
from chaoskit.history.alerts import Incident
from chaoskit.history.windows import Window
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Finding, Outcome, check
from chaoskit.language.source import YamlPath

EARLIER = 0.2
"""Seconds by which a history may end before a limit and still be said to have reached it."""


@dataclass(frozen=True)
class Judge:
    """Judges ``lives`` of the alert ``name``.

    ``observed``: rules stand behind it, and somebody asked for them. With ``receiver`` only what was delivered
    there counts as delivered.
    """

    lives: Lives
    name: str
    observed: bool
    receiver: str = ""

    def id(self, *what: str) -> str:
        """The id of a finding."""
        return ".".join(("alerts", *filter(None, (self.name,)), *what))

    @cached_property
    def rules(self) -> Evaluations:
        """Whether the rules were evaluated."""
        return Evaluations(self.lives.view)

    @cached_property
    def arrived(self) -> list[r.Alert]:
        """The notifications that arrived after the first fault began."""
        return [row for row in self.lives.delivered(self.receiver) if row.at >= self.lives.origin]

    @property
    def _cause(self) -> str:
        """Where it never fired, that is why nothing else that is asked of it is there; the first finding says so."""
        return "" if self.lives.all else self.id()

    # Firing

    def fires(self, limit: float | None) -> Finding:
        """It fires after the first fault began, within ``limit`` seconds if there is one."""
        name, expected = ("fires", "fires") if limit is None else ("fires_within", _within("fires", limit))
        path: YamlPath = ("name" if limit is None else name,)
        lives = self.lives
        if not lives.later:
            return self._never_fired(self.id(name), expected, path, limit or 0.0)
        after = lives.later[0].fired - lives.origin
        outcome = Outcome.HELD if limit is None or after <= limit else Outcome.VIOLATED
        seen = f"after {format_duration(after)}"
        story = self._story(lives.later[0])
        return Finding(self.id(name), outcome, expected, seen, len(lives.all), path, story, self._told(lives.later))

    def _never_fired(self, id_: str, expected: str, path: YamlPath, limit: float) -> Finding:
        """A fact about the rules, unless nobody evaluated them, or looked for long enough."""
        lives, rules = self.lives, self.rules
        words = "fired before the first fault only" if lives.early else "never fired"
        pending = [f"{titled(row.name, row.labels)}: pending {since(row.at, lives.origin)}" for row in lives.pending()]
        if pending:
            words += ", was pending"
        if lives.end < lives.origin + limit - EARLIER:
            length = format_duration(lives.end - lives.origin)
            return vacuous(id_, expected, f"{words}, but the history ends after {length}", path)
        if self.observed:
            if rules.error:
                return Finding(id_, Outcome.BROKEN, expected, f"the rules could not be asked: {rules.error}", 0, path)
            if self.name not in rules.names:
                words += f": no rule named {self.name} is evaluated"
            elif why := rules.failing(self.name):
                words += f": its rule cannot be evaluated: {why}"
            elif not rules.count(self.name, lives.origin):
                why = "its rule was not evaluated after the first fault began"
                return Finding(id_, Outcome.BROKEN, expected, why, 0, path)
        why = self._why_silent() if self.observed and not lives.all else ""
        unknown = bool(rules.names) and self.name not in rules.names
        # What is slow makes an alert late; that its expression was never true, all that time, is another matter.
        never = not pending and not lives.all and not lives.view.calm.overwhelmed(Window(lives.origin, lives.end))
        told, certain = tuple(pending[:SHOWN]), self.observed and (unknown or never)
        return Finding(id_, Outcome.VIOLATED, expected, words, 0, path, why, told, certain=certain)

    def _why_silent(self) -> str:
        """What kept the alert from firing, as far as the history tells."""
        lives, rules = self.lives, self.rules
        if missing := rules.unscraped(self.name):
            return f"its rule selects no series: {missing} was never scraped"
        if elsewhere := others(lives, self.name):
            return elsewhere
        if waited := pending_only(lives, rules.waits(self.name)):
            return waited
        return reached(lives.view, rules.query(self.name), lives.origin, lives.end)

    def not_before_fault(self) -> Finding:
        """It was neither pending nor firing before the first fault: else the fault is not why it fires."""
        id_, path, expected = self.id("not_before_fault"), ("not_before_fault",), "silent until the first fault"
        early = self.lives.early
        if early:
            seen = f"active {format_duration(self.lives.origin - early[0].active)} before the first fault"
            return Finding(id_, Outcome.VIOLATED, expected, seen, len(early), path, rows=self._told(early))
        looks = self.rules.count(self.name, -inf, self.lives.origin) if self.observed else 1
        if not looks:
            return vacuous(id_, expected, "its rule was not seen evaluated before the first fault", path)
        return Finding(id_, Outcome.HELD, expected, "silent until then", looks, path)

    def silent(self, id_: str, expected: str, path: YamlPath, names: Collection[str]) -> Finding:
        """None of them fires; ``names`` are the alerts whose rules must have been evaluated, and able to fire, for that
        to say much."""
        lives = self.lives
        if lives.all:
            titles = Counter(titled(life.name, life.labels) for life in lives.all)
            seen = ", ".join(f"{title} fired {many(str(count), 'time')}" for title, count in titles.most_common(SHOWN))
            return Finding(id_, Outcome.VIOLATED, expected, seen, len(lives.all), path, rows=self._told(lives.all))
        if self.observed:
            if why := self.gap(names) or self.rules.blind(names):
                return vacuous(id_, expected, f"silent, but {why}", path)
            looks = min(self.rules.count(name, lives.origin) for name in names)
            return Finding(id_, Outcome.HELD, expected, f"silent in {counted(looks, 'evaluations')}", looks, path)
        told = heard(lives.view)
        if not told:
            return vacuous(
                id_, expected, "silent, but no rules were asked for and no notification of any kind came", path
            )
        return Finding(id_, Outcome.HELD, expected, f"silent among {counted(told, 'notifications')}", told, path)

    def gap(self, names: Collection[str]) -> str:
        """Why silence of ``names`` proves nothing; empty when it does."""
        return self.rules.gap(names, self.lives.origin, self.lives.lifted)

    # What comes of it

    def delivered(self, limit: float) -> Finding:
        """A notification arrives within ``limit`` seconds of the first fault's start."""
        lives, path = self.lives, ("delivered_within",)
        expected = _within("delivered" + (f" to {self.receiver}" if self.receiver else ""), limit)
        refused = sum(bool(row.refused) for row in lives.notifications)
        failed = f"; the sink failed {refused} of them" if refused else ""
        if self.arrived:
            after = self.arrived[0].at - lives.origin
            outcome = Outcome.HELD if after <= limit else Outcome.VIOLATED
            seen = f"after {format_duration(after)}{failed}"
        elif lives.end < lives.origin + limit - EARLIER:
            outcome, seen = Outcome.VACUOUS, f"not delivered{failed}, but the history ends too early"
        else:
            outcome, seen = Outcome.VIOLATED, f"not delivered{failed}"
        count = len(lives.notifications)
        return Finding(self.id(*path), outcome, expected, seen, count, path, because=self._cause)

    def resolves(self, limit: float) -> Finding:
        """Every life is over within ``limit`` seconds of the last fault's end."""
        lives, id_, path = self.lives, self.id("resolves_within"), ("resolves_within",)
        expected = f"{_within('over', limit)} of the last fault's end"
        if not lives.all:
            return vacuous(id_, expected, "it never fired, so there was nothing to resolve", path, because=self._cause)
        ends = [life.ended for life in lives.all if life.ended is not None]
        if len(ends) < len(lives.all):
            short = lives.end < lives.lifted + limit - EARLIER
            outcome = Outcome.VACUOUS if short else Outcome.VIOLATED
            seen = f"not over {format_duration(max(0.0, lives.end - lives.lifted))} after it"
        else:
            after = max(ends) - lives.lifted
            outcome = Outcome.HELD if after <= limit else Outcome.VIOLATED
            seen = f"{format_duration(abs(after))} {'after' if after >= 0 else 'before'} it"
        return Finding(id_, outcome, expected, seen, len(lives.all), path, rows=self._told(lives.all))

    def times(self, bound: Bound) -> Finding:
        """How many lives it had."""
        lives = self.lives.all
        found = check(self.id("times"), bound, len(lives), len(lives), need=0, path=("times",), rows=self._told(lives))
        found = replace(found, because=self._cause)
        return with_unit(found, lambda text: f"fired {many(text, 'time')}")

    def notifications(self, bound: Bound) -> Finding:
        """How often it was delivered."""
        count, lives = len(self.lives.delivered(self.receiver)), len(self.lives.all)
        if not lives:
            path = ("notifications",)
            return vacuous(self.id(*path), str(bound), "it never fired", path, because=self._cause)
        found = check(self.id("notifications"), bound, count, count, need=0, path=("notifications",))
        return with_unit(found, lambda text: f"delivered {many(text, 'time')} for {many(str(lives), 'incident')}")

    def every(self, path: tuple[str, ...], expected: str, wrong: Callable[[Incident], str]) -> Finding:
        """Each life has what is asked: ``wrong`` tells why one has not."""
        lives, id_ = self.lives, self.id(*path)
        if not lives.all:
            return vacuous(id_, expected, "it never fired", path, because=self._cause)
        bad = [(life, why) for life in lives.all if (why := wrong(life))]
        if not bad:
            return Finding(id_, Outcome.HELD, expected, f"in all of {len(lives.all)}", len(lives.all), path)
        seen = ", ".join(dict.fromkeys(why for _, why in bad))
        rows = tuple(f"{described(life, lives.origin)}: {why}" for life, why in bad[:SHOWN])
        return Finding(id_, Outcome.VIOLATED, expected, seen, len(lives.all), path, rows=rows)

    # In words

    def _told(self, lives: Iterable[Incident]) -> tuple[str, ...]:
        return tuple(described(life, self.lives.origin) for life in list(lives)[:SHOWN])

    def _story(self, life: Incident) -> str:
        """From the metric's change to the notification, each with its time after the first fault's start."""
        origin = self.lives.origin
        moved = changed_metric(self.lives.view, self.rules.query(life.name))
        steps = [f"{moved[0]} changed {since(moved[1], origin)}"] if moved else []
        steps += [f"pending {since(life.pending, origin)}"] if life.pending is not None else []
        took = (
            f" ({format_duration(life.fired - moved[1])} after the change)" if moved and moved[1] <= life.fired else ""
        )
        steps.append(f"firing {since(life.fired, origin)}{took}")
        steps += [f"delivered {since(self.arrived[0].at, origin)}"] if self.arrived else []
        return ", ".join(steps)


def _within(what: str, limit: float) -> str:
    return f"{what} within {format_duration(limit)}"
