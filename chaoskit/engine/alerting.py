"""What evaluates the rules of an environment that has alerts: Prometheus itself, or our stand-in."""

from __future__ import annotations

from chaoskit.base.errors import ChaosError, InputError
from chaoskit.language.environments import mistakes_in_files
from chaoskit.language.model import Environment
from chaoskit.services.providers._alerting import Alerting, resolve

PROVIDER = "prometheus"
"""An environment has alerting when a service is of this provider."""


def alerting_of(environment: Environment, option: str, runtime: str) -> Alerting:
    """``option`` (``auto``, ``embedded`` or ``prometheus``) for this environment in ``runtime``.

    Raises InputError where the environment has alerting that cannot be had so: the program is missing, or a rule
    is beyond what our stand-in understands. An environment without alerting is never refused.
    """
    name = next((name for name, spec in environment.services.items() if spec.provider == PROVIDER), None)
    if name is None:
        return "embedded"
    try:
        found = resolve(option, runtime)
    except ChaosError as error:
        raise InputError([environment.source.problem(("services", name), str(error))]) from None
    problems = mistakes_in_files(environment, embedded=found == "embedded")
    if problems:
        raise InputError(problems)
    return found
