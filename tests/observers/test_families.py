"""Whose a process is: services are more than the process that was started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.observers._families import Families
from chaoskit.observers.process_sampler import ProcessSampler
from chaoskit.system.pids import MARK, signal_all, stragglers

LEAKING = """
import sys, threading, time
print("begins", flush=True)
sys.stdin.readline()
kept = [open("/dev/null") for _ in range(30)], b"x" * 60_000_000
for _ in range(7):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
until = time.process_time() + 0.3
while time.process_time() < until:
    pass
print("leaks", flush=True)
time.sleep(60)
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(60)
"""


class Named:
    """A service as far as the sampler cares."""

    name = "shop"

    def __init__(self, pid, port=0):
        self.pid, self.inside, self.resting = pid, ("127.0.0.1", port), False


@pytest.fixture
def start(tmp_path) -> Iterator:
    """Starts a program as a service is started, in a session of its own, with its mark."""
    started = []

    def run(*words):
        mark = tmp_path / f"{len(started)}.pid"
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, MARK: str(mark)},
        )
        started.append(process)
        return process

    yield run
    for number, process in enumerate(started):
        signal_all(stragglers(tmp_path / f"{number}.pid"), 9)
        process.communicate()


def figures(sampler, rows):
    """One look."""
    rows.clear()
    sampler.observe()
    return {row.name.removeprefix("process."): row.value for row in rows}


def test_what_a_service_holds_is_what_all_of_its_processes_hold(start):
    """Behind a shell, too."""
    shell = start("sh", "-c", f"'{sys.executable}' -c '{LEAKING}'; echo ended")
    rows = []
    sampler = ProcessSampler([Named(shell.pid)], rows.append)
    assert shell.stdout.readline() == "begins\n"
    before = figures(sampler, rows)
    shell.stdin.write("go\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "leaks\n"
    after = figures(sampler, rows)
    assert after["pid"] == shell.pid
    assert after["open_files"] - before["open_files"] >= 30
    assert after["threads"] - before["threads"] >= 7
    assert 50e6 < after["memory"] - before["memory"] < 150e6
    assert after["cpu"] - before["cpu"] >= 0.2


def test_memory_that_is_shared_counts_once(start):
    """A worker that has taken nothing of its own adds little to what its parent has mapped."""
    program = """
import mmap, os, time
shared = mmap.mmap(-1, 80_000_000)
shared.write(b"x" * 80_000_000)
for _ in range(3):
    if os.fork() == 0:
        shared[:: 4096]
        print("ready", flush=True)
        time.sleep(60)
time.sleep(60)
"""
    process = start(sys.executable, "-c", program)
    for _ in range(3):
        process.stdout.readline()
    rows = []
    seen = figures(ProcessSampler([Named(process.pid)], rows.append), rows)
    assert 80e6 < seen["memory"] < 200e6


def test_a_daemon_belongs_to_who_started_it(start):
    """It has another parent and another group, and bears the mark; nobody else does."""
    process = start(sys.executable, "-c", DAEMON)
    daemon = int(process.stdout.readline())
    assert {stat.pid for stat in Families().look({"shop": process.pid})["shop"]} == {process.pid, daemon}


def test_members_come_and_go(start):
    """One that was born after the first look, and one that has ended before the last."""
    process = start("sh", "-c", "sleep 0.5; sleep 60; true")
    families, seen = Families(), set()

    def second():
        (_, *others) = families.look({"shop": process.pid})["shop"]
        seen.update(stat.pid for stat in others)
        return len(seen) == 2 and len(others) == 1

    assert wait_for(second, what="the second child alone", limit=10)


def test_of_two_services_each_has_its_own(start):
    """Also where one has started the other, and where one ends."""
    one = start("sh", "-c", "sleep 60; true")
    two = start("sh", "-c", "sleep 60; true")
    families = Families()
    mains = {"one": one.pid, "two": two.pid}
    wait_for(
        lambda: all(len(stats) == 2 for stats in families.look(mains).values()), what="both shells' children", limit=10
    )
    found = families.look(mains)
    assert found["one"][0].pid == one.pid
    assert {stat.parent for stat in found["one"][1:]} == {one.pid}
    one.kill()
    one.wait()
    assert families.look(mains)["one"] == []
    assert len(families.look({"two": two.pid})["two"]) == 2
