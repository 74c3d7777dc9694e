"""A scripted HTTP server: ``python -m chaoskit.services.stub --port N --script FILE``.

The script is a JSON list of routes ``{method, path, status, headers, json | body, delay, times}``: the first
one whose method and path (with ``*`` as wildcard) match, and which was not used ``times`` times yet, answers
after ``delay`` seconds. ``POST /_stub/reset`` starts the script again, ``PUT /_stub/script`` replaces it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from aiohttp import web

CONTROL = "/_stub"


class Script:
    """Routes, and how often each was used since the start or the latest reset."""

    def __init__(self, routes: list[dict[str, Any]]) -> None:
        self.first = routes
        self.play(routes)

    def play(self, routes: list[dict[str, Any]]) -> None:
        """Use ``routes`` from now on, until the next reset."""
        self._routes = routes
        self._used = [0] * len(routes)

    def match(self, method: str, path: str) -> dict[str, Any] | None:
        """The route that answers, which counts as used; None when there is none."""
        for number, route in enumerate(self._routes):
            times = route.get("times")
            if (
                route.get("method", "*") in ("*", method)
                and fnmatchcase(path, route["path"])
                and (times is None or self._used[number] < times)
            ):
                self._used[number] += 1
                return route
        return None


def make_app(script: Script) -> web.Application:
    """The server's application."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()  # an unread body would end the connection
        route = script.match(request.method, request.path)
        if route is None:
            return web.json_response({"error": f"no route for {request.method} {request.path}"}, status=404)
        if route.get("delay"):
            await asyncio.sleep(route["delay"])
        headers, status = route.get("headers") or {}, route.get("status", 200)
        if route.get("json") is not None:
            return web.json_response(route["json"], status=status, headers=headers)
        return web.Response(text=route.get("body") or "", status=status, headers=headers)

    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async def reset(_: web.Request) -> web.Response:
        script.play(script.first)
        return web.Response(status=204)

    async def replace(request: web.Request) -> web.Response:
        script.play(await request.json())
        return web.Response(status=204)

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_get(f"{CONTROL}/ready", ready)
    app.router.add_post(f"{CONTROL}/reset", reset)
    app.router.add_put(f"{CONTROL}/script", replace)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m chaoskit.services.stub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", type=Path, required=True, help="JSON file with the list of routes")
    options = parser.parse_args()
    script = Script(json.loads(options.script.read_text(encoding="utf-8")))
    web.run_app(make_app(script), host=options.host, port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
