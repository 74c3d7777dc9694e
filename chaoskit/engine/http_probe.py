"""Whether what a link leads to answers: asked directly, on this machine or on a host that was allowed."""

from __future__ import annotations

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.errors import BrokenError
from chaoskit.base.http_calls import CallFailed, Outgoing

LIMIT = 5.0
"""Seconds that connecting, and each wait for data, may take."""


def status_of(url: str, radius: BlastRadius) -> int:
    """The status of a GET; a redirect is an answer and is not followed.

    Raises BrokenError for what is no HTTP link, for a host beyond the blast radius, and when no answer comes.
    """
    try:
        return Outgoing("GET", url, timeout=LIMIT).send(radius).status
    except CallFailed as error:
        raise BrokenError(str(error)) from None
