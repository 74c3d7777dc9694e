"""What the API answers when it does not do what was asked."""

from __future__ import annotations

from chaoskit.toxiproxy.server.decode import BodyError


class ApiError(Exception):
    """An answer other than success: its text and its HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def bad_body(error: BodyError) -> ApiError:
    """The answer to a body that cannot be read."""
    return ApiError(f"bad request body: {error}", 400)
