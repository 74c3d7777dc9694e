"""chaoskit killed with SIGKILL while it starts real servers: the next run's sweep leaves nothing of them."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaoskit.system.journal import sweep
from chaoskit.system.pids import identify, read_pidfile

OWNER = """
import pathlib, sys, time
from chaoskit.system.journal import Journal
from chaoskit.services.create import create
from chaoskit.language.service import ServiceSpec
folder = pathlib.Path(sys.argv[1])
journal = Journal(folder / "owner.journal")
print("begin", flush=True)
for provider in ("redis", "postgres"):
    spec = ServiceSpec(provider=provider, restart="always")
    create(provider, spec, folder=folder / "run", journal=journal, emit=lambda row: None).start()
print("up", flush=True)
time.sleep(60)
"""


def running(folder):
    """Processes whose pidfile lies in the folder, or whose command line names it."""
    written = [read_pidfile(pidfile) for pidfile in folder.glob("run/*/*.pid")]
    found = {pid.pid for pid in written if pid is not None and pid.alive()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


@pytest.fixture
def owner(tmp_path):
    """A run of its own."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()
    sweep(tmp_path)


@pytest.mark.parametrize("moment", ["begin", "somewhere", "elsewhere", "up"])
def test_nothing_is_left_of_a_killed_run(owner, tmp_path, moment):
    """Whatever it was doing: initdb, a server that starts, one that serves."""
    if moment == "up":
        owner.stdout.readline()
        assert len(running(tmp_path)) == 3  # the owner and two servers
    elif moment != "begin":
        time.sleep(random.uniform(0, 1))
    before = [identify(pid) for pid in running(tmp_path)]
    owner.kill()
    owner.wait()
    told = sweep(tmp_path)
    assert not [text for text in told if "could not" in text]
    assert running(tmp_path) == set()
    assert not [pid for pid in before if pid is not None and pid.alive()]
    assert list(tmp_path.glob("run/*")) == list(tmp_path.glob("*.journal")) == []
