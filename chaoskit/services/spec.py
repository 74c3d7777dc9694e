"""How an environment file describes a service (re-exported: the types belong to the scenario language)."""

from chaoskit.scenario.service import ReadySpec, ServiceSpec, StopSpec

__all__ = ["ReadySpec", "ServiceSpec", "StopSpec"]
