"""What the failpoints of a process refuse. The texts are gofail's, with the reason appended."""

from __future__ import annotations


class FailpointsError(Exception):
    """A request that cannot be carried out; the text is complete."""


class UnknownFailpoint(FailpointsError):
    """No failpoint has this name (yet)."""

    def __init__(self, why: str = "") -> None:
        super().__init__("failpoint: failpoint does not exist" + (f": {why}" if why else ""))


class DisabledFailpoint(FailpointsError):
    """The failpoint exists, but is not active."""

    def __init__(self) -> None:
        super().__init__("failpoint: failpoint is disabled")


class BadTerms(FailpointsError):
    """The terms cannot be read, or cannot be used at this place."""

    def __init__(self, why: str) -> None:
        super().__init__(f"failpoint: could not parse terms: {why}")
