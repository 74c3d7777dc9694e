"""Environment variables that a run depends on: who runs it again must set them too."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping

from chaoskit.base.mask import mask_values
from chaoskit.base.plain_files import read_text
from chaoskit.language.model import Environment

_INHERITED = ("CHAOSKIT_FAILPOINTS", "GOFAIL_")
"""What services find in their environment and act on."""

_ASKED = ("FAKETIME_LIBRARY", "TOXIPROXY_AUTH_TOKEN")
_IN_COMPOSE = re.compile(r"(?<!\$)\$\{?([A-Za-z_]\w*)")


def variables(
    environment: Environment, *, docker: bool, environ: Mapping[str, str] = os.environ
) -> tuple[list[str], list[str]]:
    """Those that are set: ``NAME=value`` for the shell, and the names of those whose values are secret.

    They are what chaoskit and the failpoints in services ask for, and what a Compose file puts into its text.
    """
    used = {name for name in environ if name.startswith(_INHERITED)} | {*_ASKED}
    if docker:
        used |= {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"}
    used |= set(_compose(environment))
    plain, secret = [], []
    for name in sorted(used & set(environ)):
        if mask_values({name: environ[name]})[name] == environ[name]:
            plain.append(f"{name}={shlex.quote(environ[name])}")
        else:
            secret.append(name)
    return plain, secret


def _compose(environment: Environment) -> Iterator[str]:
    for file in environment.compose:
        yield from _IN_COMPOSE.findall(read_text(file))
