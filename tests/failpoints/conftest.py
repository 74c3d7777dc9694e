"""Failpoints are a state of the process: each test begins and ends with none."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chaoskit.failpoints import DisabledFailpoint, afailpoint, disable, failpoint
from chaoskit.failpoints.byname import Functions
from chaoskit.failpoints.client import FailpointClient
from chaoskit.failpoints.points import POINTS, STATES
from chaoskit.failpoints.server import serve


@pytest.fixture(autouse=True)
def no_failpoints() -> Iterator[None]:
    """Forget all failpoints afterwards, and give patched functions their code back."""
    yield
    for name in list(STATES):
        with suppress(DisabledFailpoint):
            disable(name)
    STATES.clear()
    POINTS.functions = None
    POINTS.seed = None


@pytest.fixture
def by_name() -> None:
    """What the agent does: every function is a failpoint."""
    POINTS.start_functions(Functions(failpoint, afailpoint))


@pytest.fixture
def api() -> Iterator[FailpointClient]:
    """A client of a real API server in this process."""
    server = serve("127.0.0.1:0")
    yield FailpointClient(server.url)
    server.close()


SHOP = '''
import functools
def charge(amount, /, tax=2, *rest, currency="EUR", **more):
    """Doc."""
    return amount, tax, rest, currency, more
async def pay(amount): return amount * 2
def numbers(n):
    got = []
    for i in range(n):
        try: got.append((yield i))
        except KeyError: got.append("key")
    return got
async def anumbers(n):
    got = []
    try:
        for i in range(n):
            try: got.append((yield i))
            except KeyError: got.append("key")
        yield got
    finally:
        closed.append(n)
closed = []
def adder(n):
    def add(x): return x + n
    return add
add3 = adder(3)
class Base:
    def __init__(self): self.made = True
    def hello(self): return "base"
class Orders(Base):
    def hello(self): return "orders " + super().hello()
    @staticmethod
    def static(a, *, b=1): return a, b
    @classmethod
    def kind(cls): return cls.__name__
    @property
    def size(self): return 5
    @functools.cached_property
    def cached(self): return 6
@functools.lru_cache
def remembered(x): return x
@functools.wraps(charge)
def decorated(*args): return charge(*args)
builtin = len
constant = 3
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to import from; what was imported is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def shop(folder: Path, by_name: None) -> types.ModuleType:
    """The module that fails."""
    (folder / "fp_shop.py").write_text(SHOP)
    return importlib.import_module("fp_shop")


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
            env=clean | {"GOFAIL_HTTP": f"127.0.0.1:{port}"} | env,
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


Start = Callable[..., Child]  # start(*arguments of python, **environment)


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
