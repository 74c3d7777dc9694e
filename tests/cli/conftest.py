"""The command line in a folder of its own, and a recorded run made from rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaoskit.history import rows as r
from chaoskit.history.store import History

SCENARIO = """\
scenario: Made up
environment: {services: {stub: {provider: noop}}}
traffic:
  ask: {request: "GET {{ stub.url }}/", rate: 50/s}
steady_state:
  ask: {success_rate: ">= 99%", p95: "< 200ms"}
timeline:
  steady: 2s
  faults:
    - slow: {noop: {}, at: 0s, for: 2s}
  recovery: 3s
expect:
  during:
    ask: {p95: "< 500ms"}
"""


@dataclass(frozen=True)
class Answer:
    """What a command gave: exit status and texts."""

    status: int
    out: str
    err: str


@pytest.fixture
def chaoskit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Runs ``chaoskit ...`` as a process of its own in an empty project. No answer may hold a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()

    def run(*arguments: object) -> Answer:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from chaoskit.cli import main; sys.exit(main())",
                *map(str, arguments),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of a recorded scenario whose answers take ``latency`` seconds under the fault."""

    def write(name: str = "made-up", *, latency: float = 0.01, text: str = SCENARIO, **meta: Any) -> Path:
        folder = tmp_path / "reports" / "runs" / "1" / name
        history = History(folder)
        for phase, start, end in (("steady", 0, 2), ("faults", 2, 4), ("recovery", 4, 7)):
            history.add(r.Phase(name=phase, started=start, ended=end))
        for seq in range(350):
            at = seq / 50
            ended = at + (latency if 2 <= at < 4 else 0.01)
            history.add(
                r.Request(
                    op="ask", seq=seq, stream="base:ask", intended=at, sent=at, ended=ended, status=200, error=None,
                    ok=True, fallback=False, id=str(seq),
                )
            )  # fmt: skip
        history.add(
            r.Fault(
                name="slow", kind="noop", target="stub", planned_start=2, planned_end=4, started=2, injected=2,
                ended=4, touched=3, unit="connections",
            )
        )  # fmt: skip
        history.add(r.Schedule(at=7, planned=350, sent=350, lag_p50=0, lag_p99=0.001, lag_max=0.002))
        history.close()
        (folder / "scenario.chaos.yaml").write_text(text, encoding="utf-8")
        (folder / "run.json").write_text(json.dumps({"matrix": {}, "control": False, **meta}), encoding="utf-8")
        return folder

    return write
