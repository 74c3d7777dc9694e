"""Swallow what goes through a proxy."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.faults._fields import Millis, millis
from chaoskit.faults._toxic import ToxicFault


class Timeout(ToxicFault):
    """Drops all data and keeps connections open: a black hole, as behind a firewall that forgot its states.

    Rehearses the failure that only a time limit finds: nothing is refused and nothing comes.

    Arguments:

    - ``on``: the service whose proxy it is set on. New connections are accepted.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``after``: close a connection when nothing has come on it for so long (``2s``, in whole milliseconds); ``0s``,
      the default, never closes.
    - ``direction``: ``downstream`` (answers vanish, the default) or ``upstream`` (requests vanish, so that the
      service never sees them).
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    When the window ends every connection is closed, as parts of its stream are missing.

    Evidence counts the ``connections`` of which data was dropped or which were closed after their time.
    """

    after: Millis = 0.0

    toxic: ClassVar[str] = "timeout"

    def attributes(self) -> dict[str, int]:
        """In milliseconds; 0 is never."""
        return {"timeout": millis(self.after)}
