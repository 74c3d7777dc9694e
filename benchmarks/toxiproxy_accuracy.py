"""How late is the latency toxic? The part of ``toxiproxy_speed.py`` that asks for fractions of a millisecond.

A virtual machine is stopped now and then for some milliseconds by its host, and every proxy on it is late then. The
kernel counts that time as "stolen". A round in which more than STOLEN of the time was taken tells of the host, not of
a proxy: it is measured again, up to a limit, and the table says how many rounds counted. A toxic that is *early* has
no such excuse: that is counted over all rounds.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from toxiproxy_subjects import Load, Subject

TRIPS_A_SECOND = 1000  # how exact it is, not how much it can do
DELAYS = (0.001, 0.010, 0.100)
CONNECTIONS = (1, 50, 500)
STOLEN = 0.005
"""Of the time of a round: half of the one percent that a 99th percentile leaves out."""
P50, P99, UP_TO = 0.3, 1.0, 50
"""The target: milliseconds, and the connections up to which it holds."""


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def verdict(met: bool | None) -> str:
    """As it stands in the tables."""
    return {True: "met", False: "**missed**", None: ""}[met]


def stolen() -> float:
    """Seconds the host has taken from all processors since the start; 0 where no kernel counts it."""
    try:
        fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    except OSError:
        return 0.0
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


@dataclass
class Round:
    """What one round of one subject gave, in ms; ``early`` is a share of the round trips, ``stolen`` of the time."""

    p50: float
    p99: float
    early: float
    stolen: float


@dataclass
class Rounds:
    """Those of one subject."""

    all: list[Round] = field(default_factory=list)

    @property
    def quiet(self) -> list[Round]:
        """In which the host took nothing worth telling."""
        return [each for each in self.all if each.stolen <= STOLEN]

    def values(self) -> tuple[float, float, float]:
        """Late p50 and p99: medians of the quiet rounds (of all when there is none); early: of all rounds."""
        counted = self.quiet or self.all
        return (
            median(each.p50 for each in counted),
            median(each.p99 for each in counted),
            sum(each.early for each in self.all) / len(self.all),
        )


class Accuracy:
    """How late the latency toxic is, beyond what the proxy takes anyhow; and is it ever early?"""

    def __init__(self, load: Load, enough: int, most: int) -> None:
        self.load = load
        self.enough = enough
        """Quiet rounds of each subject to be had,"""
        self.most = most
        """within so many rounds."""
        self.lines: list[list[str]] = []
        self.missed = 0

    def measure(self, subjects: list[Subject]) -> None:
        """All delays with all numbers of connections."""
        for count in CONNECTIONS:
            for delay in DELAYS:
                self.lines.append(self._line(subjects, delay, count))
                print("latency", *self.lines[-1], file=sys.stderr, flush=True)  # it takes minutes

    def _line(self, subjects: list[Subject], delay: float, count: int) -> list[str]:
        """One subject after the other, until each has its quiet rounds."""
        found = {subject.name: Rounds() for subject in subjects}
        for _ in range(self.most):
            for subject in subjects:
                found[subject.name].all.append(self._round(subject, delay, count))
            if all(len(rounds.quiet) >= self.enough for rounds in found.values()):
                break
        cells = [f"{delay * 1e3:g} ms", f"{count}"]
        for name, rounds in found.items():
            p50, p99, early = rounds.values()
            counted = f"{len(rounds.quiet)}/{len(rounds.all)}"
            cells += [f"{p50:.2f}", f"{p99:.2f}", f"{early:.0%}", counted]
            if name == "embedded":
                met = not early and (count > UP_TO or (p50 <= P50 and p99 <= P99))
                self.missed += not met
                cells.append(verdict(met))
        return cells

    def _round(self, subject: Subject, delay: float, count: int) -> Round:
        every = max(count / TRIPS_A_SECOND, delay * 1.1 + 0.005)
        plain = median(self.load.run("trips", subject.port, count, 0.3, every)) / 1e9
        seconds = max(2.0, (delay + 0.015) * 30)
        began, taken = time.monotonic(), stolen()
        with subject.latency(delay):
            took = [ns / 1e9 for ns in self.load.run("trips", subject.port, count, seconds, every)]
        share = (stolen() - taken) / (time.monotonic() - began)
        late = [(trip - plain - delay) * 1e3 for trip in took]
        early = sum(trip < delay for trip in took) / len(took)
        return Round(median(late), percentile(late, 0.99), early, share)
