"""Allure's own command line: version 2 runs on Java, version 3 on Node; both are called ``allure``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.base.errors import BrokenError

HOW_TO_GET = """\
Allure's command line is not here. One of these gets it (looked for on the PATH and in node_modules):
  npm install allure                 version 3, runs on Node
  npm install allure-commandline     version 2, runs on Java
  brew install allure"""

NEEDS = {2: "java", 3: "node"}
"""The program that each major version runs on."""

_LIMIT = 600.0
"""Seconds that a report may take."""


@dataclass(frozen=True)
class Allure:
    """An installed command line: how it is called, and its version."""

    program: tuple[str, ...]
    version: str

    @property
    def major(self) -> int:
        """2 or 3."""
        return int(self.version.partition(".")[0])

    def run(self, arguments: Sequence[str], folder: Path) -> None:
        """Run it in ``folder``. Raises BrokenError with its last lines when it fails or takes too long."""
        try:
            done = subprocess.run(
                [*self.program, *arguments],
                cwd=folder,
                env={**os.environ, "ALLURE_NO_ANALYTICS": "true", "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BrokenError(f"Allure {self.version} was not ready after {_LIMIT:.0f} s") from None
        except OSError as error:
            raise BrokenError(f"Allure {self.version} could not be started: {error}") from None
        if done.returncode:
            last = "\n  ".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-10:])
            raise BrokenError(f"Allure {self.version} ended with exit status {done.returncode}\n  {last}")


def find(wanted: int | None, start: Path, env: Mapping[str, str] | None = None) -> Allure | None:
    """An Allure of the wanted major version (None: the newest there is), or None.

    Looked for on the PATH and in the ``node_modules`` of ``start`` and the folders above it. One whose Java or Node is
    missing is none.
    """
    env = os.environ if env is None else env
    found = [
        allure
        for program in candidates(start, env)
        if (allure := _known(program, env)) and wanted in (None, allure.major)
    ]
    return max(found, key=lambda allure: [int(part) for part in re.findall(r"\d+", allure.version)[:3]], default=None)


def candidates(start: Path, env: Mapping[str, str]) -> Iterator[Path]:
    """Every ``allure`` on the PATH and in the ``node_modules`` of ``start`` and the folders above, usable or not."""
    # With both packages in one node_modules, .bin holds but one of them.
    places = [Path("allure", "cli.js"), Path("allure-commandline", "bin", "allure"), Path(".bin", "allure")]
    on_path = shutil.which("allure", path=env.get("PATH"))
    seen = set()
    start = start.resolve()
    for program in (
        *([Path(on_path)] if on_path else []),
        *(folder / "node_modules" / place for folder in (start, *start.parents) for place in places),
    ):
        if program.is_file() and (real := program.resolve()) not in seen:
            seen.add(real)
            yield real


def _known(program: Path, env: Mapping[str, str]) -> Allure | None:
    """The Allure at this place, if it is version 2 or 3 and can run."""
    version = _of_package(program) or _told(program)
    need = NEEDS.get(int(version.partition(".")[0] or 0)) if version else None
    if need is None:
        return None
    path = shutil.which(need, path=env.get("PATH"))
    if path is None and not (need == "java" and env.get("JAVA_HOME")):
        return None
    # npm's links to scripts need not be executable.
    return Allure((path, str(program)) if program.suffix == ".js" and path else (str(program),), version)


def _of_package(program: Path) -> str:
    """From the npm package's own file: the program takes its time to start."""
    for folder in program.parents[:4]:
        try:
            package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(package.get("version", "")) if package.get("name") in ("allure", "allure-commandline") else ""
    return ""


def _told(program: Path) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\b([23]\.\d+\.\d+)\b", done.stdout)
    return found[1] if found else ""
