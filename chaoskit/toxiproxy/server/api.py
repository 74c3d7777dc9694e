"""Toxiproxy's HTTP API: from a request to an answer. No sockets here."""

from __future__ import annotations

import re
from collections.abc import Callable
from json import dumps
from typing import Any

from chaoskit.base.api_guard import Guard
from chaoskit.toxiproxy.server.errors import ApiError
from chaoskit.toxiproxy.server.state import PopulateError, State

VERSION = "2.12.0"
"""The version of Toxiproxy whose API this is; clients compare it."""

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Answer:
    """Status, content type and body."""

    __slots__ = ("body", "content_type", "handler", "known", "location", "status")

    def __init__(self, status: int, body: bytes = b"", content_type: str = "", known: bool = True) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.known = known
        """A route was found (the original numbers such requests only)."""
        self.location = ""
        self.handler = ""
        """What answered, by the original's name for it (for the log)."""


class Request:
    """What is asked. ``path`` is decoded, ``query`` is as it came, without the question mark."""

    __slots__ = ("authorization", "body", "method", "path", "query", "user_agent")

    def __init__(
        self,
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        user_agent: str = "",
        authorization: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.user_agent = user_agent
        self.authorization = authorization


Handler = Callable[[list[str], Request], Answer]


class Route:
    """A path with its handlers by method. ``None`` in the path stands for any one segment."""

    __slots__ = ("methods", "path")

    def __init__(self, path: tuple[str | None, ...], methods: dict[str, Handler]) -> None:
        self.path = path
        self.methods = methods

    def match(self, segments: list[str]) -> list[str] | None:
        """The segments that stand for ``None``, or None when the path is another."""
        if len(segments) != len(self.path):
            return None
        found = []
        for wanted, segment in zip(self.path, segments, strict=True):
            if wanted is None and segment:
                found.append(segment)
            elif wanted != segment:
                return None
        return found


class Api:
    """Routes requests. More routes can be added (the extensions and the metrics are)."""

    def __init__(self, state: State, guard: Guard) -> None:
        self._state = state
        self.guard = guard
        update_proxy, update_toxic = self._proxy_update, self._toxic_update
        toxics: tuple[str | None, ...] = ("proxies", None, "toxics")
        self.routes = [
            Route(("reset",), {"POST": self._reset_state}),
            Route(("proxies",), {"GET": self._proxy_index, "POST": self._proxy_create}),
            Route(("populate",), {"POST": self._populate}),
            Route(
                ("proxies", None),
                {"GET": self._proxy_show, "POST": update_proxy, "PATCH": update_proxy, "DELETE": self._proxy_delete},
            ),
            Route(toxics, {"GET": self._toxic_index, "POST": self._toxic_create}),
            Route(
                (*toxics, None),
                {
                    "GET": self._toxic_show,
                    "POST": update_toxic,
                    "PATCH": update_toxic,
                    "DELETE": self._toxic_delete,
                },
            ),
            Route(("version",), {"GET": self._version}),
        ]

    def answer(self, request: Request) -> Answer:
        """Do what is asked."""
        path = request.path
        if "//" in path:
            moved = Answer(301, known=False)
            while "//" in path:
                path = path.replace("//", "/")
            from urllib.parse import quote  # rare, and costs start-up time

            moved.location = quote(path)  # a decoded path could end the header and begin another
            return moved
        segments = path.split("/")[1:]
        for route in self.routes:
            names = route.match(segments)
            if names is None:
                continue
            handler = route.methods.get(request.method) or route.methods.get("*")
            if handler is None:
                return Answer(405, known=False)
            if not self.guard.authorized(request.authorization):
                return error_answer("unauthorized", 401)
            if request.user_agent.startswith("Mozilla/"):
                return Answer(403, b"User agent not allowed\n", TEXT)
            try:
                answer = handler(names, request)
            except ApiError as error:
                if error.status == 500:
                    self._warn("Error did not include status code", error=error.text)
                answer = error_answer(error.text, error.status)
            answer.handler = handler.__name__.title().replace("_", "")
            return answer
        return Answer(404, b"404 page not found\n", TEXT, known=False)

    def _warn(self, message: str, **fields: object) -> None:
        self._state.context.log.warn(message, **fields)

    def _warn_of_post(self, handler: str, request: Request) -> None:
        if request.method == "POST":  # the text is the original's, letter by letter
            self._warn(f"{handler}: HTTP method POST is depercated. Use HTTP PATCH instead.")

    def _reset_state(self, _names: list[str], _request: Request) -> Answer:
        self._state.reset()
        return Answer(204)

    def _proxy_index(self, _names: list[str], _request: Request) -> Answer:
        proxies = self._state.proxies
        return json_answer({name: proxies[name].as_dict() for name in sorted(proxies)})

    def _proxy_create(self, _names: list[str], request: Request) -> Answer:
        return json_answer(self._state.create(request.body).as_dict(), 201)

    def _populate(self, _names: list[str], request: Request) -> Answer:
        try:
            proxies = self._state.populate(request.body)
        except PopulateError as error:
            self._warn("Populate errors", error=error.text)
            done = None if error.proxies is None else [proxy.as_dict() for proxy in error.proxies]
            text = {"error": error.text, "status": error.status, "proxies": done or None}
            return json_answer(text, error.status)
        return json_answer({"proxies": [proxy.as_dict() for proxy in proxies] or None}, 201)

    def _proxy_show(self, names: list[str], _request: Request) -> Answer:
        return json_answer(self._state.proxy(names[0]).as_dict())

    def _proxy_update(self, names: list[str], request: Request) -> Answer:
        self._warn_of_post("ProxyUpdate", request)
        return json_answer(self._state.update(names[0], request.body).as_dict())

    def _proxy_delete(self, names: list[str], _request: Request) -> Answer:
        self._state.delete(names[0])
        return Answer(204)

    def _toxic_index(self, names: list[str], _request: Request) -> Answer:
        return json_answer(self._state.proxy(names[0]).as_dict()["toxics"])

    def _toxic_create(self, names: list[str], request: Request) -> Answer:
        return json_answer(self._state.add_toxic(names[0], request.body).as_dict())

    def _toxic_show(self, names: list[str], _request: Request) -> Answer:
        return json_answer(self._state.toxic(names[0], names[1])[1].as_dict())

    def _toxic_update(self, names: list[str], request: Request) -> Answer:
        self._warn_of_post("ToxicUpdate", request)
        return json_answer(self._state.update_toxic(names[0], names[1], request.body).as_dict())

    def _toxic_delete(self, names: list[str], _request: Request) -> Answer:
        self._state.remove_toxic(names[0], names[1])
        return Answer(204)

    def _version(self, _names: list[str], _request: Request) -> Answer:
        return Answer(200, f'{{"version": "{VERSION}"}}\n'.encode(), "application/json;charset=utf-8")


def json_answer(value: Any, status: int = 200) -> Answer:
    """``value`` as Go's encoder writes it."""
    return Answer(status, _encode(value), JSON)


def error_answer(text: str, status: int) -> Answer:
    """An error as Toxiproxy writes it: JSON, sent as plain text."""
    return Answer(status, _encode({"error": text, "status": status}) + b"\n", TEXT)


_TOXICITY = re.compile(r'("toxicity":)([-+.e0-9]+)')


def _go_number(number: float) -> str:
    """As Go's encoder writes a float: without an exponent from 1e-6 to below 1e21."""
    digits = repr(number)
    if "e" not in digits:
        return digits.removesuffix(".0")
    from decimal import Decimal  # rare, and costs start-up time

    if 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(digits):f}"
    digits, _, exponent = f"{Decimal(repr(number)).normalize():e}".partition("e")
    return f"{digits}e{int(exponent):+d}"


def _encode(value: Any) -> bytes:
    text = dumps(value, separators=(",", ":"), ensure_ascii=False)
    if '"toxicity":' in text:  # the only number that is no count; in a text its quotes would follow a backslash
        text = _TOXICITY.sub(lambda found: found[1] + _go_number(float(found[2])), text)
    for sign in "<>&\u2028\u2029":
        if sign in text:
            text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace")
