"""How the services of an environment find each other, and how the proxy of one is led to another and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from chaoskit.engine.platform import Proxy
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
        self._folder = folder
        self._receiver = receiver
        self._alerting = alerting
        self._firing = firing
        self._moved: set[str] = set()

    def introduce(self, newcomers: Mapping[str, Service]) -> None:
        """Tell services who else is there."""
        for service in newcomers.values():
            service.join(
                Neighbours(
                    self._services,
                    self._link,
                    self._redirect,
                    folder=self._folder,
                    receiver=self._receiver,
                    alerting=self._alerting,
                    firing=self._firing,
                )
            )

    def restore(self) -> None:
        """Lead every proxy to where it belongs. Raises BrokenError."""
        while self._moved:
            name = self._moved.pop()
            self._lead(name, self._services[name].upstream)

    def _link(self, name: str) -> Address:
        proxy = self._proxies.get(name)
        return self._services[name].upstream if proxy is None else proxy.inside

    def _redirect(self, name: str, to: str) -> None:
        self._moved.add(name)
        self._lead(name, self._services[to].inside)

    def _lead(self, name: str, to: Address) -> None:
        self._control().set_upstream(name, f"{to[0]}:{to[1]}")
