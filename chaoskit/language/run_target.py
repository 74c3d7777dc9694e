"""What a run will stand on, as far as it is known before anything is started, and what cannot be done there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Need = Literal["embedded-toxiproxy", "docker", "process", "root", "netem", "faketime", "iptables", "cgroups"]
"""What a fault may need of the machine or of the run. A scenario names it under ``requires:``."""

Runtime = Literal["process", "docker"]


@dataclass(frozen=True)
class Setting:
    """``toxiproxy`` is ``embedded``, ``binary``, ``docker`` or a URL, ``runtime`` what the services run in."""

    toxiproxy: str
    runtime: Runtime


@dataclass(frozen=True)
class Refusal:
    """Why a fault cannot be injected in a setting: what it ``needs``, and the ``reason`` with what to do about it."""

    needs: Need
    reason: str
