"""How fast is the embedded Toxiproxy? ``python benchmarks/toxiproxy_speed.py`` prints two tables (5 to 20 minutes).

Compared with the original when ``toxiproxy-server`` is on PATH, alternately in the same run. ``--quick`` measures
less (1 minute), ``--only-throughput`` that alone, ``--check`` exits with 1 when a target is missed.

Figures of a busy machine swing. So what is compared was measured right after one another, a ratio is the median
of those of all rounds (not the quotient of the medians beside it), and the proxy's processor time for a unit of
work is told, which depends least on the neighbours. Without a C compiler the load comes from Python and is what
limits the rates. Throughput is what has arrived at the peer: socket buffers on the way hold hundreds of MB with 50
connections, and what is sent into them would count as much for a slow proxy as for a fast one. The direct
connection shows what the load itself can do.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from toxiproxy_accuracy import P50, P99, UP_TO, Accuracy, percentile, verdict
from toxiproxy_subjects import Load, Subject, direct, embedded, numbers_of, original, running

HELD = 5000
IDLE = 1000


@dataclass
class Row:
    """A line of the table: one value a round for each subject."""

    title: str
    digits: int = 0
    at_least: float | None = None
    """Target: embedded / original is no less."""
    at_most: float | None = None
    """Target: embedded / original is no more."""
    floor: float | None = None
    """Target: the embedded server's own value is no less."""
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, subject: Subject, value: float) -> None:
        """What one round gave."""
        self.values.setdefault(subject.name, []).append(value)

    def ratio(self) -> float | None:
        """Embedded to original: the median of the rounds."""
        pairs = zip(self.values.get("embedded", []), self.values.get("original", []), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return median(ratios) if ratios else None

    def met(self) -> bool | None:
        """Whether the target is met; None without a target, or without the original to compare with."""
        ratio = self.ratio()
        if self.floor is not None:
            return median(self.values["embedded"]) >= self.floor if "embedded" in self.values else None
        if ratio is None or (self.at_least is None and self.at_most is None):
            return None
        return ratio >= self.at_least if self.at_least is not None else ratio <= (self.at_most or 0)

    def target(self) -> str:
        """As it stands in the table."""
        if self.floor is not None:
            return f"≥ {self.floor:,g}"
        if self.at_least is not None:
            return f"≥ {self.at_least:g} ×"
        return f"≤ {self.at_most:g} ×" if self.at_most is not None else ""

    def cells(self) -> list[str]:
        """The line."""
        shown = [
            f"{median(self.values[name]):,.{self.digits}f}" if name in self.values else ""
            for name in ("direct", "original", "embedded")
        ]
        ratio = self.ratio()
        return [self.title, *shown, "" if ratio is None else f"{ratio:.2f} ×", self.target(), verdict(self.met())]


class Speed:
    """The fast path: no toxic."""

    def __init__(self, load: Load, seconds: float) -> None:
        self.load = load
        self.seconds = seconds
        self.rows: list[Row] = []
        self._direct_trip: list[float] = []
        self.flood_1 = self._row("throughput, 1 connection (MB/s)", at_least=1.5)
        self.flood_1_cpu = self._row("· processor time of the proxy (ms/GB)")
        self.flood_50 = self._row("throughput, 50 connections (MB/s)", at_least=2)
        self.flood_50_cpu = self._row("· processor time of the proxy (ms/GB)")
        self.least = self._row("· least served connection (share of its fair part)", 2, floor=0.5)
        self.trips = self._row("round trips/s, 50 connections", at_least=1.2)
        self.trips_cpu = self._row("· processor time of the proxy (µs each)", 1)
        self.trip_p50 = self._row("round trip, 1 connection: time added to direct, p50 (µs)", 0, at_most=1.0)
        self.trip_p99 = self._row("· p99 (µs)", 0, at_most=1.2)
        self.beside = self._row("· beside 50 connections at full throughput, p99 (ms)", 1)
        self.connections = self._row("new connections/s, 10 at a time", at_least=1.5)
        self.connections_cpu = self._row("· processor time of the proxy (µs each)")
        self.idle = self._row(f"memory at {IDLE:,} idle connections (MB)", 1, at_most=0.35)
        self.held = self._row(f"of {HELD:,} connections, held and served", floor=HELD)
        self.held_memory = self._row("· memory (MB)", 1)

    def _row(
        self,
        title: str,
        digits: int = 0,
        at_least: float | None = None,
        at_most: float | None = None,
        floor: float | None = None,
    ) -> Row:
        self.rows.append(Row(title, digits, at_least, at_most, floor))
        return self.rows[-1]

    def round(self, subjects: list[Subject]) -> None:
        """Each measurement once, for one subject after the other. The direct connection comes first."""
        self.throughput(subjects)
        for measure in (self._trips, self._trip, self._connections):
            for subject in subjects:
                measure(subject)

    def throughput(self, subjects: list[Subject]) -> None:
        """That part of a round."""
        for measure in (self._flood_1, self._flood_50):
            for subject in subjects:
                measure(subject)

    def _costed(self, subject: Subject, row: Row, what: str, count: int) -> list[int]:
        """Run a load; the proxy's processor microseconds for each thing done."""
        before = subject.cpu()
        found = self.load.run(what, subject.port, count, self.seconds, 0)
        if subject.pid:
            row.add(subject, (subject.cpu() - before) * 1e6 / len(found))
        return found

    def _flood(self, subject: Subject, row: Row, cpu: Row, count: int) -> list[int]:
        """The bytes of each connection that arrived in time."""
        before = subject.cpu()
        found = self.load.run("flood", subject.port, count, self.seconds, subject.peer)
        arrived, sent = found[:count], found[count:]
        if subject.pid:
            cpu.add(subject, (subject.cpu() - before) * 1e12 / sum(sent))
        row.add(subject, sum(arrived) / self.seconds / 1e6)
        return arrived

    def _flood_1(self, subject: Subject) -> None:
        self._flood(subject, self.flood_1, self.flood_1_cpu, 1)

    def _flood_50(self, subject: Subject) -> None:
        arrived = self._flood(subject, self.flood_50, self.flood_50_cpu, 50)
        self.least.add(subject, min(arrived) * len(arrived) / max(1, sum(arrived)))

    def _trips(self, subject: Subject) -> None:
        self.trips.add(subject, len(self._costed(subject, self.trips_cpu, "trips", 50)) / self.seconds)

    def _trip(self, subject: Subject) -> None:
        took = [ns / 1e3 for ns in self.load.run("trips", subject.port, 1, self.seconds, 0)]
        if not subject.pid:
            self._direct_trip.append(median(took))
        self.trip_p50.add(subject, median(took) - (self._direct_trip[-1] if subject.pid else 0))
        self.trip_p99.add(subject, percentile(took, 0.99) - (self._direct_trip[-1] if subject.pid else 0))
        with running(self.load.start("flood", subject.port, 50, self.seconds * 1.5, subject.peer)) as beside:
            took = [ns / 1e6 for ns in self.load.run("trips", subject.port, 1, self.seconds, 0)]
            numbers_of(beside)  # to its end: the next subject must not be measured beside it
        self.beside.add(subject, percentile(took, 0.99) if took else self.seconds * 1e3)

    def _connections(self, subject: Subject) -> None:
        done = self._costed(subject, self.connections_cpu, "connect", 10)
        self.connections.add(subject, len(done) / self.seconds)

    def hold(self, start: Callable[[], Subject]) -> None:
        """Memory with many idle connections, of a server that has done nothing else; and are they served?"""
        subject = start()
        self.idle.add(subject, self._held(subject, IDLE)[1])
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * HELD + 100:
            return
        held, memory = self._held(subject, HELD)
        self.held.add(subject, held)
        self.held_memory.add(subject, memory)

    def _held(self, subject: Subject, count: int) -> tuple[int, float]:
        with running(self.load.start("hold", subject.port, count)) as holding:
            assert holding.stdout is not None
            holding.stdout.readline()
            time.sleep(0.5)
            memory = subject.memory()
            try:
                return numbers_of(holding)[0], memory
            except RuntimeError:  # it has said on stderr how many could be had
                return 0, memory


def table(head: list[str], lines: list[list[str]], texts: int) -> None:
    """Print as Markdown; all but the first columns are numbers."""
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" if column < texts else "---:" for column in range(len(head))) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


def main() -> int:
    """Measure and print; 1 when ``--check`` is given and a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only-throughput", action="store_true", help="nothing else")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    servers = [original, embedded] if shutil.which("toxiproxy-server") else [embedded]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        load = Load(folder)
        speed = Speed(load, 0.3 if options.quick else 0.5)
        accuracy = Accuracy(load, 1, 1) if options.quick else Accuracy(load, 5, 10)
        for server in [] if options.only_throughput else servers:
            with ExitStack() as alone:
                speed.hold(lambda server=server, alone=alone: alone.enter_context(server(load, folder)))  # type: ignore[misc]
        subjects = [stack.enter_context(server(load, folder)) for server in servers]
        everybody = [stack.enter_context(direct(load)), *subjects]
        for _ in range(3 if options.quick else 7):
            speed.throughput(everybody) if options.only_throughput else speed.round(everybody)
        if not options.only_throughput:
            accuracy.measure(subjects)
    measured = [row.cells() for row in speed.rows if row.values]
    table(["", "direct", "original", "embedded", "ratio", "target", ""], measured, 1)
    if accuracy.lines:
        shown = ("late p50 (ms)", "p99", "early", "quiet rounds")
        heads = [f"{server.__name__}: {what}" for server in servers for what in shown]
        target = f"p50 ≤ {P50:g}, p99 ≤ {P99:g} up to {UP_TO}; never early"
        table(["latency", "connections", *heads, target], accuracy.lines, 1)
    missed = sum(row.met() is False for row in speed.rows) + accuracy.missed
    print(f"Targets missed: {missed}. Took {time.monotonic() - began:.0f} s.", end=" ")
    print("" if load.light else "No C compiler: the load was made by Python, and limits the rates.", end=" ")
    print("" if len(servers) == 2 else "toxiproxy-server is not on PATH: not compared.")
    return int(options.check and missed > 0)


if __name__ == "__main__":
    sys.exit(main())
