"""Histories made up for the tests of figures: what was seen is known, nothing ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.judge.judging import judge
from chaoskit.judge.verdict import Verdict
from chaoskit.language.loader import load
from chaoskit.language.scenario import Scenario
from chaoskit.report import figures

SVG = "{http://www.w3.org/2000/svg}"

TEXT = """\
scenario: {name}
case: C1
severity: critical
environment: {{services: {{stub: {{provider: noop, metrics: /metrics}}, dep: {{provider: noop, protocol: http}}}}}}
{more}
traffic:
  ask: {{request: "GET {{{{ stub.url }}}}/", rate: 50/s, fallback: {{header: {{x: y}}}}}}
{operations}
steady_state: {{ask: {{success_rate: ">= 99%", p95: "< 400ms"}}}}
timeline:
  steady: 3s
  faults: [{faults}]
  recovery: 8s
expect:
  during: {{ask: {{p95: "{during}", success_rate: ">= 90%"}}}}
  recovery: {{within: 4s}}
{expect}
"""

START, FAULT = 1000.0, 1003.0
"""When the made-up scenarios begin, and their first fault."""


def scenarios(
    folder: Path, *, faults: int = 1, every: int = 1, length: int = 1, operations: int = 0, name: str = "Made up",
    more: str = "", expect: str = "", during: str = "< 1s",
) -> list[Scenario]:  # fmt: skip
    """Scenarios of one file with ``faults`` faults of ``length`` seconds, ``every`` so many, and more operations."""
    others = [f'  op-{number}: {{request: "GET {{{{ stub.url }}}}/", rate: 5/s}}' for number in range(operations)]
    entries = ", ".join(
        f"{{fault-{number}: {{noop: {{}}, at: {number * every}s, for: {length}s}}}}" for number in range(faults)
    )
    file = folder / "made-up.chaos.yaml"
    file.write_text(
        TEXT.format(name=name, faults=entries, more=more, expect=expect, during=during, operations="\n".join(others)),
        encoding="utf-8",
    )
    return load(file)


def always(_: float) -> bool:
    """For requests that all end the same."""
    return True


def never(_: float) -> bool:
    """The other way round."""
    return False


@dataclass
class Made:
    """A history under construction. Times are seconds after the first fault."""

    history: History = field(default_factory=History)

    def phases(self, *ends: float, names: Sequence[str] = ("steady", "faults", "recovery", "after")) -> Made:
        """Phases from three seconds before the fault on, up to these moments."""
        start = -3.0
        for name, end in zip(names, ends, strict=False):
            self.history.add(r.Phase(name=name, started=FAULT + start, ended=FAULT + end))
            start = end
        return self

    def fault(self, number: int, start: float, end: float, *, touched: int = 3, error: str | None = None) -> Made:
        """A fault that acted."""
        self.history.add(
            r.Fault(
                name=f"fault-{number}", kind="noop", target="dep", planned_start=FAULT + start,
                planned_end=FAULT + end, started=FAULT + start, injected=FAULT + start, ended=FAULT + end,
                touched=touched, unit="connections", error=error,
            )
        )  # fmt: skip
        return self

    def requests(
        self,
        start: float,
        end: float,
        *,
        rate: float = 50.0,
        seconds: Callable[[float], float] = lambda _: 0.05,
        ok: Callable[[float], bool] = always,
        fallback: Callable[[float], bool] = never,
        op: str = "ask",
    ) -> Made:
        """Requests at a constant rate; how each fares is a function of when it was to be sent."""
        for number in range(max(1, round((end - start) * rate))):
            at = start + number / rate
            self.history.add(
                r.Request(
                    op=op, seq=number, stream=f"base:{op}", intended=FAULT + at, sent=FAULT + at,
                    ended=FAULT + at + seconds(at), status=200 if ok(at) else 503, error=None, ok=ok(at),
                    fallback=ok(at) and fallback(at), id=f"{op}-{number}",
                )
            )  # fmt: skip
        return self

    def exchange(self, id: str, start: float, seconds: float, status: int | None = 200) -> Made:
        """A call at the proxy of ``dep``."""
        begun, ended = FAULT + start, FAULT + start + seconds
        self.history.add(
            r.Exchange(
                proxy="dep", conn=1, method="GET", path="/", id=id, started=begun, sent=begun, answered=ended,
                ended=ended, status=status, end="complete" if status else "reset",
            )
        )  # fmt: skip
        return self

    def event(self, service: str, at: float, what: str, **more: object) -> Made:
        """Something that happened to a process."""
        self.history.add(r.Event(service=service, at=FAULT + at, what=what, pid=7, **more))  # type: ignore[arg-type]  # as given
        return self

    def closed(self) -> Made:
        """The generator closed its schedule: the run came to its end."""
        self.history.add(r.Schedule(at=FAULT, planned=1, sent=1, lag_p50=0.0, lag_p99=0.0, lag_max=0.0))
        return self

    def judged(self, scenario: Scenario) -> Verdict:
        """What it comes to."""
        return judge(scenario, self.history)


def usual(faults: int = 1) -> Made:
    """A scenario that went well: faults of a second each, some fallbacks, recovery."""
    made = Made().phases(0.0, float(faults), faults + 3.0)
    for number in range(faults):
        made.fault(number, float(number), number + 1.0)
    return made.requests(-3.0, faults + 3.0, fallback=lambda at: 0 <= at < faults).closed()


class Drawing:
    """A drawn figure, its SVG taken apart."""

    def __init__(self, picture: figures.Picture) -> None:
        self.picture = picture
        self.root = ElementTree.fromstring(picture.svg)  # raises when it is no XML

    @property
    def texts(self) -> list[str]:
        """Every text in it."""
        return ["".join(element.itertext()) for element in self.root.iter(f"{SVG}text")]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.texts)

    def ids(self, beginning: str) -> list[str]:
        """Ids of elements that begin so, in order."""
        found = [element.get("id", "") for element in self.root.iter()]
        return sorted(name for name in found if name.startswith(beginning))

    @property
    def sizes(self) -> set[float]:
        """Sizes of type, in points."""
        styles = [element.get("style", "") for element in self.root.iter(f"{SVG}text")]
        return {float(style.partition("font-size: ")[2].partition("px")[0]) for style in styles}


def drawn(scenario: Scenario, made: Made, note: str = "") -> dict[str, Drawing]:
    """All figures of a scenario, by name."""
    pictures = figures.draw(scenario, made.history, made.judged(scenario), note=note)
    return {picture.name: Drawing(picture) for picture in pictures}
