"""How an environment file describes a service (re-exported: the types belong to the scenario language)."""

from chaoskit.language.service import BuildSpec, ReadySpec, ServiceSpec, StopSpec

__all__ = ["BuildSpec", "ReadySpec", "ServiceSpec", "StopSpec"]
