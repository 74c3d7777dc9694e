"""What it costs to collect scenario files, against as many Python files with one test each.

    python benchmarks/collection.py [--files 1000] [--rounds 3]

Both in fresh folders, each time a whole pytest process (``--collect-only -q``); the best of the rounds counts.
Processor time is printed too: on a busy machine its ratio is the steadier one.
Bytecode is cached as it is for a team that runs its tests twice.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENVIRONMENT = """\
environment: shop
services:
  db: {provider: postgres}
  orders: {command: python -m orders, protocol: http, env: {DB: "{{ db.url }}"}}
"""

SCENARIO = """\
scenario: Orders survive a slow database, number NUMBER
case: B1
severity: critical
owner: orders
tags: [pool, database]
environment: shop
control:
  with: {orders: {env: {POOL: none}}}
  violates: [during.place.p99]
traffic:
  place:
    request: POST {{ orders.url }}/orders
    headers: {x-request-id: "{{ uuid() }}"}
    json: {user: "{{ faker.user_name() }}", quantity: "{{ randint(1, 3) }}"}
    rate: 40/s
    timeout: 2s
    ok: {status: 201}
steady_state:
  place: {success_rate: ">= 99%", p95: "< 250ms"}
timeline:
  steady: 3s
  faults:
    - slow-db: {latency: {on: db, delay: 800ms, jitter: 100ms}, at: 0s, for: 6s}
  recovery: 15s
expect:
  during:
    place: {success_rate: ">= 99%", p99: "< 1s"}
  recovery: {within: 5s}
"""

TEST = """\
def test_number_NUMBER():
    assert NUMBER >= 0
"""

TARGET = 1.5


def write(folder: Path, files: int) -> None:
    """A project with both kinds of files."""
    (folder / "pyproject.toml").touch()
    (folder / "scenarios" / "environments").mkdir(parents=True)
    (folder / "scenarios" / "environments" / "shop.yaml").write_text(ENVIRONMENT, encoding="utf-8")
    (folder / "tests").mkdir()
    for number in range(files):
        scenario = folder / "scenarios" / f"s{number:04}.chaos.yaml"
        scenario.write_text(SCENARIO.replace("NUMBER", str(number)), encoding="utf-8")
        test = folder / "tests" / f"test_{number:04}.py"
        test.write_text(TEST.replace("NUMBER", str(number)), encoding="utf-8")


def processor() -> float:
    """Seconds of processor time that our children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(folder: Path, files: int, *arguments: str) -> tuple[float, float]:
    """Wall and processor time of one pytest process that collects. Raises RuntimeError unless it found every file."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started, used = time.perf_counter(), processor()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - started, processor() - used
    if f"{files} tests collected" not in done.stdout:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return took


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, given.files)
        kinds = {"scenarios": ("--chaos", "scenarios"), "Python tests": ("tests",)}
        # In turns, so that a busy moment of the machine does not hit one kind alone.
        rounds = [
            {kind: seconds(folder, given.files, *arguments) for kind, arguments in kinds.items()}
            for _ in range(given.rounds)
        ]
    for index, what in enumerate(("wall", "processor")):
        best = {kind: min(one[kind][index] for one in rounds) for kind in kinds}
        for kind, took in best.items():
            print(f"{given.files} {kind:<13} {took:6.2f} s {what}")
        print(f"ratio {best['scenarios'] / best['Python tests']:.2f} (target: at most {TARGET})")


if __name__ == "__main__":
    main()
