"""Each mutant of the shop is violated where the table says. Six minutes, so pytest runs this only when it is named:

pytest tests/mutants/run_mutants.py -n 2
pytest tests/mutants/run_mutants.py -k acknowledges
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant

from chaoskit.engine.run_folder import rejudge
from chaoskit.judge.verdict import judge_control
from chaoskit.system.pids import OURS

# Embedded servers: nothing that a machine may have or lack decides.
COMMAND = [
    *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--chaos"),
    *("--chaos-toxiproxy=embedded", "--chaos-alerting=embedded", "--chaos-runtime=process"),
]
LIMIT = 300.0


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.mutant for mutant in MUTANTS])
def test_it_is_violated(mutant: Mutant, tmp_path: Path) -> None:
    """Where it says, and so neither vacuous nor broken."""
    scenario = mutant.write(tmp_path)
    # What the other workers run is load of our own, and no disturbance.
    ours = {OURS: str(os.getppid())} if "PYTEST_XDIST_WORKER" in os.environ else {}
    command, env = [*COMMAND, scenario], {**os.environ, **ours}
    for _ in range(3):  # a scenario that is violated elsewhere is not tried again by itself for what stayed open here
        run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT)
        runs = sorted(tmp_path.glob("reports/runs/*/*/run.json"), key=lambda file: file.stat().st_mtime)
        assert runs, f"{run.stdout}\n{run.stderr}"
        _, verdict, _ = rejudge(runs[-1].parent)
        found = judge_control(verdict, mutant.violates)
        if found.outcome != "inconclusive":
            break
    assert found.caught, f"{found.reason}\n{run.stdout}"
