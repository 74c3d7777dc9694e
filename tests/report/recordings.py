"""Recorded scenarios made up for tests of what is judged from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from chaoskit.history.windows import histogram, percentile
from chaoskit.judge.operation_figures import Measured
from chaoskit.report.runs import Recorded


def measured(latencies: list[float] | None = None, *, success: float = 1.0, fallback: float = 0.0) -> Measured:
    """Figures of an operation with these latencies in seconds (by default 200 requests of 10 ms)."""
    latencies = latencies or [0.01] * 200
    return Measured(
        requests=len(latencies),
        success=success,
        fallback=fallback,
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
        histogram=histogram(latencies).encode().decode(),
    )


@cache
def _usual() -> Measured:
    return measured()


def made(name: str = "made-up", outcome: str = "held", **more: Any) -> Recorded:
    """A recorded scenario; one that passed recovered after 1 s."""
    facts: dict[str, Any] = {
        "folder": None if outcome == "skipped" else Path("reports/runs/1") / name,
        "scenario": name.replace("-", " "),
        "slug": name,
        "nodeid": f"scenarios/x.chaos.yaml::{name}",
        "reason": "because" if outcome not in ("held", "caught") else "all held",
        "started": "2026-01-01T10:00:00+0000",
        "recovery": 1.0 if outcome in ("held", "caught") else None,
        "operations": {} if outcome in ("skipped", "broken") else {"ask": _usual()},
        "wall": 5.0,
    }
    return Recorded(outcome=outcome, **{**facts, **more})
