"""How the services of an environment find each other, and how the proxy of one is led to another and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from chaoskit.engine.platform import Proxy
from chaoskit.language.template import RECEIVER
from chaoskit.services.base import Address, Neighbours, Service
from chaoskit.toxiproxy.client import ToxiproxyControl


class Neighbourhood:
    """Of one environment. ``services`` and ``proxies`` are its own mappings, which change as it changes."""

    def __init__(
        self,
        services: Mapping[str, Service],
        proxies: Mapping[str, Proxy],
        control: Callable[[], ToxiproxyControl],
        *,
        folder: Path,
        receiver: Callable[[], Mapping[str, Any]],
        alerting: str,
        firing: Callable[[], Iterable[Mapping[str, str]]],
    ) -> None:
        self._services = services
        self._proxies = proxies
        self._control = control
        self._receiver = receiver
        self._moved: set[str] = set()
        self._neighbours = Neighbours(
            services,
            self._link,
            self._redirect,
            folder=folder,
            receiver=receiver,
            alerting=alerting,
            firing=firing,
        )

    def introduce(self, newcomers: Mapping[str, Service]) -> None:
        """Tell services who else is there."""
        for service in newcomers.values():
            service.join(self._neighbours)

    def restore(self) -> None:
        """Lead every proxy to where it belongs. Raises BrokenError."""
        while self._moved:
            name = self._moved.pop()
            self._lead(name, self._services[name].upstream)

    def addresses(self, *, inside: bool) -> dict[str, dict[str, Any]]:
        """What templates may ask of each service. ``url``, ``host`` and ``port`` lead through its proxy.

        ``inside``: as the services themselves see it, not we (the same unless they have a network of their own).
        """
        found: dict[str, dict[str, Any]] = {RECEIVER: dict(self._receiver())}
        for name, service in self._services.items():
            direct: Address = service.inside if inside else (service.host, service.port)
            proxy = self._proxies.get(name) if service.upstream == service.inside else None
            host, port = direct if proxy is None else proxy.inside if inside else proxy.outside
            found[name] = {
                "host": host,
                "port": port,
                "url": service.url(host, port),
                "direct_url": service.url(*direct),
                "failpoints_url": service.failpoints_url or "",
            }
        return found

    def _link(self, name: str) -> Address:
        proxy = self._proxies.get(name)
        return self._services[name].upstream if proxy is None else proxy.inside

    def _redirect(self, name: str, to: str) -> None:
        self._moved.add(name)
        self._lead(name, self._services[to].inside)

    def _lead(self, name: str, to: Address) -> None:
        self._control().set_upstream(name, f"{to[0]}:{to[1]}")
