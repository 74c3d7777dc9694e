"""What chaoskit adds to Toxiproxy, under ``/chaoskit/``: HTTP taps, the ledger, live counters."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from chaoskit.toxiproxy.server.api import Answer, Request, Route, json_answer
from chaoskit.toxiproxy.server.decode import BodyError, decode
from chaoskit.toxiproxy.server.errors import ApiError, bad_body
from chaoskit.toxiproxy.server.ledger import encode
from chaoskit.toxiproxy.server.proxy import Proxy, connection_line
from chaoskit.toxiproxy.server.state import State
from chaoskit.toxiproxy.server.tap import TapConfig


class Extensions:
    """The handlers. ``routes`` go into the API."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.routes = [
            Route(("chaoskit", "taps", None), {"PUT": self._tap_on, "DELETE": self._tap_off}),
            Route(("chaoskit", "events"), {"GET": self._events}),
            Route(("chaoskit", "counters"), {"GET": self._counters}),
        ]

    def _tap_on(self, names: list[str], request: Request) -> Answer:
        proxy = self._state.proxy(names[0])
        proxy.set_tap(_tap_config(request.body))
        return Answer(204)

    def _tap_off(self, names: list[str], _request: Request) -> Answer:
        self._state.proxy(names[0]).set_tap(None)
        return Answer(204)

    def _events(self, _names: list[str], request: Request) -> Answer:
        query = dict(part.partition("=")[::2] for part in request.query.split("&"))
        since = query.get("since", "0")
        if not (since.isascii() and since.isdigit()):
            raise ApiError("since must be a cursor, as given in next", 400)
        still_open = self._open_rows() if query.get("flush", "0") not in ("", "0") else ()
        text = self._state.context.ledger.since(int(since), still_open)
        return Answer(200, text.encode(), "application/x-ndjson")

    def _open_rows(self) -> Iterator[str]:
        now = monotonic()
        for proxy in self._state.proxies.values():
            for link in proxy.links.values():
                if link.tap is not None:
                    for row in link.tap.open_rows():
                        yield encode("exchanges", row, still_open=True)
                yield connection_line(link, now, still_open=True)

    def _counters(self, _names: list[str], _request: Request) -> Answer:
        return json_answer({name: figures(proxy) for name, proxy in self._state.proxies.items()})


def figures(proxy: Proxy) -> dict[str, Any]:
    """The counters of one proxy, as of now. They never go back while the proxy exists."""
    count = proxy.count
    live = [link.bytes() for link in proxy.links.values()]
    return {
        "opened": count.opened,
        "active": len(live),
        "refused_upstream": count.refused_upstream,
        "sent": count.upstream.written + sum(figure[1] for figure in live),
        "received": count.downstream.written + sum(figure[3] for figure in live),
        "requests": count.requests,
        "ended_upstream": count.ended_upstream,
        "reset_upstream": count.reset_upstream,
        "toxics": {name: toxic.as_dict() for name, toxic in count.toxics.items()},
    }


def _tap_config(body: bytes) -> TapConfig:
    try:
        value = decode(body)
    except BodyError as error:
        raise bad_body(error) from None
    if not isinstance(value, dict) or value.get("protocol", "http") != "http":
        raise ApiError('bad request body: a tap is {"protocol": "http", "id_headers": [...], ...}', 400)
    mirror = value.get("mirror", False)
    if not isinstance(mirror, bool):
        raise ApiError("bad request body: mirror must be true or false", 400)
    return TapConfig(_names_in(value, "id_headers"), _names_in(value, "note_headers"), mirror)


def _names_in(value: dict[str, Any], field: str) -> list[str]:
    names = value.get(field, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ApiError(f"bad request body: {field} must be a list of header names", 400)
    return names
