"""The Compose tool: ``docker compose`` (v2) or ``docker-compose`` (v1), whichever is there."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from chaoskit.base.errors import BrokenError
from chaoskit.services.docker.endpoint import for_tools
from chaoskit.system.journal import Journal
from chaoskit.system.processes import start_process

ANSWER = 60.0
"""Seconds in which it must have read a file."""

INSTALL = (
    "a Compose file needs the Compose tool, and neither `docker compose` nor `docker-compose` is there: install "
    "docker-compose-plugin (v2, from Docker's packages) or docker-compose (v1, from Debian's)"
)


@functools.cache
def command() -> tuple[str, ...]:
    """How it is called: v2 where there is one. Raises BrokenError that says how to install it."""
    docker = shutil.which("docker")
    if docker is not None:
        try:
            asked = subprocess.run([docker, "compose", "version"], capture_output=True, timeout=ANSWER, check=False)
        except subprocess.TimeoutExpired:
            raise BrokenError(f"`docker compose version` gave no answer within {ANSWER:g} s") from None
        if asked.returncode == 0:
            return docker, "compose"
    single = shutil.which("docker-compose")
    if single is None:
        raise BrokenError(INSTALL)
    return (single,)


def resolve(files: Sequence[Path]) -> dict[str, Any]:
    """What the files mean: variables filled in, paths absolute, several made one. Touches nothing.

    Raises BrokenError with the tool's own words when they are not valid.
    """
    names = ", ".join(str(file) for file in files)
    words = [*command(), *(word for file in files for word in ("-f", str(file))), "config"]
    try:
        told = subprocess.run(
            words, capture_output=True, text=True, cwd=files[0].parent, timeout=ANSWER, check=False,
            env={**os.environ, **for_tools()},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BrokenError(f"{' '.join(command())} config took more than {ANSWER:g} s for {names}") from None
    if told.returncode != 0:
        raise BrokenError(f"{names} cannot be used; {' '.join(command())} says:\n  {_indented(told.stderr)}")
    data: dict[str, Any] = yaml.safe_load(told.stdout)
    return data


def run(words: Sequence[str], *, what: str, journal: Journal, pidfile: Path, cwd: Path, limit: float) -> None:
    """Have it do something, journaled: with our end it ends too. Raises BrokenError with its last words."""
    lines: list[str] = []
    name = f"compose-{pidfile.stem}"
    process = start_process(
        [*command(), *words],
        name=name,
        journal=journal,
        pidfile=pidfile,
        on_line=lambda _stream, line, _at: lines.append(line),
        cwd=cwd,
        env={**for_tools(), "COMPOSE_IGNORE_ORPHANS": "1", "COMPOSE_PROGRESS": "plain", "COMPOSE_ANSI": "never"},
    )
    try:
        status = process.wait(limit)
    except BaseException:
        process.terminate(1.0)
        raise
    if status != 0:
        raise BrokenError(f"{' '.join(command())} could not {what}:\n  {_indented(chr(10).join(lines[-15:]))}")


def _indented(text: str) -> str:
    return "\n  ".join(text.strip().splitlines()) or "nothing"
