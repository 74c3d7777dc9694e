"""Prometheus with a team's own rule files, hastened for a rehearsal; or our stand-in for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError, InputError, Problem, TimeoutExpired
from chaoskit.language.service import ServiceSpec
from chaoskit.language.source import shown
from chaoskit.language.types import Duration, Model, ServiceName
from chaoskit.rules import durations, files, speed_up, supported_promql
from chaoskit.rules.speed_up import Copy
from chaoskit.services.providers._alerting import AlertingProvider
from chaoskit.services.readiness import http_answers
from chaoskit.services.runtime import ContainerPlan

_CONFIG = "prometheus.yml"
DISCOVERY = 20.0
"""Seconds until targets and Alertmanager are known: Prometheus looks 5 s after its start at the earliest."""
MARGIN = 3.0
"""Seconds beyond what the rules themselves need until the alerts of the scenario before are over."""
_FORGET = "/api/v1/admin/tsdb/delete_series?match[]=%7B__name__%3D~%22.%2B%22%7D"

Labels = frozenset[tuple[str, str]]


class PrometheusArgs(Model):
    """Arguments of the provider ``prometheus``. Ranges and waiting times of the rules are divided by ``speed_up``."""

    rules: list[str] = Field(min_length=1, description="the team's rule files: paths and globs, relative to this file")
    scrape: list[ServiceName] | None = Field(None, description="services; every one that has metrics unless given")
    scrape_every: Duration = Field(0.2, ge=0.05, description="between two scrapes of a service")
    evaluate_every: Duration = Field(0.2, ge=0.05, description="between two evaluations of the rules")
    speed_up: float = Field(1.0, ge=1, le=10_000, description="what ranges and waiting times are divided by")
    alertmanager: ServiceName | None = Field(None, description="a service; the alert sink is told directly without")
    resend_every: Duration = Field(
        60.0, description="how often a firing alert is told again: --rules.alert.resend-delay"
    )


class Prometheus(AlertingProvider):
    """Scrapes the services, evaluates the rules, and tells Alertmanager, or the alert sink directly."""

    Args = PrometheusArgs
    container_port = 9090
    default_image = "prom/prometheus:latest"
    program = "prometheus"
    stand_in = "chaoskit.alerting.evaluator"

    @classmethod
    def mistakes_in_files(cls, spec: ServiceSpec, folder: Path, *, embedded: bool) -> list[Problem]:
        """Of the rule files; with ``embedded`` also what the stand-in does not understand."""
        args = PrometheusArgs.model_validate(spec.args)
        found, missing = files.find(args.rules, folder)
        problems = [Problem(shown(folder / pattern), 1, "there is no such rule file") for pattern in missing]
        for file in found:
            try:
                loaded = files.load(file)
            except InputError as error:
                problems += error.problems
                continue
            problems += speed_up.too_hasty(loaded, args.speed_up, args.scrape_every)
            problems += supported_promql.beyond(loaded) if embedded else []
        return problems

    def __init__(self, name: str, spec: Any, **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        self._settling = Settling(self)

    @property
    def args(self) -> PrometheusArgs:
        """The checked arguments."""
        assert isinstance(self._args, PrometheusArgs)
        return self._args

    @property
    def stop_signal(self) -> int:
        """There is nothing to save."""
        return signal.SIGKILL

    @property
    def restart_signal(self) -> int:
        """An orderly shutdown: its data is kept."""
        return signal.SIGTERM

    # Files and program

    def prepare(self) -> None:
        """Write the configuration and the copies of the team's rule files."""
        (self.folder / _CONFIG).write_text(self._config(str(self.folder)), encoding="utf-8")
        for name, copy in self._copies.items():
            (self.folder / name).write_text(copy.text, encoding="utf-8")

    def argv(self) -> list[str]:
        """The server."""
        return [*self.words_of_program(), *self._options(str(self.folder / _CONFIG), str(self.folder / "data"))]

    def plan(self) -> ContainerPlan:
        """The server in its image."""
        folder = "/etc/prometheus"
        copies = {f"{folder}/{name}": copy.text.encode() for name, copy in self._copies.items()}
        return ContainerPlan(
            image=self.image_of(self.spec),
            build=self.spec.build,
            entrypoint=["/bin/prometheus"],
            command=self._options(f"{folder}/{_CONFIG}", "/prometheus"),
            files={f"{folder}/{_CONFIG}": self._config(folder).encode(), **copies},
        )

    def _options(self, config: str, data: str) -> list[str]:
        host, port = self.runtime.listen
        return [
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={host}:{port}",
            f"--rules.alert.resend-delay={durations.write(self.args.resend_every * 1000)}",
            "--web.enable-admin-api",  # its data is deleted between scenarios
        ]

    def _config(self, folder: str) -> str:
        import yaml

        host, port = self._told_at()
        told = {"static_configs": [{"targets": [f"{host}:{port}"]}], "timeout": "5s"}
        if self.args.alertmanager is None:
            told["path_prefix"] = "/alerts"
        every = durations.write(self.args.scrape_every * 1000)
        config = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": durations.write(self.args.evaluate_every * 1000),
            },
            "rule_files": [f"{folder}/{name}" for name in self._copies],
            "alerting": {"alertmanagers": [told]},
            "scrape_configs": [self._scrape(name) for name in self.targets],
        }
        return yaml.safe_dump(config, sort_keys=False)

    def _scrape(self, name: str) -> dict[str, Any]:
        """A job of the service's name; the instance is named like it too: ports differ from run to run."""
        service = self.neighbours.services[name]
        host, port = service.inside
        target = {"targets": [f"{host}:{port}"], "labels": {"instance": name}}
        return {"job_name": name, "metrics_path": service.spec.metrics, "static_configs": [target]}

    def _told_at(self) -> tuple[str, int]:
        if self.args.alertmanager is not None:
            return self.neighbours.link(self.args.alertmanager)
        receiver = self.neighbours.receiver()
        return receiver["host"], receiver["port"]

    @cached_property
    def _copies(self) -> dict[str, Copy]:
        """The rule files of the rehearsal by name; two of the team's files may have the same name."""
        found, _ = files.find(self.args.rules, self.base)
        loaded = [files.load(file) for file in found]
        return {
            f"{number}-{file.page.file.name}": speed_up.copied(file, self.args.speed_up, self.args.evaluate_every)
            for number, file in enumerate(loaded)
        }

    @property
    def targets(self) -> Sequence[str]:
        """The services that are scraped. Raises BrokenError for one without metrics."""
        services = self.neighbours.services
        if self.args.scrape is None:
            return [name for name, service in services.items() if service.spec.metrics is not None]
        for name in self.args.scrape:
            if name not in services or services[name].spec.metrics is None:
                raise BrokenError(f"{self.name} is to scrape {name}, which does not say where its metrics: are")
        return self.args.scrape

    @property
    def longest_firing(self) -> float:
        """Seconds that an alert may fire on when its cause is gone: the longest ``keep_firing_for``."""
        found, _ = files.find(self.args.rules, self.base)
        waits = [rule.spec.keep_firing_for for file in found for rule in files.load(file).rules]
        return max(waits, default=0) / 1000 / self.args.speed_up

    # Life

    def check(self) -> str:
        """Ready when it says so; :meth:`settle` waits for the rest."""
        return http_answers(self.host, self.port, "/-/ready")

    def reset(self) -> None:
        """What it knows is of the scenario before: :meth:`settle` has it forgotten, once all services are ready."""
        super().reset()
        self._settling.stale = True

    def settle(self) -> None:
        """Wait until all services are scraped, Alertmanager is known, and no alert is left of what was before.

        Raises BrokenError when that does not come.
        """
        self._settling.settle()

    def told(self) -> dict[str, Any]:
        """Which server serves, and what differs from the team's files."""
        args = self.args
        every = f"scraped every {durations.write(args.scrape_every * 1000)}, rules evaluated every "
        changes = [change for copy in self._copies.values() for change in copy.changes]
        return {
            "version": self.version(),
            "changes": [f"{self.name}: {every}{durations.write(args.evaluate_every * 1000)}", *changes],
        }


class Settling:
    """Getting it ready for a scenario: it sees every service, and nothing of the scenario before.

    ``stale``: its data belongs to a scenario that is over.
    """

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._always: frozenset[Labels] = frozenset()
        self._new = True
        self.stale = False
        self._seen = ""

    def settle(self) -> None:
        """See :meth:`Prometheus.settle`."""
        if self._new:
            self._wait_for_targets(0.0)
            self._wait_for_silence()
            self._always = self._alerts()  # a watchdog fires all the time
            self._new = self.stale = False
            return
        if not self.stale:
            self._wait_for_targets(0.0)
            return
        self._prometheus.call("POST", _FORGET)
        self._wait_for_targets(time.time())
        if not self._wait_for_silence():
            self._prometheus.stop()
            self._prometheus.start()
            self._wait_for_targets(0.0)
            self._wait_for_silence()
            self._always = self._alerts()
        self._wait_until_told()
        self.stale = False

    def _wait_for_targets(self, since: float) -> None:
        """Until each target was scraped successfully after ``since`` (Unix time), and somebody is told of alerts."""
        try:
            wait_for(
                lambda: not self._lacking(since),
                what=f"{self._prometheus.name} to scrape {', '.join(self._prometheus.targets)} and find whom to tell",
                limit=DISCOVERY,
                every=0.05,
                last_seen=lambda: self._seen,
            )
        except TimeoutExpired as error:
            lines = "\n  ".join(self._prometheus.last_lines()[-10:])
            raise BrokenError(f"{error}\n  {lines}" if lines else str(error)) from None

    def _lacking(self, since: float) -> str:
        told = self._prometheus.call("GET", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        targets = self._prometheus.call("GET", "/api/v1/targets?state=active")["data"]["activeTargets"]
        up = {target["labels"]["job"] for target in targets if target["health"] == "up" and _scraped(target) > since}
        missing = sorted(set(self._prometheus.targets) - up)
        errors = {target["labels"]["job"]: target["lastError"] for target in targets if target["lastError"]}
        reasons = [f"{name}: {errors.get(name) or 'not scraped yet'}" for name in missing]
        self._seen = "; ".join([*reasons, *([] if told else ["no Alertmanager discovered"])])
        return self._seen

    def _wait_for_silence(self) -> bool:
        """Whether the alerts that were there went away, here and at Alertmanager."""
        longest = self._prometheus.longest_firing
        deadline = now() + MARGIN + longest
        while now() < deadline:
            if self._alerts() <= self._always and self._alertmanager_silent():
                return True
            time.sleep(0.05)
        return False

    def _wait_until_told(self) -> None:
        """Until whoever was told that an alert fires was told that it does not, if that comes soon.

        It need not come: an Alertmanager that was killed has forgotten.
        """
        deadline = now() + MARGIN
        while now() < deadline:
            firing = {frozenset(labels.items()) for labels in self._prometheus.neighbours.firing()}
            if firing <= self._always:
                return
            time.sleep(0.02)

    def _alertmanager_silent(self) -> bool:
        name = self._prometheus.args.alertmanager
        if name is None or self._always:
            return True
        alertmanager: Any = self._prometheus.neighbours.services[name]
        return not alertmanager.alive() or bool(alertmanager.silent())

    def _alerts(self) -> frozenset[Labels]:
        alerts = self._prometheus.call("GET", "/api/v1/alerts")["data"]["alerts"]
        return frozenset(frozenset(alert["labels"].items()) for alert in alerts)


def _scraped(target: dict[str, Any]) -> float:
    """Unix time of the latest scrape."""
    return datetime.fromisoformat(target["lastScrape"]).timestamp()
