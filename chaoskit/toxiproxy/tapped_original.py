"""A real Toxiproxy with our tap in front of it: the real one injects, the tap observes.

Each proxy exists twice: clients connect to the embedded server, which passes everything on, unchanged, to a
proxy of the real server, which leads to the service. Toxics are set on the real one, and those that it does not
know on the tap. The tap passes a reset on as a reset and closes its listener while the proxy is down, so a client
sees what it would see without it.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress, ProxyCounters, Toxic, ToxicCounters


class FrontedToxiproxy(ToxiproxyControl):
    """Controls the pair. Proxies carry ``prefix`` on the real server, which may be shared with others.

    The real server does not tell what a toxic did; :meth:`counters` infers it from what the tap saw while the
    toxic was set: ``connections`` that were open while bytes passed, the ``bytes``, and as ``cut`` the
    connections that ended from the server's side.

    A toxic that is ``own``, or for some ``connections`` only, is set on the tap, nearer to the client than
    all on the real server, and tells itself what it did. A ``lease`` is kept there only.
    """

    def __init__(
        self, tap_url: str, real: ToxiproxyControl, prefix: str, timeout: float = 5.0, token: str = ""
    ) -> None:
        """``token`` is the tap's."""
        super().__init__(tap_url, timeout, token)
        self.real = real
        self._prefix = prefix
        self._lock = threading.Lock()
        self._before: dict[tuple[str, str], ProxyCounters] = {}
        self._after: dict[tuple[str, str], ProxyCounters] = {}
        self._on_tap: set[tuple[str, str]] = set()

    def _name(self, proxy: str) -> str:
        return f"{self._prefix}{proxy}"

    def create_proxy(self, name: str, upstream: str, listen: str = "127.0.0.1:0") -> ProxyAddress:
        """A proxy on the real server, and the tap in front of it, whose address is given."""
        inner = self.real.create_proxy(self._name(name), upstream)
        outer = super().create_proxy(name, f"{inner.host}:{inner.port}", listen)
        super().set_tap(name, [], [], mirror=True)
        return outer

    def delete_proxy(self, name: str) -> None:
        """Remove both."""
        super().delete_proxy(name)
        self.real.delete_proxy(self._name(name))

    def places(self, name: str) -> list[tuple[str, str]]:
        """On the real server, then on the tap."""
        return [*self.real.places(self._name(name)), *super().places(name)]

    def set_upstream(self, name: str, upstream: str) -> None:
        """Lead the real proxy elsewhere; the tap mirrors that its connections are closed."""
        self.real.set_upstream(self._name(name), upstream)

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Clients are refused by the tap before the real one closes, and let in after it has opened."""
        if enabled:
            self.real.set_enabled(self._name(name), True)
        super().set_enabled(name, enabled)
        if not enabled:
            self.real.set_enabled(self._name(name), False)

    def set_toxic(self, proxy: str, toxic: Toxic) -> None:
        """Add it on the real server, or on the tap when the real one could not do it."""
        key = (proxy, toxic.name)
        if toxic.embedded_only:
            with self._lock:
                self._on_tap.add(key)
                self._before.pop(key, None)
            super().set_toxic(proxy, toxic)
            return
        before = super().counters()[proxy]
        with self._lock:
            self._before[key] = before
            self._on_tap.discard(key)
            self._after.pop(key, None)
        self.real.set_toxic(self._name(proxy), replace(toxic, lease=None))

    def update_toxic(self, proxy: str, name: str, attributes: dict[str, int], toxicity: float | None = None) -> None:
        """Update it where it was set."""
        if (proxy, name) in self._on_tap:
            super().update_toxic(proxy, name, attributes, toxicity)
            return
        self.real.update_toxic(self._name(proxy), name, attributes, toxicity)

    def remove_toxic(self, proxy: str, name: str) -> bool:
        """Remove it from where it was set."""
        if (proxy, name) in self._on_tap:
            removed = super().remove_toxic(proxy, name)
            self._on_tap.discard((proxy, name))
            return removed
        after = super().counters().get(proxy)
        with self._lock:
            if after is not None and (proxy, name) in self._before:
                self._after.setdefault((proxy, name), after)
        return self.real.remove_toxic(self._name(proxy), name)

    def reset(self) -> None:
        """Remove our toxics and enable our proxies; what others have on the real server is left alone."""
        with self._lock:
            set_here = [*(key for key in self._before if key not in self._after), *self._on_tap]
        for proxy, name in set_here:
            self.remove_toxic(proxy, name)
        for proxy in super().counters():
            self.set_enabled(proxy, True)

    def version(self) -> str:
        """Of the real server."""
        return self.real.version()

    def set_tap(self, proxy: str, id_headers: list[str], note_headers: list[str], mirror: bool = True) -> None:
        """The tap always mirrors here."""
        super().set_tap(proxy, id_headers, note_headers, mirror=mirror)

    def remove_tap(self, proxy: str) -> None:
        """Stop looking into the traffic, but go on mirroring."""
        super().set_tap(proxy, [], [], mirror=True)

    def counters(self) -> dict[str, ProxyCounters]:
        """What the tap saw, with what toxics on the real server did inferred."""
        now = super().counters()
        with self._lock:
            toxics: dict[str, dict[str, ToxicCounters]] = {}
            for (proxy, name), before in self._before.items():
                if proxy in now:
                    after = self._after.get((proxy, name), now[proxy])
                    toxics.setdefault(proxy, {})[name] = _inferred(before, after)
        return {proxy: _with(counters, toxics.get(proxy, {})) for proxy, counters in now.items()}

    def close(self) -> None:
        """Close both sessions."""
        super().close()
        self.real.close()


def _inferred(before: ProxyCounters, after: ProxyCounters) -> ToxicCounters:
    passed = (after.sent - before.sent) + (after.received - before.received)
    cut = after.ended_upstream - before.ended_upstream
    present = before.active + after.opened - before.opened
    # The tap tells neither chunks nor which connection carried the bytes: all that were there may have.
    return ToxicCounters(connections=present if passed or cut else 0, chunks=0, bytes=passed, cut=cut)


def _with(counters: ProxyCounters, toxics: dict[str, ToxicCounters]) -> ProxyCounters:
    return replace(counters, toxics={**counters.toxics, **toxics})
