"""The control of a Toxiproxy server, embedded or real: toxiproxy-python, adapted.

toxiproxy-python keeps host and port on a class (one server per process), opens a connection for each call and
waits without limit. :class:`_Consumer` gives each server a session of its own, with a time limit, and what is
missing (PATCH, PUT); nothing else in chaoskit knows of the package, and its exceptions end here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests
from toxiproxy.api import APIConsumer, validate_response
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.proxy import Proxy

from chaoskit.base.errors import BrokenError
from chaoskit.history.rows import Connection, Exchange
from chaoskit.toxiproxy import undo as undo  # the journal learns to undo what is changed here
from chaoskit.toxiproxy.facts import Attributes, Events, ProxyAddress, ProxyCounters, Toxic

T = TypeVar("T")


class _Page(msgspec.Struct):
    next: int
    dropped: int
    more: bool = False


class _Line(msgspec.Struct):
    kind: str
    row: msgspec.Raw
    open: bool = False


class _RefusedError(Exception):
    """An error status that toxiproxy-python lets pass. Holds the answer's body, like its own exceptions."""


class _Consumer(APIConsumer):  # type: ignore[misc]  # the package ships no types
    """toxiproxy-python's API consumer for one server: instance methods over a kept-alive session."""

    def __init__(self, url: str, timeout: float, token: str) -> None:
        self.url = url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.trust_env = False  # no HTTP proxy and no .netrc between us and the server
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, json: object = None) -> requests.Response:
        """One call. Raises requests' and toxiproxy-python's exceptions."""
        with self._lock:
            response = self._session.request(
                method, self.url + path, json=json, timeout=self._timeout, allow_redirects=False
            )
        validate_response(response)
        if response.status_code >= 300:
            raise _RefusedError(response.content)
        return response

    def close(self) -> None:
        self._session.close()


class ToxiproxyControl:
    """Controls one Toxiproxy server. May be used from several threads.

    Every method raises :class:`~chaoskit.base.errors.BrokenError` when the server does not answer within
    ``timeout`` seconds or refuses.
    """

    def __init__(self, url: str, timeout: float = 5.0, token: str = "") -> None:
        """``url`` is that of the API, such as ``http://127.0.0.1:8474``, ``token`` its TOXIPROXY_AUTH_TOKEN if any."""
        self._consumer = _Consumer(url.rstrip("/"), timeout, token)
        self._token = token

    def create_proxy(self, name: str, upstream: str, listen: str = "127.0.0.1:0") -> ProxyAddress:
        """Start a proxy to ``upstream`` (``host:port``). Port 0 in ``listen`` takes a free one."""
        body = {"name": name, "upstream": upstream, "listen": listen}
        proxy = self._do(f"create proxy {name!r}", lambda: Proxy(**self._post("/proxies", body).json()))
        host, _, port = proxy.listen.rpartition(":")
        host = host.strip("[]")
        return ProxyAddress(name, "127.0.0.1" if host in ("::", "0.0.0.0", "") else host, int(port))  # noqa: S104

    def delete_proxy(self, name: str) -> None:
        """Close a proxy and all its connections."""
        self._do(f"delete proxy {name!r}", lambda: self._consumer.call("DELETE", _proxy_path(name)))

    def places(self, name: str) -> list[tuple[str, str]]:
        """Where a proxy stands: URL of each server and its name there, the one nearest to the service first.

        A server's token stands in the URL as a password.
        """
        url = self._consumer.url
        return [(url.replace("://", f"://:{self._token}@", 1) if self._token else url, name)]

    def set_upstream(self, name: str, upstream: str) -> None:
        """Lead a proxy elsewhere (``host:port``), on the same port. Connections that are open are closed."""
        what = f"lead proxy {name!r} to {upstream}"
        self._do(what, lambda: self._consumer.call("PATCH", _proxy_path(name), {"upstream": upstream}))

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Take a proxy down (connections are closed, new ones refused) or up again, on the same port."""
        what = f"{'enable' if enabled else 'disable'} proxy {name!r}"
        self._do(what, lambda: self._consumer.call("PATCH", _proxy_path(name), {"enabled": enabled}))

    def add_toxic(
        self,
        proxy: str,
        name: str,
        type: str,
        attributes: Attributes,
        stream: str = "downstream",
        toxicity: float = 1.0,
    ) -> None:
        """Add a toxic that is described in full by these; in short for :meth:`set_toxic`."""
        self.set_toxic(proxy, Toxic(type, attributes, stream, toxicity, name))

    def set_toxic(self, proxy: str, toxic: Toxic) -> None:
        """Add a toxic, which acts on live connections at once."""
        self._do(
            f"add toxic {toxic.name!r} to {proxy!r}", lambda: self._post(f"{_proxy_path(proxy)}/toxics", toxic.body())
        )

    def update_toxic(self, proxy: str, name: str, attributes: dict[str, int], toxicity: float | None = None) -> None:
        """Change some attributes of a toxic, and its toxicity if given."""
        body: dict[str, object] = {"attributes": attributes}
        if toxicity is not None:
            body["toxicity"] = toxicity
        path = _toxic_path(proxy, name)
        self._do(f"update toxic {name!r} of {proxy!r}", lambda: self._consumer.call("PATCH", path, body))

    def remove_toxic(self, proxy: str, name: str) -> bool:
        """Remove a toxic. False when it (or the proxy) is not there."""

        def remove() -> bool:
            try:
                self._consumer.call("DELETE", _toxic_path(proxy, name))
            except NotFound:
                return False
            return True

        return self._do(f"remove toxic {name!r} of {proxy!r}", remove)

    def reset(self) -> None:
        """Enable all proxies and remove all toxics."""
        self._do("reset", lambda: self._post("/reset"))

    def version(self) -> str:
        """The server's version, such as ``2.12.0``."""
        return self._do("ask for the version", lambda: str(self._consumer.call("GET", "/version").json()["version"]))

    def set_tap(self, proxy: str, id_headers: list[str], note_headers: list[str], mirror: bool = False) -> None:
        """Watch the HTTP/1.1 exchanges of a proxy (embedded server only).

        An exchange's ``id`` is the value of the first of ``id_headers`` that its request has; ``note_headers``
        are kept in its ``headers``. With ``mirror`` a reset by one side reaches the other as a reset (otherwise
        as FIN), and the client is reset when the upstream cannot be connected.
        """
        body: dict[str, object] = {"id_headers": id_headers, "note_headers": note_headers}
        body |= {"protocol": "http", "mirror": mirror}
        path = f"/chaoskit/taps/{quote(proxy, safe='')}"
        self._do(f"tap proxy {proxy!r}", lambda: self._consumer.call("PUT", path, body))

    def remove_tap(self, proxy: str) -> None:
        """Stop watching the exchanges of a proxy."""
        path = f"/chaoskit/taps/{quote(proxy, safe='')}"
        self._do(f"remove the tap of {proxy!r}", lambda: self._consumer.call("DELETE", path))

    def counters(self) -> dict[str, ProxyCounters]:
        """Live counters by proxy (embedded server only)."""
        found: dict[str, ProxyCounters] = self._do(
            "read the counters",
            lambda: msgspec.json.decode(
                self._consumer.call("GET", "/chaoskit/counters").content, type=dict[str, ProxyCounters]
            ),
        )
        return found

    def events(self, since: int, flush: bool = False) -> Events:
        """Rows after the cursor ``since`` (0: from the beginning), all there are (embedded server only)."""
        return self._do("read the events", lambda: self._read_events(since, flush))

    def close(self) -> None:
        """Give the connection back. The object may still be used."""
        self._consumer.close()

    def _post(self, path: str, body: object = None) -> requests.Response:
        return self._consumer.call("POST", path, body)

    def _read_events(self, since: int, flush: bool) -> Events:
        rows: list[Connection | Exchange] = []
        open_rows: list[Connection | Exchange] = []
        dropped = 0
        while True:
            text = self._consumer.call("GET", f"/chaoskit/events?since={since}&flush={int(flush)}").content
            head, *lines = text.splitlines()
            page = msgspec.json.decode(head, type=_Page)
            since = page.next
            dropped += page.dropped
            for line in lines:
                entry = _ROW_LINE.decode(line)
                row = _ROWS[entry.kind].decode(entry.row)
                if not entry.open:
                    rows.append(row)
                elif isinstance(row, Connection):
                    open_rows.append(msgspec.structs.replace(row, end="open"))
                else:
                    open_rows.append(row)
            if not page.more:
                return Events(since, dropped, rows, open_rows)

    def _do(self, what: str, call: Callable[[], T]) -> T:
        """Run ``call``; whatever a third party raises becomes a BrokenError that says what was tried."""
        where = f"Toxiproxy at {self._consumer.url}"
        try:
            return call()
        except requests.Timeout as error:
            raise BrokenError(f"{where} did not answer in time when asked to {what}: {error}") from error
        except requests.ConnectionError as error:
            raise BrokenError(f"{where} cannot be reached to {what}; is it running? {error}") from error
        except (ProxyExists, NotFound, InvalidToxic, _RefusedError) as error:
            raise BrokenError(f"{where} refused to {what}: {_text_of(error)}") from error
        except (requests.RequestException, msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            raise BrokenError(f"{where} gave an unexpected answer when asked to {what}: {error}") from error


_ROW_LINE = msgspec.json.Decoder(_Line)
_ROWS: dict[str, msgspec.json.Decoder[Any]] = {
    "connections": msgspec.json.Decoder(Connection),
    "exchanges": msgspec.json.Decoder(Exchange),
}


def _proxy_path(name: str) -> str:
    return f"/proxies/{quote(name, safe='')}"


def _toxic_path(proxy: str, name: str) -> str:
    return f"{_proxy_path(proxy)}/toxics/{quote(name, safe='')}"


def _text_of(error: Exception) -> str:
    """What the server said: toxiproxy-python raises with the body of the answer."""
    body = error.args[0] if error.args else b""
    text = body.decode("utf-8", "replace").strip() if isinstance(body, bytes) else str(body)
    try:
        return str(msgspec.json.decode(text)["error"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return text
