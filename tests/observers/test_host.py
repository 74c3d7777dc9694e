"""The observer of the machine: whose processor time it was, asked of real processes. Ratios, as others compute too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from chaoskit.base.clock import wait_for
from chaoskit.history import rows as r
from chaoskit.observers.host import Host
from chaoskit.system.pids import OURS

RUN = "made-up-run"
BURN = "import time\nwhile time.process_time() < {seconds}: pass"

pytestmark = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="without /proc nothing is seen")


@dataclass
class Named:
    """A service as far as an observer cares."""

    name: str
    pid: int | None


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another worker of pytest-xdist does counts as another's here, although it is this run's own load."""
    monkeypatch.delenv(OURS, raising=False)


@contextmanager
def looking(*services: Named) -> Iterator[list[r.Row]]:
    """Rows, as long as this context lasts; there is one already when it begins."""
    rows: list[r.Row] = []
    host = Host(services, rows.append, RUN)
    host.start()
    try:
        wait_for(lambda: rows, what="the first look at the machine", limit=20.0)
        yield rows
        seen = len(rows)
        wait_for(lambda: len(rows) > seen + 1, what="two more looks", limit=20.0)
    finally:
        host.stop()
    assert host.errors == 0, host.last_error


def used(rows: list[r.Row], figure: str) -> float:
    """Seconds of processor."""
    return sum(getattr(row, figure) * row.seconds for row in rows if isinstance(row, r.Host))


def adopted(code: str, env: dict[str, str] | None = None) -> None:
    """Run a program that init adopts at once, and wait for its end."""
    done, told = os.pipe()
    script = f"import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n{code}"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **(env or {})}, pass_fds=[told], check=True)
    os.close(told)
    os.read(done, 1)  # it holds the other end
    os.close(done)


def test_what_a_child_burns_is_ours() -> None:
    """Also when it has ended between two looks, and its parent has taken its time over."""
    with looking() as rows:
        for _ in range(6):
            subprocess.run([sys.executable, "-c", BURN.format(seconds=0.25)], check=True)
    assert 1.5 * 0.8 < used(rows, "own") < 1.5 * 2.0  # more than asked for: they have to start


def test_what_a_child_of_a_child_burns_is_ours() -> None:
    """It may come and go within a look."""
    short = BURN.format(seconds=0.2)
    burn = f"import subprocess, sys\nfor _ in range(3): subprocess.run([sys.executable, '-c', {short!r}])"
    with looking() as rows:
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert 0.6 * 0.8 < used(rows, "own") < 0.6 * 2.5


def test_who_was_adopted_is_ours_by_the_mark() -> None:
    """A service may have let go of its parent."""
    with looking() as rows:
        adopted(BURN.format(seconds=1.0), {"CHAOSKIT_RUN_ID": RUN})
    assert used(rows, "own") > 0.7


@pytest.mark.parametrize("env", [{}, {"CHAOSKIT_RUN_ID": "another-run"}])
def test_what_others_burn_is_foreign(env: dict[str, str]) -> None:
    """Without the mark, or with that of another run."""
    with looking() as rows:
        adopted(BURN.format(seconds=1.0), env)
    assert used(rows, "foreign") > 0.7
    assert used(rows, "own") < 0.6


@pytest.mark.parametrize(("value", "side"), [("same", "own"), ("4194305", "foreign")])
def test_what_bears_the_mark_of_what_runs_beside_us_is_ours(
    value: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container of another worker, which descends from a daemon."""
    monkeypatch.setenv(OURS, str(os.getpid()))
    with looking() as rows:
        adopted(BURN.format(seconds=1.0), {OURS: os.environ[OURS] if value == "same" else value})
    assert used(rows, side) > 0.7


@pytest.mark.parametrize("told", [False, True])
def test_what_runs_beside_us_on_purpose_is_ours(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As other workers of pytest-xdist: what one process started is one's own load, if that process is named."""
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(seconds=30.0)!r}])"
    reader, writer = os.pipe()
    apart = "import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    apart += f"os.write({writer}, str(os.getpid()).encode())\n{script}"
    subprocess.run([sys.executable, "-c", apart], pass_fds=[writer], check=True)
    pid = int(os.read(reader, 20))
    if told:
        monkeypatch.setenv(OURS, str(pid))
    else:
        monkeypatch.delenv(OURS, raising=False)
    side = "own" if told else "foreign"
    burnt = lambda: [sum(child.cpu_times()[:2]) for child in psutil.Process(pid).children()]  # noqa: E731
    wait_for(lambda: max(burnt(), default=0) > 1.0, what="a second of its child", limit=20.0)
    try:
        with looking() as rows:
            wait_for(lambda: used(rows, side) > 0.5, what=f"its time counted as {side}", limit=20.0)
    finally:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
        os.close(reader)
        os.close(writer)
    first = next(row for row in rows if isinstance(row, r.Host))
    if told:
        assert first.own > 0.1, "also in the first look"
    else:
        assert used(rows, "own") < 0.5
    # What it had used before we looked is no part of any look.
    assert all(row.own <= 1.5 * row.cores for row in rows if isinstance(row, r.Host))


def test_no_request_goes_through_what_runs_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its load is ours; that its threads wait, or are busy all the time, says nothing of how long ours have to."""
    shell = subprocess.Popen([sys.executable, "-c", BESIDE], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    try:
        assert shell.stdout.readline() == "burning\n"
        monkeypatch.setenv(OURS, str(shell.pid))
        with looking() as rows:
            wait_for(lambda: used(rows, "own") > 2.0, what="its load counted as ours", limit=30.0)
        assert max(row.busiest or 0.0 for row in rows if isinstance(row, r.Host)) < 0.5
        assert max(row.waited or 0.0 for row in rows if isinstance(row, r.Host)) < 1.0
        monkeypatch.delenv(OURS)
        with looking(Named("this", shell.pid)) as rows:
            wait_for(lambda: used(rows, "own") > 2.0, what="its load counted as ours", limit=30.0)
        assert max(row.busiest or 0.0 for row in rows if isinstance(row, r.Host)) > 0.7
        assert max(row.waited or 0.0 for row in rows if isinstance(row, r.Host)) > 1.0
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        shell.stdout.close()


BESIDE = f"""
import os, subprocess, sys
os.setsid()
for _ in range((os.cpu_count() or 1) + 2): subprocess.Popen([sys.executable, "-c", {BURN.format(seconds=60.0)!r}])
print("burning", flush=True)
os.wait()
"""


def test_a_service_that_is_no_child_of_ours_is_ours_by_its_pid() -> None:
    """As one in a container, which descends from the daemon."""
    reader, writer = os.pipe()
    code = f"os.write({writer}, str(os.getpid()).encode())\n{BURN.format(seconds=30.0)}"
    script = f"import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n{code}"
    subprocess.run([sys.executable, "-c", script], pass_fds=[writer], check=True)
    pid = int(os.read(reader, 20))
    try:
        with looking(Named("elsewhere", pid)) as rows:
            wait_for(lambda: used(rows, "own") > 0.5, what="its time counted as ours", limit=20.0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(reader)
        os.close(writer)


def test_threads_that_wait_for_a_processor_are_seen() -> None:
    """More endless loops than processors: some must wait, and the busiest process is busy all the time."""
    count = (os.cpu_count() or 1) + 2
    loops = [subprocess.Popen([sys.executable, "-c", BURN.format(seconds=30.0)]) for _ in range(count)]
    try:
        with looking() as rows:
            seen = lambda: [row for row in rows if isinstance(row, r.Host) and row.waited is not None]  # noqa: E731
            wait_for(lambda: len(seen()) > 4, what="five looks", limit=20.0)
            last = seen()[-3:]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    assert max(row.waited or 0.0 for row in last) > 1.0
    assert max(row.busiest or 0.0 for row in last) > 0.8
    assert max(row.late for row in last) > 0.0


WRITE = """
import os, sys
file = open(sys.argv[1], "wb")
for _ in range(64): file.write(os.urandom(1 << 20))
file.flush(); print("written", flush=True)
if "wait" in sys.argv: sys.stdin.readline()
os.fsync(file.fileno())
if "wait" in sys.argv: print("on disk", flush=True); sys.stdin.readline()
"""
WRITTEN = 64 << 20


def dirty() -> int:
    """Bytes in memory that no disk has yet, of everybody."""
    return 1024 * int(re.search(r"^Dirty: *(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)[1])


@pytest.mark.parametrize("before", [True, False])
def test_what_ours_wrote_is_ours_when_it_reaches_the_disk(tmp_path: Path, before: bool) -> None:
    """Written to memory, before we looked or since; the disk has it with the fsync, whoever else writes meanwhile."""
    argv = [sys.executable, "-c", WRITE, str(tmp_path / "file"), "wait"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        if before:
            writer.stdout.readline()
        with looking() as rows:
            if not before:
                writer.stdout.readline()
            wait_for(lambda: len(rows) > 3, what="looks while it lies in memory", limit=20.0)
            if before and dirty() < WRITTEN:
                pytest.skip("somebody else's sync has written it to the disk before we looked")
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            writer.stdout.readline()
    assert used(rows, "own_disk") > 0.7 * WRITTEN
    assert used(rows, "own_disk") < 1.5 * WRITTEN, "once"


def test_what_a_child_wrote_is_counted_once(tmp_path: Path) -> None:
    """Its bytes go to its parent when it is reaped. No disk writes what is written twice to the same place at once."""
    with looking() as rows:
        for index in range(3):
            subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / str(index))], check=True, capture_output=True)
    assert 0.7 * 3 * WRITTEN < used(rows, "own_disk") < 1.3 * 3 * WRITTEN


def test_it_is_cheap() -> None:
    """A hundredth of a processor; three where the machine is slow or busy."""
    with looking():
        (probe,) = [child for child in psutil.Process().children() if "_host_probe" in " ".join(child.cmdline())]
        before, began = probe.cpu_times(), time.monotonic()
        time.sleep(3.0)  # what is measured is what it takes over time
        after, seconds = probe.cpu_times(), time.monotonic() - began
    took = (after.user + after.system) - (before.user + before.system)
    assert took / seconds < 0.03, f"{took / seconds:.1%}"


def test_it_ends_with_us() -> None:
    """The probe of an engine that was killed goes by itself: its standard input has ended."""
    code = (
        "import os, sys, time\nfrom chaoskit.observers.host import Host\n"
        "host = Host([], lambda row: print('row', flush=True), 'x'); host.start()\n"
        "print(host._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        probe = psutil.Process(int(engine.stdout.readline()))
        assert engine.stdout.readline() == b"row\n"
        engine.kill()
    with suppress(psutil.NoSuchProcess):
        probe.wait(10.0)
