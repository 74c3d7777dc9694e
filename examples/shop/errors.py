"""The failures a request can end with on purpose. Anything else that is raised is a panic."""

from __future__ import annotations


class Refused(Exception):
    """The request is answered with ``status`` and ``{"error": code}``. ``retry_after`` in seconds, if any."""

    def __init__(self, status: int, code: str, *, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Unavailable(Refused):
    """A dependency cannot be used now: 503, and the client is told when to come back."""

    def __init__(self, code: str, *, retry_after: float = 1.0) -> None:
        super().__init__(503, code, retry_after=retry_after)
