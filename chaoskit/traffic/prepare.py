"""Operations made ready to send: templates compiled once, requests rendered to bytes ahead of their time."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from chaoskit.base.errors import ChaosError
from chaoskit.traffic.spec import Operation
from chaoskit.traffic.templates import Templates

TRACEPARENT = "traceparent"
"""The header of W3C's trace context: each request begins a trace, and its sender is the root span."""
IDEMPOTENCY_KEY = "idempotency-key"
"""The header by which a client says that it sends the same request again."""


class Origin(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int
    tls: bool


class Prepared(NamedTuple):
    """One request, rendered. ``wire`` is the whole HTTP request; a python operation has ``call`` instead."""

    id: str
    method: str
    path: str
    origin: Origin | None
    wire: bytes
    call: Callable[[], Awaitable[Any]] | None
    traceparent: str = ""
    idempotency_key: str = ""


class Recipe:
    """One operation with its templates compiled.

    Raises ChaosError, naming the operation, for a template that cannot be compiled or does not render, and for a
    python function that cannot be found: one request is rendered for trial.
    """

    def __init__(self, operation: Operation, templates: Templates, seed: int) -> None:
        self.operation = operation
        self._templates = templates
        self._seed = seed
        try:
            self._url = templates.text(operation.url)
            self._headers = [(name, templates.text(text)) for name, text in operation.headers.items()]
            self._json = templates.value(operation.json) if operation.json is not None else None
            self._text = templates.text(operation.body) if operation.body is not None else None
            self._form = templates.value(operation.form) if operation.form is not None else None
            self._function = _function(operation.python) if operation.python else None
        except ChaosError as error:
            raise self._named(error) from None
        self._given = {name.lower() for name in operation.headers}
        self.prepare("trial", 0)

    def _named(self, error: Exception) -> ChaosError:
        return ChaosError(f"operation {self.operation.name!r}: {error}")

    def prepare(self, stream: str, seq: int) -> Prepared:
        """Request number ``seq`` of ``stream``: the same bytes for the same seed. Raises ChaosError."""
        self._templates.seed(self._seed, self.operation.name, stream, seq)
        given = self._templates.names(op=self.operation.name, seq=seq)
        try:
            return self._http(given) if self._function is None else self._call(self._function, given)
        except (ChaosError, ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            raise self._named(error) from None

    def _http(self, given: dict[str, Any]) -> Prepared:
        operation = self.operation
        url = str(self._url(given))
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ChaosError(f"{url!r} is not an http:// or https:// address")
        tls = parts.scheme == "https"
        origin = Origin(parts.hostname, parts.port or (443 if tls else 80), tls)
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        if parts.query:
            target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
        headers = {name: str(text(given)) for name, text in self._headers}
        body, content_type = self._body(given)
        if "host" not in self._given:
            headers = {"host": parts.netloc.rpartition("@")[2], **headers}
        if operation.id_header.lower() not in self._given:
            headers[operation.id_header] = self._templates.uuid()
        for name, value in (("user-agent", "chaoskit"), ("accept", "*/*"), ("content-type", content_type)):
            if value and name not in self._given:
                headers[name] = value
        if body or operation.method.upper() in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(body))
        if TRACEPARENT not in self._given:
            headers[TRACEPARENT] = self._templates.traceparent()  # drawn last: what was drawn before stays the same
        lines = [f"{operation.method.upper()} {target} HTTP/1.1"]
        request_id = traceparent = idempotency_key = ""
        for name, value in headers.items():
            if "\r" in value or "\n" in value:
                raise ChaosError(f"the header {name!r} would hold a line break: {value!r}")
            if name.lower() == operation.id_header.lower():
                request_id = value
            if name.lower() == TRACEPARENT:
                traceparent = value
            if name.lower() == IDEMPOTENCY_KEY:
                idempotency_key = value
            lines.append(f"{name}: {value}")
        wire = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        return Prepared(request_id, operation.method.upper(), target, origin, wire, None, traceparent, idempotency_key)

    def _body(self, given: dict[str, Any]) -> tuple[bytes, str]:
        if self._json is not None:
            return msgspec.json.encode(self._json(given)), "application/json"
        if self._form is not None:
            return urlencode(self._form(given)).encode(), "application/x-www-form-urlencoded"
        if self._text is not None:
            return str(self._text(given)).encode(), "text/plain; charset=utf-8"
        return b"", ""

    def _call(self, function: Callable[..., Awaitable[Any]], given: dict[str, Any]) -> Prepared:
        arguments = self._json(given) if self._json is not None else {}
        request_id = str(arguments.get("request_id") or self._templates.uuid())
        if "request_id" in inspect.signature(function).parameters:
            arguments["request_id"] = request_id

        def call() -> Awaitable[Any]:
            return function(**arguments)

        return Prepared(request_id, "CALL", self.operation.python or "", None, b"", call)


def _function(name: str) -> Callable[..., Awaitable[Any]]:
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ChaosError(f"{name!r} does not name a function; write module:async_function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        function: Any = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise ChaosError(f"{name!r} cannot be imported: {error}") from None
    if not inspect.iscoroutinefunction(function):
        raise ChaosError(f"{name!r} must be an async function, or it would stop all other requests")
    typed: Callable[..., Awaitable[Any]] = function
    return typed
