"""Features that an operator switches while the process runs: ``GET`` and ``PUT /admin/features/NAME``.

What is switched lasts as long as the process; the settings say how it begins. Only this machine may ask, and the
networks in ``ADMIN_ALLOW``: the switch is for operators, not for whoever reaches the port.
"""

from __future__ import annotations

import ipaddress

import msgspec
from aiohttp import web

from shop import metrics
from shop.errors import Refused
from shop.logs import log
from shop.settings import Settings, networks
from shop.web import json_response, read_json


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator sends."""

    enabled: bool


class Features:
    """The switches of one process, by name."""

    def __init__(self, settings: Settings, features: dict[str, bool]) -> None:
        self._service = settings.service
        self._networks = networks(settings.admin_allow)
        self._on = dict(features)
        for name, on in features.items():
            metrics.feature.labels(self._service, name).set(on)

    def on(self, name: str) -> bool:
        """Whether a feature is on."""
        return self._on[name]

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/admin/features/{name}", self._get)
        router.add_put("/admin/features/{name}", self._put)

    async def _get(self, request: web.Request) -> web.Response:
        return json_response({"enabled": self._on[self._known(request)]})

    async def _put(self, request: web.Request) -> web.Response:
        name = self._known(request)
        wanted = await read_json(request, Wanted)
        self._on[name] = wanted.enabled
        metrics.feature.labels(self._service, name).set(wanted.enabled)
        log.warning("feature switched", feature=name, enabled=wanted.enabled)
        return json_response({"enabled": wanted.enabled})

    def _known(self, request: web.Request) -> str:
        """The name of the feature that is asked for; refused with 403 to strangers, with 404 when there is none."""
        # The peer of the connection: a header could say anything.
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        address = ipaddress.ip_address(peer[0].partition("%")[0]) if peer else None
        address = getattr(address, "ipv4_mapped", None) or address
        if address is None or not (address.is_loopback or any(address in network for network in self._networks)):
            raise Refused(403, "operators_only")
        name = request.match_info["name"]
        if name not in self._on:
            raise Refused(404, "unknown_feature")
        return name
