"""Who may call an HTTP endpoint of ours: no browser, no page by a name of its own, and nobody without the token."""

from __future__ import annotations

from collections.abc import Callable

_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - what to look for, not what to listen on


class Guard:
    """Decides from the head of a request.

    A server on one address answers to loopback names and to that address only: so a page that makes its own
    name point here (DNS rebinding) gets nothing. A server on all addresses has no names to go by; there the
    token protects.
    """

    def __init__(self, *hosts: str, token: str = "") -> None:
        """``hosts``: the address listened on, as given and as a number. ``token``: empty for none."""
        self._hosts = {host.lower() for host in hosts}
        self._any_host = any(host in _ANY for host in hosts)
        self._token = f"Bearer {token}".encode() if token else b""

    def refusal(self, header: Callable[[str], str | None]) -> str:
        """Why a request is refused; empty when it is not. ``header`` gives a header by its name in lower case."""
        if header("origin") is not None:
            return "Origin not allowed"
        host = header("host")
        if host is not None and not self._any_host and not self._knows(host):
            return "Host not allowed"
        return ""

    def authorized(self, authorization: str) -> bool:
        """The token is right, or none is needed."""
        if not self._token:
            return True
        from hmac import compare_digest  # costs start-up time, and most servers have no token

        return compare_digest(authorization.encode("utf-8", "replace"), self._token)

    def _knows(self, host: str) -> bool:
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        return name in ("localhost", "::1") or _is_loopback(name) or name in self._hosts


def _is_loopback(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)
