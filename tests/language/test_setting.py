"""What a run will stand on, as far as the files tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.language.loader import load
from chaoskit.language.refusals import runtime_of

TEXT = """\
scenario: The stub answers
environment: {services: {SERVICES}}
traffic: {ask: {request: "GET {{ stub.url }}/", rate: 50/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{slow: {noop: {}, for: 2s}}]}
"""


@pytest.mark.parametrize(
    ("services", "runtime"),
    [
        ("stub: {provider: noop}", "process"),
        ("stub: {command: sleep 9}", "process"),
        ("stub: {command: sleep 9, image: some}", "process"),
        ("stub: {image: some}", "docker"),
        ("stub: {provider: noop}, other: {image: some}", "docker"),
    ],
)
def test_auto_looks_at_the_services(tmp_path: Path, services: str, runtime: Any) -> None:
    """Processes where every service can be one; what was asked for where something was."""
    file = tmp_path / "it.chaos.yaml"
    file.write_text(TEXT.replace("SERVICES", services))
    (scenario,) = load(file)
    assert runtime_of(scenario.environment, "auto") == runtime
    assert runtime_of(scenario.environment, "docker") == "docker"
    assert runtime_of(scenario.environment, "process") == "process"
