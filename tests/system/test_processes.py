"""Child processes: their output, their signals, and that none is ever left behind."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, TimeoutExpired
from chaoskit.system.journal import Journal, sweep
from chaoskit.system.pids import MARK, Pid, end_by_pidfile, identify, read_pidfile
from chaoskit.system.ports import free_port
from chaoskit.system.processes import LINE_LIMIT, LineSplitter, start_process
from chaoskit.system.sweep import opened, read

OWNER = """
import pathlib, sys, time
from chaoskit.system.journal import Journal
from chaoskit.system.processes import start_process
folder = pathlib.Path(sys.argv[1])
journal = Journal(folder / "owner.journal")
print("begin", flush=True)
for n in range(1000):
    argv = ["sh", "-c", "setsid sleep 300 & sleep 300 & sleep 300"]
    start_process(argv, name=f"p{n}", journal=journal, pidfile=folder / f"{n}.pid", on_line=lambda *_: None)
"""


@pytest.fixture
def journal(tmp_path):
    """A journal that must be empty at the end of the test."""
    made = Journal(tmp_path / "a.journal")
    yield made
    made.undo_all()
    made.close()


@pytest.fixture
def run(journal, tmp_path):
    """Starts processes; their lines are in ``run.lines``."""

    def start(*argv, **rest):
        start.count += 1
        return start_process(
            argv,
            name="it",
            journal=journal,
            pidfile=tmp_path / f"{start.count}.pid",
            on_line=lambda stream, line, at: start.lines.append((stream, line, at)),
            **rest,
        )

    start.count, start.lines = 0, []
    return start


def marked(text):
    """Processes whose environment says that they belong to a pidfile below ``text``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            here = f"{MARK}={text}".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        pid = identify(int(folder.name))
        if here and pid is not None and pid.alive():
            found.append(pid)
    return found


def said(run, line):
    """Wait until the process has written a line."""
    wait_for(lambda: any(line == text for _, text, _ in run.lines), what=f"the line {line!r}", limit=10)


def test_the_pidfile_names_the_process(run, journal, tmp_path):
    """Pid and start time of the program itself, which replaces the shell."""
    process = run(sys.executable, "-c", "import os; print(os.getpid(), os.getsid(0), flush=True); input()")
    assert process.wait(10) == 1  # input() finds no terminal
    assert run.lines[0][1] == f"{process.pid} {process.pid}"
    assert read_pidfile(tmp_path / "1.pid").pid == process.pid
    assert journal.open_entries() == []


@pytest.mark.parametrize("end", ["terminate", "kill", "by itself"])
def test_a_daemon_does_not_outlive_it(run, journal, tmp_path, end):
    """Whatever left its group and its parent is ended with it: no sweep looks for it later."""
    os.mkfifo(tmp_path / "wait")
    process = run("sh", "-c", "(setsid sleep 300 & echo up); read line < $0", str(tmp_path / "wait"))
    said(run, "up")
    wait_for(lambda: len(marked(tmp_path)) > 1, what="its daemon", limit=10)
    if end == "terminate":
        process.terminate(5)
    elif end == "kill":
        process.kill(signal.SIGKILL)
    else:
        with (tmp_path / "wait").open("w") as pipe:
            pipe.write("on\n")
    process.wait(10)
    assert journal.open_entries() == []
    wait_for(lambda: marked(tmp_path) == [], what="its daemon's end", limit=10)


def test_it_is_journaled_before_it_exists(run, journal, tmp_path):
    """The entry holds all that a sweep needs, gets the pid as soon as there is one, and is closed with its end."""
    process = run("sleep", "300", stop_signal=signal.SIGINT)
    facts = {"name": "it", "pidfile": str(tmp_path / "1.pid"), "signal": "SIGINT"}
    me = identify(process.pid)
    assert journal.open_entries() == [("process", {**facts, "pid": me.pid, "start": me.start})]
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert lines[1]["facts"] == facts
    assert process.terminate(5) == -signal.SIGTERM
    assert journal.open_entries() == []


def test_the_environment_carries_the_run(run, journal):
    """Ours, what was added, and the run's id."""
    run("sh", "-c", "echo $CHAOSKIT_RUN_ID $EXTRA $HOME", env={"EXTRA": "more"}).wait(10)
    assert run.lines[0][1] == f"{journal.run_id} more {os.environ['HOME']}"


def test_arguments_arrive_as_they_are(run):
    """The wrapping shell expands nothing."""
    words = ["a b", "$HOME", "*", "", "'\"", "new\nline", "-x"]
    run(sys.executable, "-c", "import sys; print(sys.argv[1:])", *words).wait(10)
    assert run.lines[0][1] == str(words)


def test_lines_come_with_stream_and_time(run):
    """In order within a stream, the last one without an end too, undecodable bytes replaced."""
    before = time.monotonic()
    process = run("sh", "-c", r"echo one; printf 'err\n' >&2; printf 'b\351d\r\nlast'")
    assert process.wait(10) == 0
    assert [line for stream, line, _ in run.lines if stream == "stdout"] == ["one", "b�d", "last"]
    assert [line for stream, line, _ in run.lines if stream == "stderr"] == ["err"]
    assert all(before <= at <= time.monotonic() for _, _, at in run.lines)


def test_the_last_fifty_lines_are_kept(run):
    """For error messages."""
    process = run("seq", "200")
    process.wait(10)
    assert list(process.last_lines) == [str(n) for n in range(151, 201)]


def test_a_listener_that_fails_does_not_stall_the_process(journal, tmp_path):
    """The error is kept, the output is read on."""

    def fail(*_):
        raise ValueError("closed")

    process = start_process(["seq", "100000"], name="it", journal=journal, pidfile=tmp_path / "pid", on_line=fail)
    assert process.wait(20) == 0
    assert str(process.capture_error) == "closed"


def test_long_lines_are_cut():
    """64 KiB are kept, wherever the pieces end, and the next line is whole."""
    splitter = LineSplitter()
    lines = []
    for piece in (b"x" * 10_000, b"y" * 10_000, b"z" * 50_000, b"\nnext\nre", b"st"):
        lines += splitter.feed(piece)
    lines += splitter.flush()
    assert [len(lines[0]), *lines[1:]] == [LINE_LIMIT + len(" [cut]"), "next", "rest"]
    assert LineSplitter().feed(b"x" * 2 * LINE_LIMIT + b"\nnext\n")[1] == "next"


def test_terminate_gives_time_then_kills(run):
    """A process that ignores SIGTERM is killed after the grace."""
    process = run("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    said(run, "deaf")
    before = time.monotonic()
    assert process.terminate(0.3) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - before < 5


def test_a_paused_process_can_be_ended_in_an_orderly_way(run, journal):
    """It is let go on so that it can act on the signal."""
    process = run("sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    said(run, "up")
    assert process.pause()
    assert process.terminate(10) == 3
    assert run.lines[-1][1] == "bye"
    assert journal.open_entries() == []


def test_pause_stops_all_descendants_and_is_journaled(run, journal):
    """Also those with a session of their own; undoing the journal entry lets the main process go on."""
    process = run("sh", "-c", "setsid sh -c 'while :; do echo tick; sleep 0.02; done' & wait")
    said(run, "tick")
    assert process.pause()
    assert [kind for kind, _ in journal.open_entries()] == ["process", "signal"]
    time.sleep(0.1)  # until what was in the pipe has been read, which cannot be asked
    count = len(run.lines)
    time.sleep(0.2)  # ten ticks that do not come
    assert len(run.lines) == count
    assert process.resume()
    assert [kind for kind, _ in journal.open_entries()] == ["process"]
    wait_for(lambda: len(run.lines) > count, what="another tick", limit=10)


def test_a_pause_is_closed_in_the_journal_once(run, tmp_path):
    """By the thread that sees the death, or by whoever resumes it at the same moment; not by both."""
    closing = threading.Event()
    closed = []

    class Slow(Journal):
        def done(self, entry):
            closed.append(entry)
            closing.set()
            time.sleep(0.1)  # for the other to come in between
            super().done(entry)

    journal = Slow(tmp_path / "slow.journal")
    process = start_process(
        ["sleep", "300"], name="it", journal=journal, pidfile=tmp_path / "slow.pid", on_line=lambda *_: None
    )
    assert process.pause()
    (entry,) = (number for number, each in journal._open.items() if each.kind == "signal")
    process.kill()
    assert closing.wait(10)
    assert not process.resume()
    process.wait(10)
    assert closed.count(entry) == 1
    assert not process.paused
    journal.close()


def test_what_cannot_be_followed_is_ended(tmp_path):
    """The journal is full when the pid is known: the program does not run on, and its pipes are closed."""

    class Full(Journal):
        def note(self, entry, **facts):
            raise BrokenError("the disk is full")

    journal = Full(tmp_path / "full.journal")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(BrokenError, match="the disk is full"):
            start_process(
                ["sleep", "300"], name="it", journal=journal, pidfile=tmp_path / "1.pid", on_line=lambda *_: None
            )
        gc.collect()
        assert [str(each.message) for each in caught] == []
    assert not marked(tmp_path)
    journal.undo_all()
    journal.close()


def test_kill_takes_the_whole_family(run, tmp_path):
    """Children in the group, in other sessions, and the main process."""
    process = run("sh", "-c", "sleep 300 & setsid sleep 300 & sh -c 'sleep 300 & wait' & echo up; wait")
    said(run, "up")
    wait_for(lambda: len(marked(tmp_path)) >= 5, what="five processes", limit=10)
    assert process.kill()
    assert process.wait(10) == -signal.SIGKILL
    wait_for(lambda: not marked(tmp_path), what="all to be gone", limit=10)


def test_the_group_ends_with_its_leader(run, tmp_path):
    """As in a container: no worker keeps the port of a dead master."""
    process = run("sh", "-c", "sleep 300 & exit 4")
    assert process.wait(10) == 4
    wait_for(lambda: not marked(tmp_path), what="the child to be gone", limit=10)


def test_nothing_happens_to_the_dead(run):
    """Signals to a process that has ended say so."""
    process = run("true")
    assert process.wait(10) == 0
    assert not process.kill()
    assert not process.pause()
    assert not process.resume()
    assert process.terminate() == 0
    assert process.poll() == 0


def test_no_zombie_is_left(run):
    """Ended children are reaped without being asked."""
    processes = [run("true") for _ in range(5)]
    for process in processes:
        process.wait(10)
        assert identify(process.pid) is None


def test_on_exit_is_told(run):
    """Once, with the process, after its status is known."""
    ended = []
    process = run("sh", "-c", "exit 7", on_exit=lambda it: ended.append((it.pid, it.poll())))
    wait_for(lambda: ended, what="on_exit", limit=10)
    assert ended == [(process.pid, 7)]


def test_a_program_that_is_not_there(run, journal):
    """Told before anything starts."""
    with pytest.raises(BrokenError, match="no program 'no-such-thing' on the PATH"):
        run("no-such-thing")
    assert journal.open_entries() == []


def test_a_folder_that_is_not_there(run, journal, tmp_path):
    """A working folder that does not exist is told, and nothing stays in the journal."""
    with pytest.raises(BrokenError, match="cannot start it"):
        run("true", cwd=tmp_path / "missing")
    assert journal.open_entries() == []


def test_wait_has_a_limit(run):
    """The error says who was awaited."""
    process = run("sleep", "300")
    with pytest.raises(TimeoutExpired, match=f"waited 0.05 s for it \\(pid {process.pid}\\) to end"):
        process.wait(0.05)
    process.kill()


def test_a_reused_pid_is_never_hit(tmp_path):
    """A pidfile with another start time means a process that is gone."""
    stranger = subprocess.Popen(["sleep", "300"])
    try:
        real = identify(stranger.pid)
        (tmp_path / "pid").write_text(f"{real.pid} {real.start - 1}\n")
        assert not end_by_pidfile(tmp_path / "pid")
        assert not Pid(real.pid, real.start - 1).signal(signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_swept_process_does_not_begin(tmp_path, journal):
    """Forked, but slower than the sweep: it finds its pidfile taken and ends by itself."""
    assert not end_by_pidfile(tmp_path / "1.pid")
    (tmp_path / "1.pid").rename(tmp_path / "kept")

    def take_the_place(*_):
        raise AssertionError("it must not run")

    # As if the sweep came between the check of the pidfile and the shell's first line.
    import chaoskit.system.processes as processes

    wrapper = processes._WRAPPER
    processes._WRAPPER = f"mv '{tmp_path}/kept' '{tmp_path}/1.pid'\n{wrapper}"
    try:
        process = start_process(
            ["echo", "running"], name="it", journal=journal, pidfile=tmp_path / "1.pid", on_line=lambda *_: None
        )
    finally:
        processes._WRAPPER = wrapper
    assert process.wait(10) == 125
    assert "running" not in process.last_lines


def test_a_sweep_ends_what_a_killed_owner_left_running(tmp_path):
    """Also a daemon whose parent is dead already, and a process that is stopped."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    wait_for(lambda: (tmp_path / "3.pid").exists(), what="some processes", limit=20)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_for(lambda: read_pidfile(tmp_path / "3.pid"), what="the pid", limit=10)
    os.kill(read_pidfile(tmp_path / "0.pid").pid, signal.SIGSTOP)
    os.kill(read_pidfile(tmp_path / "1.pid").pid, signal.SIGKILL)
    assert marked(tmp_path)
    told = sweep(tmp_path)
    assert "process p0 of run owner" in told
    assert not marked(tmp_path)
    assert not list(tmp_path.glob("*.journal"))


def test_a_sweep_needs_neither_pidfile_nor_mark(tmp_path, run, journal):
    """Somebody removed the folder, and the program has no environment any more: its pid stands in the journal."""
    program = "import time; print('up', flush=True); time.sleep(600)"
    process = run("env", "-i", sys.executable, "-c", program)
    said(run, "up")
    assert not marked(tmp_path)
    (tmp_path / "1.pid").unlink()
    with opened(journal.path) as handle:
        entries = read(handle).entries
    assert [entry.facts["pid"] for entry in entries.values()] == [process.pid]
    for entry in entries.values():
        entry.undo()
    assert process.wait(5) < 0


@pytest.mark.parametrize("attempt", range(5))
def test_killed_at_any_moment_nothing_is_left(tmp_path, attempt):
    """kill -9 of the owner between any two of its instructions, then a sweep: no process, no journal."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    owner.stdout.readline()
    time.sleep(random.uniform(0, 0.1))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    told = sweep(tmp_path)
    assert not [text for text in told if "could not" in text]
    time.sleep(0.05)  # a late one would begin now
    assert not marked(tmp_path)
    assert not list(tmp_path.glob("*.journal"))


def test_free_ports_are_low_free_and_never_given_twice():
    """Below the ephemeral ports, and usable at once."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        ports = [free_port() for _ in range(200)]
        assert taken.getsockname()[1] not in ports
    assert len(set(ports)) == 200
    assert all(20000 <= port < 32000 for port in ports)
