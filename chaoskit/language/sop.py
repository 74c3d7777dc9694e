"""Standard operating procedures as code: which alert starts which steps, found in ``sops/NAME.yaml`` or in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from chaoskit.base.errors import InputError
from chaoskit.language import source, template
from chaoskit.language.alert_names import check_triggers
from chaoskit.language.check import Check
from chaoskit.language.names import texts
from chaoskit.language.plugins import registry
from chaoskit.language.severity import LEVELS, Level, level_of
from chaoskit.language.source import Source, YamlPath
from chaoskit.language.types import Duration, Model, ServiceName, problem

if TYPE_CHECKING:
    from chaoskit.language.action import Action

NAMES = ("alert", "incident", "sop")
"""What templates of a step may ask for besides services and data: see :mod:`chaoskit.language.action`."""

Priority = Literal["critical", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("critical", "high", "normal", "low")
"""The first is taken first."""

Callable_ = Literal["restart", "scale", "switch"]
CALLABLE: tuple[Callable_, ...] = ("restart", "scale", "switch")
"""The actions that a team's own platform may have us do. It names no commands and no addresses."""


class When(Model):
    """Which alerts start it. All that is given must fit; without ``alert`` any alert of that severity does."""

    alert: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] | None = None
    severity: Level = Field("P2", description="this severity, or a higher one")
    labels: dict[str, str] = {}

    def names(self, alert: str, labels: Mapping[str, str]) -> bool:
        """Whether it is this alert, of whatever severity."""
        names = [self.alert] if isinstance(self.alert, str) else self.alert
        return (names is None or alert in names) and all(labels.get(key) == text for key, text in self.labels.items())

    def too_low(self, severity: str) -> str:
        """Why an alert of this severity does not start it; empty when it does."""
        level = level_of(severity)
        if level is None:
            return f"the alert's severity {severity!r} is not known" if severity else "the alert has no severity"
        return f"severity {severity} is below {self.severity}" if level > LEVELS.index(self.severity) + 1 else ""


class Retry(Model):
    """How a failing step is tried again: ``attempts`` in all, ``backoff`` before the second, times ``factor`` each."""

    attempts: int = Field(3, ge=1, le=20)
    backoff: Duration = 0.2
    factor: float = Field(2.0, ge=1, le=10)
    max: Duration = 5.0

    def gap(self, attempt: int) -> float:
        """Seconds to wait after the failure of ``attempt`` (from 1 on)."""
        return min(self.max, self.backoff * self.factor ** (attempt - 1))


class Procedure(Model):
    """What an SOP of one's own and a call to a team's platform have in common."""

    on: When = When()
    service: ServiceName | None = Field(None, description="what it is for, where its steps do not say")
    priority: Priority = "normal"
    cooldown: Duration = Field(0.0, description="after a run was queued, further incidents start none for so long")
    times: int | None = Field(None, ge=1, description="runs in one scenario at most")
    retry: Retry = Retry()
    escalate: Any = Field(None, description="who is told when a step has failed for good: as the action `notify`")


class SopFile(Procedure):
    """A file ``sops/NAME.yaml``, or the same in place: its ``steps`` are done one after the other."""

    sop: str = Field(min_length=1)
    steps: list[Any] = Field(min_length=1)  # typed one by one, by the action's own model


def _post(text: str) -> str:
    method, _, url = text.partition(" ")
    if method not in ("POST", "PUT") or not url.strip():
        raise problem(f"{text!r} is not a request", ["POST URL, for example: POST {{ platform.url }}/incidents"])
    return text


class Endpoint(Procedure):
    """A team's own SOP platform: it is called once for each incident, and may call our actions back."""

    endpoint: Annotated[str, AfterValidator(_post)]
    name: str = Field("endpoint", pattern=r"^[a-z0-9][a-z0-9-]*$")
    headers: dict[str, str] = {}
    timeout: Duration = 5.0
    allow: list[Callable_] = Field(list(CALLABLE), description="the actions that it may call back")

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.timeout == 0:
            raise problem("timeout: a call needs some time", ["5s"])
        return self


@dataclass(frozen=True)
class PlannedStep:
    """One action of an SOP; ``path`` is where it stands in the SOP's file."""

    kind: str
    action: Action
    path: YamlPath


@dataclass(frozen=True)
class PlannedSop:
    """A loaded SOP. ``folder`` is where its commands run, ``base`` where it stands in ``source``."""

    name: str
    model: SopFile | Endpoint
    steps: tuple[PlannedStep, ...]
    escalation: PlannedStep | None
    source: Source
    base: YamlPath

    @property
    def folder(self) -> Path:
        """The folder of the file that it stands in."""
        return self.source.file.resolve().parent

    @property
    def main(self) -> PlannedStep | None:
        """The step that it is about: the first that does more than tell somebody. None for a call to a platform."""
        return next((step for step in self.steps if step.kind != "notify"), next(iter(self.steps), None))

    @property
    def action_type(self) -> str:
        """The kind of its main step; ``call`` for a team's own platform."""
        return self.main.kind if self.main is not None else "call"

    @property
    def alerts(self) -> frozenset[str]:
        """The alerts that start it; empty: any of its severity and labels does."""
        named = self.model.on.alert
        return frozenset([named] if isinstance(named, str) else named or ())

    @property
    def target(self) -> str:
        """The service that it acts on; empty where only the alert tells."""
        return self.model.service or (self.main.action.target if self.main is not None else "")


def sops_of(
    check: Check, data: Mapping[str, Any], context: Any, names: frozenset[str], recorded: Path | None = None
) -> list[PlannedSop]:
    """The SOPs that a scenario names or holds, those with mistakes left out; ``names`` is what templates may ask.

    ``recorded`` is the folder of a run whose copies are taken, and no other file.
    """
    entries = data.get("sops")
    found: list[PlannedSop] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        path: YamlPath = ("sops", index)
        planned: PlannedSop | None = None
        if isinstance(entry, str):
            planned = _from_file(check, entry, path, context, names, recorded)
        elif isinstance(entry, dict):
            inner = Check(check.page)
            planned = _planned(inner, entry, path, f"inline-{index + 1}", context, names)
            check.problems.extend(inner.problems)
        else:
            check.wrong(path, "an SOP is the name of a file, or a mapping", ["restart-orders", "{endpoint: POST URL}"])
        if planned is not None and any(other.name == planned.name for other in found):
            check.wrong(path, f"two SOPs of this scenario are named {planned.name!r}")
        elif planned is not None:
            found.append(planned)
    for name in sorted(context["services"] or ()) if found else ():
        if name in NAMES:
            check.wrong(("sops",), f"a service is named {name!r}: templates of SOPs use it for something else")
    return found


def _from_file(
    check: Check, name: str, path: YamlPath, context: Any, names: frozenset[str], recorded: Path | None
) -> PlannedSop | None:
    """``sops/NAME.yaml`` beside the scenario or in a folder above, up to the project's root; or ``recorded``."""
    known: dict[str, Path] = {}
    for folder in check.page.file.absolute().parents if recorded is None else (recorded,):
        known = {**{file.stem: file for file in sorted((folder / "sops").glob("*.yaml"))}, **known}
        if name in known or (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            break
    if name not in known and recorded is not None:
        where = source.shown(recorded)
        what = f"SOP {name!r}: {where} holds no copy of it (sops/{name}.yaml is missing), and no other file is read"
        check.wrong(path, what)
        return None
    if name not in known:
        check.wrong(path, f"unknown SOP {name!r}", known, name)
        return None
    try:
        page = source.read(known[name])
    except InputError as error:
        check.problems.extend(error.problems)
        return None
    inner = Check(page)
    planned = _planned(inner, page.data, (), name, context, names)
    check.problems.extend(inner.problems)
    return planned


def _planned(
    check: Check, data: dict[str, Any], base: YamlPath, name: str, context: Any, names: frozenset[str]
) -> PlannedSop | None:
    for path, text in texts(data, base):
        for what, legal, found in template.mistakes(text, frozenset(context["services"] or ()), names):
            check.wrong(path, what, legal, found)
    if "endpoint" in data:
        endpoint: Endpoint | None = check.validate(Endpoint, data, base, context)
        _triggers(check, endpoint, base, context)
        if endpoint is None or check.problems:
            return None
        return PlannedSop(endpoint.name, endpoint, (), _escalation(check, data, base, context), check.page, base)
    sop: SopFile | None = check.validate(SopFile, data, base, context)
    _triggers(check, sop, base, context)
    steps = data.get("steps")
    typed = [
        step
        for index, entry in enumerate(steps if isinstance(steps, list) else [])
        if (step := _step(check, entry, (*base, "steps", index), context))
    ]
    escalation = _escalation(check, data, base, context)
    if sop is None or check.problems:
        return None
    return PlannedSop(name, sop, tuple(typed), escalation, check.page, base)


def _triggers(check: Check, model: Procedure | None, base: YamlPath, context: Any) -> None:
    if model is not None:  # a file of its own (nothing is above it) is for any scenario
        check_triggers(check, (*base, "on", "alert"), model.on.alert, context.get("triggers"), shared=not base)


def _step(check: Check, entry: Any, path: YamlPath, context: Any) -> PlannedStep | None:
    """``- restart: {service: orders}``."""
    if not isinstance(entry, dict) or len(entry) != 1:
        check.wrong(path, "a step is one action with its arguments", ["restart: {service: NAME}"])
        return None
    ((kind, arguments),) = entry.items()
    if (model := check.plugin("actions", kind, (*path, kind))) is None:
        return None
    action = check.validate(model, {} if arguments is None else arguments, (*path, kind), context)
    return PlannedStep(kind, action, (*path, kind)) if action is not None else None


def _escalation(check: Check, data: Mapping[str, Any], base: YamlPath, context: Any) -> PlannedStep | None:
    if data.get("escalate") is None:
        return None
    path = (*base, "escalate")
    action = check.validate(registry("actions").get("notify"), data["escalate"], path, context)
    return PlannedStep("notify", action, path) if action is not None else None
