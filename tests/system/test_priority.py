"""Who goes first: seen in real processes, threads and locks. To raise a priority takes root or CAP_SYS_NICE."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from chaoskit.base.clock import wait_for
from chaoskit.system import priority
from chaoskit.system.journal import Journal
from chaoskit.system.processes import start_process
from chaoskit.system.sweep import state_folder, sweep

needs_rights = pytest.mark.skipif(
    not priority.may_go_first(), reason="only root, or who has CAP_SYS_NICE, may raise a priority"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness of its own on Linux only")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def autogroup(pid: int) -> str:
    """How the kernel weighs the session of a process: "/autogroup-12 nice 0"; empty where it does not."""
    file = Path(f"/proc/{pid}/autogroup")
    return file.read_text(encoding="ascii").strip() if file.exists() else ""


@contextmanager
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, until the end."""
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        process.communicate()


@needs_rights
@pytest.mark.parametrize("wanted", [priority.MEASURES, priority.MEASURED, 7])
def test_a_process_and_its_session(wanted: int) -> None:
    """Both: where sessions are weighed, a process's niceness says nothing beside others' sessions."""
    with waiting() as process:
        weighed = autogroup(process.pid)
        priority.prioritise(process.pid, wanted)
        assert priority.niceness_of(process.pid) == wanted
        assert not weighed or autogroup(process.pid).endswith(f"nice {wanted}")


@needs_rights
def test_a_session_that_is_not_its_own_is_left_alone() -> None:
    """It may be a person's shell, or a CI job with all that runs in it."""
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    before = autogroup(os.getpid())
    try:
        priority.prioritise(process.pid, priority.MEASURES)
        assert priority.niceness_of(process.pid) == priority.MEASURES
        assert autogroup(os.getpid()) == before
    finally:
        process.communicate()


@needs_rights
def test_measuring_is_of_this_thread_and_what_it_starts(tmp_path: Path) -> None:
    """Other threads stay as they are; afterwards all is as it was."""
    before, seen, done = niceness(), {}, threading.Event()

    def other() -> None:
        done.wait(10.0)
        seen["other"] = niceness()

    early = threading.Thread(target=other)
    early.start()
    with priority.measuring(tmp_path):
        seen["own"] = niceness()
        late = threading.Thread(target=lambda: seen.update(started=niceness()))
        late.start()
        late.join()
        done.set()
        early.join()
    assert seen == {"own": priority.MEASURES, "started": priority.MEASURES, "other": before}
    assert niceness() == before


@needs_rights
def test_a_service_goes_after_what_measures_it(tmp_path: Path) -> None:
    """Also when it is started by a thread that measures."""
    journal = Journal.of_run("priority", tmp_path)
    try:
        with priority.measuring(tmp_path):
            process = start_process(
                ["/bin/sleep", "60"], name="service", journal=journal, pidfile=tmp_path / "pid", on_line=lambda *_: None
            )
        try:
            assert priority.niceness_of(process.pid) == priority.MEASURED
            weighed = autogroup(process.pid)
            assert not weighed or weighed.endswith(f"nice {priority.MEASURED}")
        finally:
            process.terminate(1.0)
    finally:
        journal.close()


RUN = """
import sys, pathlib
from chaoskit.system import priority
from chaoskit.system.journal import Journal
journal = Journal.of_run("priority-session", pathlib.Path({folder!r}))
priority.session_first(journal)
print(pathlib.Path("/proc/self/autogroup").read_text(), flush=True)
sys.stdin.readline()
journal.undo_all()
journal.close()
"""
"""A process that has its session go first until it reads a line."""


@needs_rights
@pytest.mark.parametrize("end", ["undone", "killed", "weighed by another"])
def test_the_session_we_were_started_in(end: str, tmp_path: Path) -> None:
    """Its weight comes back, by our own journal or by the sweep of another process; a weight of another's stays."""
    if not autogroup(os.getpid()):
        pytest.skip("this kernel does not weigh sessions (no autogroup)")
    code = RUN.format(folder=str(tmp_path))
    given, before = (5, 5) if end == "weighed by another" else (priority.MEASURES, 0)
    # Our process is one of a session that outlives it, as a shell's job is.
    script = f'echo {before} > /proc/self/autogroup; {{ {sys.executable} -c "$0"; }}; cat'
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    with shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        assert shell.stdout.readline().decode().strip().endswith(f"nice {given}")
        if end == "killed":
            (child,) = psutil.Process(shell.pid).children()
            child.kill()
            with suppress(psutil.NoSuchProcess):  # the shell may have taken note of it already
                child.wait(10.0)
            assert autogroup(shell.pid).endswith(f"nice {given}")
            sweep()
        else:
            shell.stdin.write(b"\n")
            shell.stdin.flush()
        wait_for(lambda: autogroup(shell.pid).endswith(f"nice {before}"), what="the weight it had", limit=10.0)
        shell.stdin.close()


@needs_rights
@pytest.mark.parametrize("end", ["undone", "killed"])
def test_runs_that_share_a_session(end: str, tmp_path: Path) -> None:
    """As workers of pytest-xdist: the first to end leaves it to the other, whether it began first or was killed."""
    if not autogroup(os.getpid()):
        pytest.skip("this kernel does not weigh sessions (no autogroup)")
    code = RUN.format(folder=str(tmp_path))
    both = (
        "import subprocess, sys\n"
        "runs = [subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
        " for _ in range(2)]\n"
        "assert all(run.stdout.readline() for run in runs)\n"
        "print(runs[0].pid, flush=True)\n"
        "for run in runs:\n"
        "    sys.stdin.readline()\n"
        "    run.poll() is None and run.communicate(b'\\n')\n"
        "    print('ended', flush=True)\n"
        "sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", both, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        first = psutil.Process(int(shell.stdout.readline()))
        for number in range(2):
            assert autogroup(shell.pid).endswith(f"nice {priority.MEASURES}")
            if end == "killed" and number == 0:
                first.kill()
                wait_for(lambda: first.status() == "zombie", what="its end", limit=10.0)
                sweep()
            shell.stdin.write(b"\n")
            shell.stdin.flush()
            assert shell.stdout.readline() == b"ended\n"
        assert autogroup(shell.pid).endswith("nice 0")
        assert not list(state_folder().glob("session*.lock"))
        shell.stdin.close()


def test_who_may_not_loses_nothing() -> None:
    """Without the right to raise priorities all runs as it is: asked of a process that is nobody's."""
    code = (
        "import os, pathlib\n"
        "from chaoskit.system import priority\n"
        "os.getuid() or os.setuid(65534)\n"
        "before = os.getpriority(os.PRIO_PROCESS, 0)\n"
        "with priority.measuring(pathlib.Path('/')): inside = os.getpriority(os.PRIO_PROCESS, 0)\n"
        "priority.prioritise(os.getpid(), -5)\n"
        "last = priority.at_last(lambda: os.getpriority(os.PRIO_PROCESS, 0))\n"
        "print(priority.may_go_first(), before, inside, os.getpriority(os.PRIO_PROCESS, 0), last)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=_no_limit_of_niceness
    )
    assert done.stdout.split() == ["False", "0", "0", "0", "19"], done.stderr


def _no_limit_of_niceness() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    os.setpriority(os.PRIO_PROCESS, 0, 0)


@needs_rights
def test_who_was_started_with_a_lower_priority_keeps_it() -> None:
    """``nice pytest --chaos`` is a wish of whoever typed it."""
    code = (
        "import os; from chaoskit.system import priority; priority.prioritise(os.getpid(), -5)\n"
        "print(priority.may_go_first(), os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run(["nice", "-n", "7", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "7"]


@linux
def test_reports_are_made_at_the_lowest_priority() -> None:
    """On a thread of its own: what was lowered could not be raised again. An error comes through."""
    before = niceness()
    assert priority.at_last(niceness) == priority.REPORTS
    assert niceness() == before
    with pytest.raises(ZeroDivisionError):
        priority.at_last(lambda: 1 // 0)


MEASURE = """
import pathlib, sys
from chaoskit.system import priority
with priority.measuring(pathlib.Path(sys.argv[1])):
    print("measuring", flush=True)
    sys.stdin.read()
"""


def test_nothing_is_drawn_while_another_process_measures(tmp_path: Path) -> None:
    """It waits until that one has ended, however it ends; two may measure beside each other."""
    argv, pipe = [sys.executable, "-c", MEASURE, str(tmp_path)], subprocess.PIPE
    first, second = (subprocess.Popen(argv, stdin=pipe, stdout=pipe) for _ in range(2))
    with first, second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == b"measuring\n"
        drawn = threading.Event()

        def draw() -> None:
            with priority.nothing_measured(tmp_path):
                drawn.set()

        thread = threading.Thread(target=draw)
        thread.start()
        assert first.stdin is not None
        first.stdin.close()
        first.wait(timeout=10)
        assert not drawn.wait(0.5), "the second still measures"
        second.kill()
        wait_for(drawn.is_set, what="its turn", limit=10.0)
        thread.join()


def test_who_holds_a_lock_for_ever_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the runs may be anybody's to lock."""
    monkeypatch.setattr(priority, "AT_ONCE", 0.3)
    with priority.nothing_measured(tmp_path):
        began = time.monotonic()
        thread = threading.Thread(target=lambda: priority.measuring(tmp_path).__enter__())
        thread.start()
        thread.join(timeout=10.0)
        assert not thread.is_alive()
        assert time.monotonic() - began > 0.25
