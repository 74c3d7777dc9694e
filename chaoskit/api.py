"""What plug-ins are written against: these names, and nothing else of chaoskit.

A plug-in is one file, named like the word that it adds to the language, with a class of the same name in CamelCase:

====================  ==================  ========================================================================
in ``plugins/``       derives from        adds a word
====================  ==================  ========================================================================
``faults/``           :class:`Fault`      under ``timeline: faults:``
``expectations/``     :class:`Expectation`  under ``expect:``
``providers/``        :class:`Provider`   as a service's ``provider:``
``actions/``          :class:`Action`     under an SOP's ``steps:``
====================  ==================  ========================================================================

An installed package offers the same with entry points of the groups ``chaoskit.faults``, ``chaoskit.expectations``,
``chaoskit.services.providers`` and ``chaoskit.alerting.actions``. The names here follow semantic versioning.
"""

from __future__ import annotations

from chaoskit.base.clock import now, sleep_until, wait_for
from chaoskit.base.errors import BrokenError, ChaosError, InputError, Problem
from chaoskit.base.units import counted, format_duration, format_rate, format_ratio, format_size
from chaoskit.faults._background import Background
from chaoskit.faults._failpoint import TermFault
from chaoskit.faults._fields import Selection, Share
from chaoskit.faults._toxic import ProxyFault, ToxicFault
from chaoskit.history import rows
from chaoskit.history.windows import Window
from chaoskit.language.action import Action, ActionContext, Job
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import (
    CollectContext,
    Expectation,
    Finding,
    NeverKnown,
    Outcome,
    check,
    check_between,
    check_share,
    too_few,
)
from chaoskit.language.fault import Evidence, Fault, FaultContext, FaultWindow, Misfit
from chaoskit.language.planned import Given
from chaoskit.language.run_target import Refusal, Setting
from chaoskit.language.samples import Demand, share_needs
from chaoskit.language.service import ServiceSpec
from chaoskit.language.types import (
    CountBound,
    Duration,
    DurationBound,
    JsonPath,
    Model,
    NumberBound,
    OperationName,
    Rate,
    RateBound,
    Ratio,
    ServiceName,
    ShareBound,
    Size,
    SizeBound,
    problem,
)
from chaoskit.language.view import View
from chaoskit.services.base import Service
from chaoskit.services.providers.base import Provider
from chaoskit.services.readiness import http_answers, tcp_open
from chaoskit.services.runtime import ContainerPlan
from chaoskit.system.journal import Journal
from chaoskit.system.layers import State, layer
from chaoskit.system.undo import register_kind
from chaoskit.toxiproxy.facts import Toxic

__all__ = [
    "Action",
    "ActionContext",
    "Background",
    "Bound",
    "BrokenError",
    "ChaosError",
    "CollectContext",
    "ContainerPlan",
    "CountBound",
    "Demand",
    "Duration",
    "DurationBound",
    "Evidence",
    "Expectation",
    "Fault",
    "FaultContext",
    "FaultWindow",
    "Finding",
    "Given",
    "InputError",
    "Job",
    "Journal",
    "JsonPath",
    "Misfit",
    "Model",
    "NeverKnown",
    "NumberBound",
    "OperationName",
    "Outcome",
    "Problem",
    "Provider",
    "ProxyFault",
    "Rate",
    "RateBound",
    "Ratio",
    "Refusal",
    "Selection",
    "Service",
    "ServiceName",
    "ServiceSpec",
    "Setting",
    "Share",
    "ShareBound",
    "Size",
    "SizeBound",
    "State",
    "TermFault",
    "Toxic",
    "ToxicFault",
    "View",
    "Window",
    "check",
    "check_between",
    "check_share",
    "counted",
    "format_duration",
    "format_rate",
    "format_ratio",
    "format_size",
    "http_answers",
    "layer",
    "now",
    "problem",
    "register_kind",
    "rows",
    "share_needs",
    "sleep_until",
    "tcp_open",
    "too_few",
    "wait_for",
]
