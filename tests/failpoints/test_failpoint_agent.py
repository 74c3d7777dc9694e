"""Real processes with failpoints: through the agent, and by the environment alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaoskit.clock import wait_for
from chaoskit.failpoints.client import FailpointClient, FailpointError

# A service that answers lines: "sync" and "async" call a function that knows nothing of failpoints, each in
# the background, so that it can hang.
SERVICE = """
import asyncio, sys, threading
from fp_service.work import Orders, pay

def say(name, text):
    print(name, text, flush=True)

def guarded(name, call):
    try: say(name, call())
    except Exception as error: say(name, repr(error))

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def run_async():
    future = asyncio.run_coroutine_threadsafe(pay(1), loop)
    guarded("async", future.result)

calls = {"sync": lambda: guarded("sync", lambda: Orders().charge(1)), "async": run_async,
         "tick": lambda: guarded("tick", asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result)}
say("ready", sys.argv[1:])
for line in sys.stdin:
    threading.Thread(target=calls[line.strip()], daemon=True).start()
"""
WORK = """
class Orders:
    def charge(self, amount): return f"charged {amount}"
async def pay(amount): return f"paid {amount}"
"""
SYNC, ASYNC = "fp_service.work:Orders.charge", "fp_service.work:pay"


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A process, the lines it writes, and its failpoints."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        port = free_port()
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("GOFAIL", "CHAOSKIT_FAILPOINTS"))}
        self.api = FailpointClient(f"http://127.0.0.1:{port}")
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=clean | {"GOFAIL_HTTP": f"127.0.0.1:{port}", "PYTHONPATH": str(folder)} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line of standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def send(self, call: str) -> None:
        """Have the service call something in the background."""
        assert self.process.stdin is not None
        self.process.stdin.write(call + "\n")
        self.process.stdin.flush()

    def ask(self, call: str) -> str:
        """Call something and wait for what it says."""
        self.send(call)
        return self.line()

    def wait(self) -> tuple[int, str]:
        """Exit status and standard error of a process that is ending."""
        assert self.process.stderr is not None
        return self.process.wait(30), self.process.stderr.read()

    def finish(self) -> int:
        """Exit status after the end of standard input."""
        self.process.communicate(timeout=30)
        return self.process.returncode


Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts children in a folder with the service in it, and ends them."""
    package = tmp_path / "fp_service"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SERVICE)
    (package / "work.py").write_text(WORK)
    children: list[Child] = []

    def run(*arguments: str, **env: str) -> Child:
        children.append(Child(tmp_path, *arguments, **env))
        return children[-1]

    yield run
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()


@pytest.fixture
def service(start: Start) -> Child:
    """The service, started through the agent and ready."""
    child = start("-m", "chaoskit.failpoints.agent", "-m", "fp_service", "a", "-b")
    assert child.line() == "ready ['a', '-b']"
    return child


@pytest.mark.parametrize(
    ("call", "name", "healthy"), [("sync", SYNC, "charged 1"), ("async", ASYNC, "paid 1")]
)
def test_panic_return_and_sleep_by_name(service: Child, call: str, name: str, healthy: str) -> None:
    """One unit of work fails, the process lives; lifted, everything is as before."""
    assert service.ask(call) == f"{call} {healthy}"
    service.api.put(name, '1*panic("boom")->1*return({"a": 1})->1*sleep(50)')
    assert service.ask(call) == f"{call} Panic('failpoint panic: boom')"
    assert service.ask(call) == f"{call} {{'a': 1}}"
    begin = time.monotonic()
    assert service.ask(call) == f"{call} {healthy}"
    assert time.monotonic() - begin >= 0.05
    assert service.ask(call) == f"{call} {healthy}"
    assert service.api.count(name) == 3
    service.api.delete(name)
    assert service.ask(call) == f"{call} {healthy}"
    assert service.process.poll() is None


@pytest.mark.parametrize(("call", "name"), [("sync", SYNC), ("async", ASYNC)])
@pytest.mark.parametrize(
    ("terms", "status"), [("abort", -signal.SIGABRT), ("exit(3)", 3), ("exit", 1), ("1*off->exit(0)", 0)]
)
def test_abort_and_exit_by_name(service: Child, call: str, name: str, terms: str, status: int) -> None:
    """The process ends at once with the signal or the status, and its last line says why."""
    service.api.put(name, terms)
    if "off" in terms:
        service.ask(call)
    service.send(call)
    code, errors = service.wait()
    assert code == status
    word = "abort" if terms == "abort" else f"exit({status})"
    assert f"failpoint {word}: {name}" in errors.splitlines()
    with pytest.raises(FailpointError, match="no answer"):
        service.api.list()


@pytest.mark.parametrize(
    ("call", "name", "healthy"), [("sync", SYNC, "charged 1"), ("async", ASYNC, "paid 1")]
)
def test_hang_by_name(service: Child, call: str, name: str, healthy: str) -> None:
    """The unit of work hangs, the event loop runs on; lifted, the work is finished."""
    service.api.put(name, "hang")
    service.send(call)
    wait_for(lambda: service.api.count(name) == 1, what="the hit", limit=10)
    assert service.ask("tick") == "tick None"
    service.api.delete(name)
    assert service.line() == f"{call} {healthy}"


def test_a_hung_process_can_be_ended(service: Child) -> None:
    """SIGTERM ends it as ever."""
    service.api.put(SYNC, "hang")
    service.send("sync")
    wait_for(lambda: service.api.count(SYNC) == 1, what="the hit", limit=10)
    service.process.terminate()
    assert service.wait()[0] == -signal.SIGTERM


def test_set_while_it_is_hot(start: Start, tmp_path: Path) -> None:
    """An abort in a function that is called without pause still lets the API answer the request that set it."""
    (tmp_path / "hot.py").write_text(
        "import threading, fp_service.work as w\nprint('ready', flush=True)\no = w.Orders()\n"
        "def spin():\n    while True: o.charge(1)\n"
        "for _ in range(3): threading.Thread(target=spin).start()\n"
    )
    child = start("-m", "chaoskit.failpoints.agent", "hot.py")
    child.line()
    child.api.put(SYNC, "abort")
    assert child.wait()[0] == -signal.SIGABRT


def test_failpoints_from_the_environment(start: Start) -> None:
    """Set before the module is imported, in either spelling; the API can lift them."""
    child = start(
        "-m",
        "chaoskit.failpoints.agent",
        "-m",
        "fp_service",
        GOFAIL_FAILPOINTS=f"{SYNC}=return(1)",
        CHAOSKIT_FAILPOINTS=f"{ASYNC}=return(2)",
    )
    child.line()
    assert [child.ask("sync"), child.ask("async")] == ["sync 1", "async 2"]
    child.api.delete(SYNC)
    assert child.ask("sync") == "sync charged 1"


def test_a_script_runs_as_without_the_agent(start: Start, tmp_path: Path) -> None:
    """Arguments, __main__, its own folder on the path, its exit status; its functions are failpoints too."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "beside.py").write_text("word = 'beside'\n")
    (folder / "script.py").write_text(
        "import sys, pickle, beside\n"
        "class Thing: pass\n"
        "def work(): return 1\n"
        "assert isinstance(pickle.loads(pickle.dumps(Thing())), Thing)\n"
        "print(sys.argv, __name__, __file__ == sys.modules['__main__'].__file__, beside.word, flush=True)\n"
        "for line in sys.stdin: print(work(), flush=True)\n"
        "sys.exit(5)\n"
    )
    child = start("-m", "chaoskit.failpoints.agent", "elsewhere/script.py", "x", "-m")
    assert child.line() == "['elsewhere/script.py', 'x', '-m'] __main__ True beside"
    child.api.put("__main__:work", "return(2)")
    assert child.ask("go") == "2"
    assert child.finish() == 5


def test_lines_need_no_agent(start: Start, tmp_path: Path) -> None:
    """Importing the package is enough: GOFAIL_HTTP, GOFAIL_FAILPOINTS and the seed are read."""
    (tmp_path / "line.py").write_text(
        "import sys\nfrom chaoskit.failpoints import failpoint, register\nregister('b')\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n    hit = failpoint('a')\n    print(hit and hit.value, flush=True)\n"
    )

    def sequence() -> list[str]:
        child = start("line.py", GOFAIL_FAILPOINTS="a=50.0%return(1)", CHAOSKIT_FAILPOINTS_SEED="5")
        child.line()
        seen = [child.ask("go") for _ in range(30)]
        assert child.api.count("a") == seen.count("1")
        child.api.put("b", "panic")
        with pytest.raises(FailpointError, match="404"):
            child.api.put("fp_service.work:pay", "panic")
        return seen

    first = sequence()
    assert {"1", "None"} == set(first)
    assert sequence() == first


def test_by_name_without_the_agent(start: Start, tmp_path: Path) -> None:
    """CHAOSKIT_FAILPOINTS_AGENT=1 is enough for a program that imports the package."""
    (tmp_path / "line.py").write_text(
        "import sys\nimport chaoskit.failpoints\nfrom fp_service.work import Orders\nprint('ready', flush=True)\n"
        "for line in sys.stdin: print(Orders().charge(1), flush=True)\n"
    )
    child = start("line.py", CHAOSKIT_FAILPOINTS_AGENT="1", CHAOSKIT_FAILPOINTS=f"{SYNC}=1*return(1)")
    child.line()
    assert [child.ask("go"), child.ask("go")] == ["1", "charged 1"]


def test_children_leave_the_address_to_their_parent(start: Start, tmp_path: Path) -> None:
    """Started or forked children inherit the address, but do not claim it; the parent goes on answering."""
    (tmp_path / "parent.py").write_text(
        "import os, subprocess, sys\nfrom chaoskit.failpoints import failpoint\nfailpoint('a')\n"
        "code = 'from chaoskit.failpoints import failpoint; print(failpoint(\"a\").value, flush=True)'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    print(failpoint('a').value, flush=True)\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    child = start("parent.py", GOFAIL_FAILPOINTS="a=return(1)")
    assert [child.line() for _ in range(3)] == ["1", "1", "ready"]
    assert child.api.list() == {"a": "return(1)"}


@pytest.mark.parametrize(
    ("arguments", "env", "status", "why"),
    [
        ([], {}, 2, "usage: python -m chaoskit.failpoints.agent"),
        (["-m"], {}, 2, "usage"),
        (["-x"], {}, 2, "usage"),
        (["nope.py"], {}, 1, "can't open"),
        (["-m", "nope"], {}, 1, "there is no module nope that can be run"),
        (["-m", "fp_service.nope"], {}, 1, "there is no module fp_service.nope"),
        (
            ["-m", "fp_service"],
            {"GOFAIL_HTTP": "0.0.0.0:1"},
            1,
            "GOFAIL_HTTP=0.0.0.0:1: '0.0.0.0' is not loopback",
        ),
        (
            ["-m", "fp_service"],
            {"GOFAIL_FAILPOINTS": "a=pnic"},
            1,
            "GOFAIL_FAILPOINTS=a=pnic: failpoint: could",
        ),
        (["-m", "fp_service"], {"CHAOSKIT_FAILPOINTS": "nope:f=panic"}, 1, "there is no module 'nope'"),
    ],
)
def test_what_cannot_start(
    start: Start, arguments: list[str], env: dict[str, str], status: int, why: str
) -> None:
    """One clear text and an exit status, no traceback."""
    code, errors = start("-m", "chaoskit.failpoints.agent", *arguments, **env).wait()
    assert code == status
    assert why in errors
    assert "Traceback" not in errors
