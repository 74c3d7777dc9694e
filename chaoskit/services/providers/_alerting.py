"""What the providers ``prometheus`` and ``alertmanager`` share: their programs, their stand-ins, their HTTP API."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

from chaoskit.base.errors import BrokenError, ChaosError, unknown
from chaoskit.services.base import Neighbours
from chaoskit.services.providers.base import Provider

Alerting = Literal["prometheus", "embedded"]
ENGINES = ("auto", "embedded", "prometheus")
OPTION = "--chaos-alerting"
PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}
"""Names on the PATH, Debian's first."""


def find_program(name: str) -> str | None:
    """Where the program of a provider is, if it is on the PATH."""
    return next(filter(None, map(shutil.which, PROGRAMS[name])), None)


def resolve(option: str, runtime: str) -> Alerting:
    """``auto``, ``embedded`` or ``prometheus`` for environments that run as ``process`` or ``docker``.

    Raises ChaosError for another word, and where what was asked for is not to be had.
    """
    if option not in ENGINES:
        raise ChaosError(f"{OPTION}: " + unknown("way of alerting", option, ENGINES))
    if runtime == "docker":
        if option == "embedded":
            raise ChaosError(
                f"{OPTION}=embedded serves environments of processes; on Docker, Prometheus and Alertmanager are "
                f"containers: use {OPTION}=auto"
            )
        return "prometheus"
    missing = [" or ".join(PROGRAMS[name]) for name in PROGRAMS if find_program(name) is None]
    if option == "prometheus" and missing:
        raise ChaosError(
            f"{OPTION}=prometheus: not on the PATH: {', '.join(missing)}. Install it (apt install prometheus "
            f"prometheus-alertmanager), or use {OPTION}=embedded"
        )
    return "embedded" if option == "embedded" or missing else "prometheus"


class AlertingProvider(Provider):
    """A server that is configured by files in its folder and asked through its HTTP API."""

    default_protocol = "http"
    program: ClassVar[str]
    stand_in: ClassVar[str]
    """Our module that takes the server's place."""
    neighbours: Neighbours

    def join(self, neighbours: Neighbours) -> None:
        """The services to scrape and to tell, and where relative paths start from."""
        self.neighbours = neighbours

    @property
    def embedded(self) -> bool:
        """Whether our stand-in serves."""
        return self.neighbours.alerting == "embedded"

    @property
    def base(self) -> Path:
        """What relative paths of the environment start from."""
        return self.neighbours.folder

    def words_of_program(self) -> list[str]:
        """The program to run as a process. Raises BrokenError when there is none."""
        if self.embedded:
            return [sys.executable, "-m", self.stand_in]
        found = find_program(self.program)
        if found is None:
            raise BrokenError(f"{self.name}: no {' or '.join(PROGRAMS[self.program])} on the PATH")
        return [found]

    def version(self) -> str:
        """Which server serves: ``prometheus 2.42.0``, or ``embedded``."""
        if self.embedded:
            return "embedded"
        if self.runtime.contained:
            return f"{self.program} (image {self.plan().image})"
        told = subprocess.run([*self.words_of_program(), "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"version (\d[\w.]*)", told.stdout + told.stderr)
        return f"{self.program} {found[1] if found else ''}".rstrip()

    def call(self, method: str, path: str, limit: float = 5.0) -> Any:
        """The JSON of an answer; None without one. Raises BrokenError unless it is 2xx."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=limit)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(f"{self.name}: {method} {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise BrokenError(
                f"{self.name}: {method} {path}: status {answer.status}: {body[:200].decode(errors='replace')}"
            )
        return json.loads(body) if body else None
