"""What the engine adds to a fault made of toxics: the run's seed, a name of its own, and a lease."""

from __future__ import annotations

from pathlib import Path

import requests

from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load


def test_seed_name_and_lease(project, tmp_path):
    """The embedded server gets the seed; the toxic is named after the fault and outlives its window by little."""
    file = project(delay="50ms", length="2s")
    file.write_text(file.read_text().replace("delay: 50ms}", "delay: 50ms, connections: {after: 0}}"))
    (scenario,) = load(file)
    session = Session(tmp_path / "reports", seed=4711, toxiproxy="embedded")
    seen = []

    def look(_progress):
        (live,) = session._environments.values()
        seen.extend(requests.get(f"{live.toxiproxy._consumer.url}/proxies/stub/toxics", timeout=5).json())

    try:
        result = session.run(scenario, on_progress=look)
        (pidfile,) = session.folder.rglob("toxiproxy-embedded.pid")
        command = Path("/proc", pidfile.read_text().split()[0], "cmdline").read_text().split("\0")
    finally:
        session.close()
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    assert command[command.index("-seed") + 1] == "4711"
    assert {(toxic["name"], toxic["ttl"], toxic["after"]) for toxic in seen} == {("chaoskit-slow-latency", 12_000, 0)}


def test_a_toxic_that_is_taken_away_breaks_the_run(project, tmp_path):
    """Whoever removes it in mid-window: the fault was not there all the time, so the verdict would mean nothing."""
    (scenario,) = load(project(length="2s"))
    session = Session(tmp_path / "reports", toxiproxy="embedded")

    def remove(progress):
        if progress.phase == "faults":
            (live,) = session._environments.values()
            live.toxiproxy.remove_toxic("stub", "chaoskit-slow-latency")

    try:
        result = session.run(scenario, on_progress=remove)
    finally:
        session.close()
    assert result.verdict.outcome is Outcome.BROKEN
    assert "chaoskit-slow-latency was gone before its time" in str(result.verdict.reason)
    (fault,) = result.history.rows(r.Fault)
    assert fault.error is not None
