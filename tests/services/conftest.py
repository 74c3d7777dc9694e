"""Services started for a test, which leave nothing behind."""

from __future__ import annotations

import pytest

from chaoskit.history.rows import Event, Log
from chaoskit.language.service import ServiceSpec
from chaoskit.services.create import create
from chaoskit.system.journal import Journal


class Bench:
    """Makes services, and keeps the rows they emit."""

    def __init__(self, folder):
        self.folder = folder
        self.journal = Journal(folder / "run.journal")
        self.rows = []
        self.services = []

    def make(self, name="it", **spec):
        """A service, not started."""
        service = create(
            name, ServiceSpec(**spec), folder=self.folder / "run", journal=self.journal, emit=self.rows.append
        )
        self.services.append(service)
        return service

    def events(self, *without):
        """What happened, in the order of time."""
        found = sorted((row for row in self.rows if isinstance(row, Event)), key=lambda row: row.at)
        return [row.what for row in found if row.what not in without]

    def event(self, what):
        """The latest event of a kind."""
        return [row for row in self.rows if isinstance(row, Event) and row.what == what][-1]

    def lines(self):
        """Log lines."""
        return [row.line for row in self.rows if isinstance(row, Log)]


@pytest.fixture
def bench(tmp_path):
    """At the end all services are stopped, and neither folder nor journal entry is left."""
    made = Bench(tmp_path)
    yield made
    for service in made.services:
        service.stop()
    assert made.journal.open_entries() == []
    made.journal.close()
    assert list((tmp_path / "run").glob("*")) == []
