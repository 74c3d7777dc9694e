"""Who answers, where the process that was started only starts others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.history.rows import ASKED, Event, Sample
from chaoskit.observers.process_sampler import ProcessSampler

SERVER = """
import os, socket, sys, time
made = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        break
os.write(1, str(os.getpid()).encode() + os.linesep.encode())
time.sleep(60)
"""
REUSING = """
import os, socket, sys, time
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        made = socket.create_server(("127.0.0.1", int(sys.argv[1])), reuse_port=True)
        os.write(1, str(os.getpid()).encode() + os.linesep.encode())
        break
time.sleep(60)
"""


class Watched:
    """A service whose processes are looked at, and what is seen of them."""

    name = "shop"

    def __init__(self, script, server=SERVER, workers=0):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.inside = free.getsockname()
        words = f"'{sys.executable}' -c '{server}' {self.inside[1]} {workers}"
        self.process = subprocess.Popen(
            ["sh", "-c", script.format(words)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.resting = False
        self.rows = []
        self.sampler = ProcessSampler([self], self.rows.append)

    @property
    def pid(self):
        """While it runs."""
        return self.process.pid if self.process.poll() is None else None

    def line(self):
        """The pid that a server has written once it listens."""
        return int(self.process.stdout.readline())

    def events(self):
        """What happened, after another look."""
        self.sampler.observe()
        return [(row.what, row.pid) for row in self.rows if isinstance(row, Event)]

    def pids(self):
        """Each that was sampled, once."""
        return list(dict.fromkeys(row.value for row in self.rows if isinstance(row, Sample) and row.name[8:] == "pid"))


@pytest.fixture
def watch():
    """Starts one with ``{}`` in its script for the server."""
    made = []

    def start(*words, **given):
        made.append(Watched(*words, **given))
        return made[-1]

    yield start
    for each in made:
        os.killpg(each.process.pid, signal.SIGKILL) if each.pid else None
        each.process.communicate()


def test_a_program_that_a_shell_starts_again_has_ended(watch):
    """Twice, each time with the one that came after it; and then it goes on."""
    service = watch("while true; do {}; done")
    first = service.line()
    assert service.events() == []
    before = now()
    os.kill(first, signal.SIGKILL)
    second = service.line()
    wait_for(lambda: service.events() == [("exited", first), ("ready", second)], what="the second", limit=5)
    exited, ready = (row for row in service.rows if isinstance(row, Event))
    assert before < exited.at < ready.at
    assert (exited.code, exited.detail) == (None, "")
    os.kill(second, signal.SIGKILL)
    third = service.line()
    wait_for(lambda: len(service.events()) == 4, what="the third", limit=5)
    assert service.pids() == [service.process.pid, second, third]


@pytest.mark.parametrize("server", [SERVER, REUSING])
def test_workers_come_and_go(watch, server):
    """The process that they descend from stays, whether or not it listens itself."""
    service = watch("exec {}", server=server, workers=3)
    pids = {service.line() for _ in range(3 + (server == SERVER))} - {service.process.pid}
    assert service.events() == []
    for pid in sorted(pids)[:2]:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    assert service.events() == []
    assert service.pids() == [service.process.pid]


def test_a_shell_that_outlives_its_program(watch):
    """Nobody answers any more: after a while that is an end, too. One that ends with it is one end, which is told by
    who has started it."""
    service = watch("{}; sleep 60")
    first = service.line()
    service.events()
    os.kill(first, signal.SIGKILL)
    assert service.events() == []
    wait_for(lambda: service.events() == [("exited", first)], what="its end", limit=5)
    service = watch("{}; true")
    first = service.line()
    service.events()
    os.kill(first, signal.SIGKILL)
    service.process.wait()
    time.sleep(1.1)
    assert service.events() == []


def test_an_end_that_was_asked_for(watch):
    """A shell that ignores the signal starts the program once more while the service is being stopped."""
    service = watch("trap true TERM; while true; do {}; done")
    first = service.line()
    service.events()
    service.resting = True
    os.killpg(service.process.pid, signal.SIGTERM)
    second = service.line()
    wait_for(lambda: service.events() == [("exited", first), ("ready", second)], what="the second", limit=5)
    assert next(row for row in service.rows if isinstance(row, Event)).detail == ASKED
