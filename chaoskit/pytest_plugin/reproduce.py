"""The command that runs one scenario again as it was run: same seed, same servers, same hosts allowed."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

_SAME = ("--chaos-toxiproxy", "--chaos-runtime", "--chaos-alerting")


def reproduce(config: pytest.Config, nodeid: str, control: bool, seed: int) -> str:
    """A command line for the shell, to be typed where pytest's rootdir is."""
    words = ["pytest", "--chaos", *(["--chaos-controls"] if control else []), f"--chaos-seed={seed}"]
    words += [f"{option}={value}" for option in _SAME if (value := config.getoption(option))]
    hosts: list[Any] = config.getoption("--chaos-allow")
    words += [f"--chaos-allow={host}" for host in hosts]
    return shlex.join([*words, nodeid])
