"""The command that runs one scenario again as it was run: same seed, same servers, same hosts allowed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import pytest

_SAME = ("--chaos-toxiproxy", "--chaos-runtime", "--chaos-alerting")


def reproduce(
    config: pytest.Config,
    nodeid: str,
    control: bool,
    seed: int | None,
    plain: Sequence[str] = (),
    secret: Sequence[str] = (),
) -> str:
    """A command line for the shell, to be typed where pytest's rootdir is. ``seed`` is None where none was drawn.

    ``plain`` and ``secret`` are environment variables as :func:`chaoskit.pytest_plugin.variables.variables` gives them:
    the first stand before the command, the second are named in a comment behind it.
    """
    words = ["pytest", "--chaos", *(["--chaos-controls"] if control else [])]
    words += [] if seed is None else [f"--chaos-seed={seed}"]
    words += [f"{option}={value}" for option in _SAME if (value := config.getoption(option))]
    hosts: list[Any] = config.getoption("--chaos-allow")
    words += [f"--chaos-allow={host}" for host in hosts]
    told = f"  # was run with {', '.join(f'{name}=***' for name in secret)}" if secret else ""
    return " ".join([*plain, shlex.join([*words, nodeid])]) + told
