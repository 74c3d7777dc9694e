"""What every process answers with: health, metrics, one log line per request, and recovery from panics."""

from __future__ import annotations

import asyncio
import math
import os
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from chaoskit.failpoints import Returned
from shop import logs, metrics, spans, trace
from shop.errors import Refused
from shop.logs import log
from shop.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], Awaitable[str]]
T = TypeVar("T")

_QUIET = {"/healthz", "/readyz", "/metrics"}
_encode = msgspec.json.Encoder().encode


def json_response(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=_encode(body), status=status, headers=headers, content_type="application/json")


async def read_json(request: web.Request, shape: type[T]) -> T:
    """The body as a ``shape``; refused with 400 when it is not one."""
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.MsgspecError as error:
        raise Refused(400, str(error)) from None


def answer_told_by(hit: Returned | None) -> None:
    """A failpoint's ``return("503")`` makes the handler answer that status."""
    if hit is not None and str(hit.value).isdecimal():
        raise Refused(int(hit.value), "failpoint")


def caller_waits(request: web.Request) -> float | None:
    """How long the caller still waits, in seconds; refused with 504 when it does not: the work would be for nobody.

    Told as a time left, or as a moment (Unix time), which is right only as far as both clocks are.
    """
    try:
        if "x-request-deadline-ms" in request.headers:
            left = float(request.headers["x-request-deadline-ms"]) / 1000 - time.time()
        else:
            left = float(request.headers["x-request-timeout-ms"]) / 1000
    except (KeyError, ValueError):
        return None
    if left <= 0:
        raise Refused(504, "deadline_passed")
    return left


def application(settings: Settings, readiness: dict[str, Check]) -> web.Application:
    """An application with health, metrics and the middlewares; the caller adds its own routes.

    ``readiness`` maps a dependency's name to a check that returns "" or what is wrong.
    """
    logs.configure(settings.service, settings.log_level, traced=settings.log_trace == "on")
    spans.configure(settings)
    metrics.preset(settings.service)
    app = web.Application(middlewares=[_observing(settings), _recovering(settings)])

    async def export_the_last(_: web.Application) -> None:
        await asyncio.to_thread(spans.close)

    app.on_cleanup.append(export_the_last)

    async def healthz(_: web.Request) -> web.Response:
        return json_response({"status": "alive", "service": settings.service})

    async def readyz(_: web.Request) -> web.Response:
        troubles = await asyncio.gather(*(check() for check in readiness.values()))
        state = {name: trouble or "ok" for name, trouble in zip(readiness, troubles, strict=True)}
        return json_response(state, status=503 if any(troubles) else 200)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"content-type": metrics.CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    return app


def run(app: web.Application, settings: Settings) -> None:
    """Serve until SIGTERM; requests already accepted get ``settings.shutdown_s`` seconds to finish."""
    log.info("starting", host=settings.host, port=settings.port, pid=os.getpid())
    web.run_app(
        app,
        host=settings.host,
        port=settings.port,
        shutdown_timeout=settings.shutdown_s,
        access_log=None,
        print=None,
    )
    log.info("stopped")


def die_of(error: BaseException, event: str) -> None:
    """What an unrecovered panic does to a process: its stack in the log, and the end, at once."""
    log.critical(event, exc_info=error)
    os._exit(2)


def _observing(settings: Settings) -> Any:
    """Outermost: the trace, the metrics and the log line of each request."""
    service = settings.service

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _QUIET:
            return await handler(request)
        started = time.perf_counter()
        here = trace.begin_from_headers(request.headers, join=settings.trace_propagation == "on")
        metrics.in_flight.labels(service).inc()
        status = 499  # what stays when the client went away and the handler was cancelled
        route = _route(request)
        try:
            with spans.unit(here, f"{request.method} {route}", "server") as attributes:
                response = await handler(request)
                attributes["http.response.status_code"] = status = response.status
            response.headers["x-request-id"] = here.request_id
            return response
        finally:
            took = time.perf_counter() - started
            metrics.in_flight.labels(service).dec()
            metrics.requests.labels(service, request.method, route, status).inc()
            metrics.latency.labels(service, route).observe(took)
            log.info(
                "request",
                method=request.method,
                path=request.path,
                route=route,
                status=status,
                duration_ms=round(took * 1000, 2),
                request_id=here.request_id,
            )

    return observe


def _recovering(settings: Settings) -> Any:
    """Innermost: a refusal becomes its answer, and a panic ends this request only."""

    @web.middleware
    async def recover(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refusal:
            headers = {}
            if refusal.retry_after is not None:
                headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
            return json_response({"error": refusal.code}, status=refusal.status, headers=headers)
        except web.HTTPException as error:  # aiohttp's own: no such route, body too large
            return json_response({"error": error.reason}, status=error.status)
        except Exception as error:
            if settings.recovery == "off":
                die_of(error, "panic")
            if settings.panic_counter == "on":
                metrics.panics.labels(settings.service).inc()
            log.error("panic recovered", exc_info=error, path=request.path)
            body = {"error": "Internal server error"}
            if settings.recovery_body == "leaky":
                body["stack"] = "".join(traceback.format_exception(error))
            return json_response(body, status=500)

    return recover


def _route(request: web.Request) -> str:
    """The route's pattern, not the path: a metric's labels must stay few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"
