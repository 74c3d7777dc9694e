"""What the services of an environment cannot give, as far as is known at load: HTTP that is read, rows, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaoskit.language.model import Environment
from chaoskit.language.plugins import registry
from chaoskit.language.service import ServiceSpec
from chaoskit.language.types import Lacks


def lacking(environment: Environment | None) -> Mapping[str, Mapping[str, Lacks]]:
    """By ability (``http``, ``read``, ``rows``, ``metrics``), which services are known to lack it, and why.

    ``http`` is to speak it, ``read`` that their proxy reads it. Nothing is known without an environment.
    """
    found: dict[str, dict[str, Lacks]] = {"http": {}, "read": {}, "rows": {}, "metrics": {}}
    for name, spec in environment.services.items() if environment else ():
        provider = _provider(spec)
        other = provider.speaks if provider is not None else ""
        if other:
            found["http"][name] = Lacks(f"{name} speaks {other}, and only HTTP is read on the way to a service")
        if not spec.proxy:
            legal = ("proxy: true of a service", "its name in proxy: of a Compose environment")
            found["read"][name] = Lacks(f"no proxy stands in front of {name}: nobody sees the calls", legal)
        elif other:
            found["read"][name] = found["http"][name]
        elif not _declares_http(spec, provider):
            what = f"nothing says that {name} speaks HTTP, and only HTTP is read on the way to a service"
            found["read"][name] = Lacks(what, ("protocol: http of the service",))
        if environment is not None and not environment.compose and not hasattr(provider, "read"):
            found["rows"][name] = Lacks(f"{name} is no database that can be read with SQL", _readable(environment))
        # A provider may know of metrics without being told where.
        knows = provider is not None and sum("metrics_url" in vars(kind) for kind in provider.__mro__) > 1
        if spec.metrics is None and not knows:
            found["metrics"][name] = Lacks(
                f"{name} gives no metrics, only what its process shows", ("metrics: /metrics of the service",)
            )
    return found


def _declares_http(spec: ServiceSpec, provider: Any) -> bool:
    """As :attr:`chaoskit.services.base.Service.protocol` has it."""
    by_default = provider is not None and provider.default_protocol == "http"
    asked = spec.ready.http is not None or spec.metrics is not None
    return spec.protocol == "http" or (spec.protocol is None and (asked or by_default))


def _provider(spec: ServiceSpec) -> Any:
    """The class of its provider; None for a command or an image."""
    return None if spec.provider is None else registry("providers").get(spec.provider)


def _readable(environment: Environment) -> tuple[str, ...]:
    """The services that are databases."""
    return tuple(name for name, spec in environment.services.items() if hasattr(_provider(spec), "read"))
