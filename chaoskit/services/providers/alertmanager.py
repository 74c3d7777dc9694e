"""Alertmanager with a team's own routing, whose channels all end at the alert sink; or our stand-in for it."""

from __future__ import annotations

import signal
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from chaoskit.base.errors import InputError, Problem
from chaoskit.language.service import ServiceSpec
from chaoskit.language.types import Duration, Model
from chaoskit.rules import routing, supported_promql
from chaoskit.rules.speed_up import Copy
from chaoskit.services.providers._alerting import AlertingProvider
from chaoskit.services.readiness import http_answers
from chaoskit.services.runtime import ContainerPlan

_CONFIG = "alertmanager.yml"


class AlertmanagerArgs(Model):
    """Arguments of the provider ``alertmanager``. The times hold for all routes, whatever the team's file says."""

    config: str = Field(min_length=1, description="the team's configuration, relative to the environment's file")
    group_wait: Duration = Field(0.0, description="before the first notification of a group")
    group_interval: Duration = Field(0.2, gt=0, description="between two notifications of a group")
    repeat_interval: Duration | None = Field(None, gt=0, description="as in the team's file unless given")


class Alertmanager(AlertingProvider):
    """Takes alerts from Prometheus and tells the alert sink as the team's routes say."""

    Args = AlertmanagerArgs
    container_port = 9093
    default_image = "prom/alertmanager:latest"
    program = "alertmanager"
    stand_in = "chaoskit.alerting.router"

    @classmethod
    def mistakes_in_files(cls, spec: ServiceSpec, folder: Path, *, embedded: bool) -> list[Problem]:
        """Of the routing; with ``embedded`` also what the stand-in cannot do."""
        args = AlertmanagerArgs.model_validate(spec.args)
        try:
            found = routing.load(folder / args.config)
        except InputError as error:
            return list(error.problems)
        return supported_promql.beyond_routing(found) if embedded else []

    @property
    def args(self) -> AlertmanagerArgs:
        """The checked arguments."""
        assert isinstance(self._args, AlertmanagerArgs)
        return self._args

    @property
    def stop_signal(self) -> int:
        """There is nothing to save."""
        return signal.SIGKILL

    @property
    def restart_signal(self) -> int:
        """An orderly shutdown, which keeps its notification log."""
        return signal.SIGTERM

    def prepare(self) -> None:
        """Write the copy of the team's configuration."""
        (self.folder / _CONFIG).write_text(self._copy.text, encoding="utf-8")

    def argv(self) -> list[str]:
        """The server."""
        return [*self.words_of_program(), *self._options(str(self.folder / _CONFIG), str(self.folder / "data"))]

    def plan(self) -> ContainerPlan:
        """The server in its image."""
        config = f"/etc/alertmanager/{_CONFIG}"
        return ContainerPlan(
            image=self.image_of(self.spec),
            build=self.spec.build,
            entrypoint=["/bin/alertmanager"],
            command=self._options(config, "/alertmanager"),
            files={config: self._copy.text.encode()},
        )

    def _options(self, config: str, data: str) -> list[str]:
        host, port = self.runtime.listen
        return [
            f"--config.file={config}",
            f"--storage.path={data}",
            f"--web.listen-address={host}:{port}",
            "--cluster.listen-address=",  # alone, and without a port open to everybody
        ]

    def check(self) -> str:
        """Ready when it says so."""
        return http_answers(self.host, self.port, "/-/ready")

    def told(self) -> dict[str, Any]:
        """Which server serves, and what differs from the team's file."""
        return {"version": self.version(), "changes": list(self._copy.changes)}

    def silent(self) -> bool:
        """Whether no alert is active."""
        return not self.call("GET", "/api/v2/alerts?silenced=true&inhibited=true&active=true")

    @cached_property
    def _copy(self) -> Copy:
        args = self.args
        waits = {"group_wait": args.group_wait, "group_interval": args.group_interval}
        if args.repeat_interval is not None:
            waits["repeat_interval"] = args.repeat_interval
        url = f"{self.neighbours.receiver()['alerts_url']}/webhook"
        return routing.copied(routing.load(self.base / args.config), url, waits)
