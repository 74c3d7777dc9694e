"""The configuration that the provider writes: the same file and flags for Prometheus and for the stand-in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.rules import durations, files
from chaoskit.rules.files import RuleFile


@dataclass(frozen=True)
class Target:
    """What is scraped: ``labels`` are put on every series."""

    url: str
    host: str
    port: int
    path: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Settings:
    """Times are seconds. ``alertmanagers`` are URLs that take ``POST`` of alerts."""

    host: str
    port: int
    scrape_every: float
    evaluate_every: float
    resend_every: float
    targets: Sequence[Target]
    alertmanagers: Sequence[str]
    rules: Sequence[RuleFile]


def read(words: Sequence[str] | None = None) -> Settings:
    """From the command line and the files it names. Raises InputError, OSError or SystemExit for what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m chaoskit.alerting.evaluator", description=__doc__)
    parser.add_argument("--config.file", dest="config", type=Path, required=True)
    parser.add_argument("--web.listen-address", dest="listen", required=True)
    parser.add_argument("--rules.alert.resend-delay", dest="resend", default="1m")
    parser.add_argument("--storage.tsdb.path", dest="data", help="ignored: everything is kept in memory")
    parser.add_argument("--web.enable-admin-api", dest="admin", action="store_true", help="always on here")
    said = parser.parse_args(words)
    return _settings(said)


def _settings(said: argparse.Namespace) -> Settings:
    import yaml

    config: Any = yaml.safe_load(said.config.read_text(encoding="utf-8"))
    host, _, port = said.listen.rpartition(":")
    times = config["global"]
    return Settings(
        host=host,
        port=int(port),
        scrape_every=durations.parse(times["scrape_interval"]) / 1000,
        evaluate_every=durations.parse(times["evaluation_interval"]) / 1000,
        resend_every=durations.parse(said.resend) / 1000,
        targets=[target for job in config["scrape_configs"] for target in _targets(job)],
        alertmanagers=[url for each in config["alerting"]["alertmanagers"] for url in _urls(each)],
        rules=[files.load(Path(name)) for name in config["rule_files"]],
    )


def _targets(job: Any) -> list[Target]:
    found = []
    for group in job["static_configs"]:
        for address in group["targets"]:
            host, _, port = address.rpartition(":")
            labels = {"instance": address, **group.get("labels", {}), "job": job["job_name"]}
            path = job.get("metrics_path", "/metrics")
            found.append(Target(f"http://{address}{path}", host, int(port), path, labels))
    return found


def _urls(alertmanager: Any) -> list[str]:
    prefix = alertmanager.get("path_prefix", "").rstrip("/")
    addresses = [address for group in alertmanager["static_configs"] for address in group["targets"]]
    return [f"http://{address}{prefix}/api/v2/alerts" for address in addresses]
