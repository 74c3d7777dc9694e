"""The actions that a team's own SOP platform calls back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from chaoskit.alerting.receiver import Answer, Call
from chaoskit.alerting.sops.incident import Work
from chaoskit.alerting.sops.runner import SopRunner
from chaoskit.base.clock import now
from chaoskit.base.errors import ChaosError, unknown
from chaoskit.base.mask import mask
from chaoskit.language.action import ACTIONS, Action
from chaoskit.language.sop import Endpoint

PREFIX = "/sops"
ACTIONS_PATH = f"{PREFIX}/actions"


def refuse(_call: Call) -> Answer:
    """The answer while no scenario with SOPs runs."""
    return _answer(409, error="no scenario with SOPs is running")


class CallBacks:
    """``POST /sops/actions/NAME`` with ``{"incident": ID, ...the action's arguments}``: done at once, then answered.

    Only for incidents that a platform was told of, whose ids cannot be guessed, and only the actions that the
    scenario allows it. What it sends is plain data: nothing in it is rendered as a template.
    """

    def __init__(self, runner: SopRunner, services: frozenset[str]) -> None:
        self._runner = runner
        self._services = services

    def take(self, call: Call) -> Answer:
        """Do what the call asks for."""
        path, _, kind = call.path.partition("?")[0].rstrip("/").rpartition("/")
        if path != ACTIONS_PATH or call.method != "POST":
            return _answer(404, error=f"legal: POST {ACTIONS_PATH}/NAME")
        try:
            said = json.loads(call.body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return _answer(400, error='a JSON object is expected: {"incident": ID, ...arguments}')
        incident = self._runner.incident(str(said.pop("incident", "")))
        told = next((work for work in incident.works if self._was_told(work)), None) if incident else None
        if incident is None or told is None or not isinstance(told.sop.model, Endpoint):
            return _answer(403, error="this is no incident that a platform was told of: say its id as 'incident'")
        allowed = told.sop.model.allow
        if kind not in allowed:
            return _answer(403, error=unknown("action", kind, allowed))
        if _has_template(said):
            return _answer(400, error="templates are not taken from a platform")
        try:
            action = ACTIONS.get(kind).model_validate(said, context={"services": self._services})
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            return _answer(400, error=found)
        return self._perform(kind, action, told, call.at)

    @staticmethod
    def _was_told(work: Work) -> bool:
        return isinstance(work.sop.model, Endpoint) and not work.called_back and work.started is not None

    def _perform(self, kind: str, action: Action, told: Work, at: float) -> Answer:
        work = Work(told.sop, told.incident, at, kind, action.target, "running", started=now(), called_back=True)
        work.payload = self._runner.payload(work)
        if not self._runner.begun(work):
            return _answer(409, error="the scenario has ended")
        try:
            work.detail, work.outcome = self._runner.perform(action, work), "done"
        except ChaosError as error:
            work.detail, work.outcome = str(error), "failed"
        work.attempts, work.ended = 1, now()
        work.steps.append(
            {
                "action": kind, "target": action.target, "outcome": work.outcome, "attempts": 1,
                "started": work.started, "ended": work.ended, "detail": work.detail,
            }
        )  # fmt: skip
        self._runner.finished(work)
        return _answer(200 if work.outcome == "done" else 502, outcome=work.outcome, detail=mask(work.detail))


def _has_template(data: Any) -> bool:
    if isinstance(data, str):
        return "{{" in data or "{%" in data
    if isinstance(data, Mapping):
        return any(_has_template(item) for pair in data.items() for item in pair)
    return isinstance(data, list) and any(map(_has_template, data))


def _answer(status: int, **document: Any) -> Answer:
    return Answer(status, json.dumps(document).encode())
