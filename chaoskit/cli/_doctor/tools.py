"""Programs of others that chaoskit works with where they are installed."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from chaoskit.cli._doctor.parts import NotThere, Part, program, told, versioned
from chaoskit.report.allure.commandline import NEEDS, candidates
from chaoskit.services.providers._alerting import PROGRAMS


def _toxiproxy() -> str:
    path = program("toxiproxy-server")
    version = told(path, "-version")
    return f"{version.removeprefix('toxiproxy-server version ') or 'version not told'} ({path})"


def _allure() -> str:
    """The newest that can run, where `chaoskit report` looks, too."""
    found = [(_npm_version(path) or told(str(path), "--version"), path) for path in candidates(Path.cwd(), os.environ)]
    if not found:
        raise NotThere("no allure on the PATH, nor in node_modules here or in a folder above")
    seen = {path: _runtime(version) for version, path in found}
    able = [(version, path) for version, path in found if seen[path] is not None]
    if not able:
        version, path = found[0]
        runtime = NEEDS.get(_major(version), "node")
        raise NotThere(f"{version or 'version not told'} ({path}), but there is no {runtime} to run it")
    version, path = max(able, key=lambda one: [int(part) for part in re.findall(r"\d+", one[0])[:3]])
    return f"{version or 'version not told'}, runs on {seen[path]} ({path})"


def _runtime(version: str) -> str | None:
    """What a version runs on, if that is here."""
    runtime = NEEDS.get(_major(version), "node")
    there = shutil.which(runtime) or (runtime == "java" and os.environ.get("JAVA_HOME"))
    return runtime.capitalize() if there else None


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _npm_version(path: Path) -> str:
    """From the package's own file: the program itself takes its time to start."""
    for folder in path.resolve().parents:
        try:
            package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(package.get("version", "")) if str(package.get("name", "")).startswith("allure") else ""
    return ""


def _java() -> str:
    return versioned("java", "-version").replace('"', "")


def _node() -> str:
    return versioned("node", "--version")


def _prometheus() -> str:
    return _short_version(*PROGRAMS["prometheus"])


def _alertmanager() -> str:
    return _short_version(next(filter(shutil.which, PROGRAMS["alertmanager"]), "alertmanager"))


def _short_version(name: str) -> str:
    text = versioned(name, "--version")
    found = re.search(r"version (\S+?),? ", f"{text} ")
    return f"{found[1]} ({shutil.which(name)})" if found else text


_NETWORK = "Network faults"
_REPORTS = "Alerts and reports"

PARTS = (
    Part(
        _NETWORK,
        "Toxiproxy",
        _toxiproxy,
        "--chaos-toxiproxy=binary (the embedded one serves without)",
        "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0, named toxiproxy-server; brew install toxiproxy",
    ),
    Part(
        _REPORTS,
        "Prometheus",
        _prometheus,
        "provider prometheus: all of PromQL (without, a documented part: docs/alerting-subset.md)",
        "apt install prometheus, brew install prometheus",
    ),
    Part(
        _REPORTS,
        "Alertmanager",
        _alertmanager,
        "provider alertmanager; --chaos-alerting=auto takes the two only together",
        "apt install prometheus-alertmanager, https://prometheus.io/download/",
    ),
    Part(
        _REPORTS,
        "Allure",
        _allure,
        "browsable Allure report from reports/allure-results",
        "npm install allure (v3, runs on Node) or allure-commandline (v2, Java), here or with -g; brew install allure",
    ),
    Part(_REPORTS, "Java", _java, "Allure 2", "apt install default-jre-headless, brew install openjdk"),
    Part(_REPORTS, "Node", _node, "Allure 3", "apt install nodejs npm, brew install node"),
)
