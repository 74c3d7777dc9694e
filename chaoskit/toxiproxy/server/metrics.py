"""``/metrics``: Prometheus text, live (the original adds the bytes of a connection when it closes)."""

from __future__ import annotations

import resource
import time

from chaoskit.toxiproxy.server.api import Answer, Request, Route
from chaoskit.toxiproxy.server.proxy import Proxy
from chaoskit.toxiproxy.server.state import State

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


class Metrics:
    """The handler of ``/metrics`` for the two flags of the command line."""

    def __init__(self, state: State, proxies: bool, runtime: bool) -> None:
        self._state = state
        self._proxies = proxies
        self._runtime = runtime
        self._started = time.time()
        self.route = Route(("metrics",), {"*": self._metrics})

    def _metrics(self, _names: list[str], _request: Request) -> Answer:
        lines: list[str] = []
        if self._runtime:
            lines += self._process()
        if self._proxies:
            for which in ("received", "sent"):
                lines.append(f"# TYPE toxiproxy_proxy_{which}_bytes_total counter")
                for proxy in self._state.proxies.values():
                    lines += _proxy_lines(which, proxy)
        return Answer(200, "".join(f"{line}\n" for line in lines).encode(), _CONTENT_TYPE)

    def _process(self) -> list[str]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            ("process_cpu_seconds_total", "counter"): usage.ru_utime + usage.ru_stime,
            ("process_max_resident_memory_bytes", "gauge"): usage.ru_maxrss * 1024,
            ("process_start_time_seconds", "gauge"): self._started,
        }
        lines = []
        for (name, kind), value in figures.items():
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return lines


def _proxy_lines(which: str, proxy: Proxy) -> list[str]:
    live = [link.bytes() for link in proxy.links.values()]
    lines = []
    for direction, total, at in (
        ("upstream", proxy.count.upstream, 0),
        ("downstream", proxy.count.downstream, 2),
    ):
        if which == "received":
            value = total.read + sum(figures[at] for figures in live)
        else:
            value = total.written + sum(figures[at + 1] for figures in live)
        labels = {
            "direction": direction,
            "listener": proxy.listen,
            "proxy": proxy.name,
            "upstream": proxy.upstream,
        }
        text = ",".join(f'{name}="{_escape(label)}"' for name, label in labels.items())
        lines.append(f"toxiproxy_proxy_{which}_bytes_total{{{text}}} {value}")
    return lines


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
