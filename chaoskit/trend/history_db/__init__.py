"""The runs of a project in one SQLite file (``reports/history.db``): what compare, trends and the gate look back at.

Any number of processes may write at once: each run is one immediate transaction, which waits for the others.
"""

from __future__ import annotations

from chaoskit.trend.history_db.revision import Revision, find_revision
from chaoskit.trend.history_db.select import LATEST, PREVIOUS, folders, select, selected
from chaoskit.trend.history_db.store import FILE, KEEP, Database, Entry

__all__ = [
    "FILE",
    "KEEP",
    "LATEST",
    "PREVIOUS",
    "Database",
    "Entry",
    "Revision",
    "find_revision",
    "folders",
    "select",
    "selected",
]
