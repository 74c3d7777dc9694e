"""What ``toxiproxy_speed.py`` measures: a direct connection, the original Toxiproxy, the embedded one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.launch import address_in, server_command

HERE = Path(__file__).parent
Address = tuple[str, int]


class Load:
    """The program that makes the load: ``toxiproxy_load.c`` where it can be compiled, else the Python one."""

    def __init__(self, folder: Path) -> None:
        self.command = [sys.executable, str(HERE / "toxiproxy_load.py")]
        self.light = False
        """Compiled: it takes much less processor time than a proxy."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is not None:
            program = str(folder / "load")
            subprocess.run([compiler, "-O2", "-o", program, str(HERE / "toxiproxy_load.c")], check=True)
            self.command = [program]
            self.light = True

    def start(self, what: str, *numbers: float) -> subprocess.Popen[str]:
        """Begin; its numbers come on stdout."""
        arguments = [what, *(f"{number:g}" if isinstance(number, float) else str(number) for number in numbers)]
        return subprocess.Popen([*self.command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, what: str, *numbers: float) -> list[int]:
        """Run to the end; the numbers it prints. Raises RuntimeError when it fails."""
        return numbers_of(self.start(what, *numbers))


def numbers_of(process: subprocess.Popen[str]) -> list[int]:
    """Close its stdin, wait for its end, read its numbers. Raises RuntimeError when it has failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load failed: {process.args!r}")
    return [int(line) for line in output.split()]


@dataclass
class Subject:
    """A way to a peer; ``pid`` and ``api`` are those of the proxy, if there is one."""

    name: str
    port: int
    peer: int
    """The port of the upstream."""
    pid: int = 0
    api: Address = ("", 0)

    def cpu(self) -> float:
        """Processor seconds the proxy has used."""
        if not self.pid:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory of the proxy in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @contextmanager
    def latency(self, seconds: float) -> Iterator[None]:
        """Delay answers."""
        body = {"name": "late", "type": "latency", "attributes": {"latency": round(seconds * 1000)}}
        call(self.api, "POST", "/proxies/speed/toxics", body)
        yield
        call(self.api, "DELETE", "/proxies/speed/toxics/late")


def call(api: Address, method: str, path: str, body: object = None) -> dict[str, object]:
    """A call of Toxiproxy's API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request("http://{}:{}".format(*api) + path, data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, object] = json.loads(answer.read() or "{}")
    return found


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process afterwards."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def direct(load: Load) -> Iterator[Subject]:
    """A peer, without a proxy."""
    with running(load.start("peer")) as peer:
        assert peer.stdout is not None
        port = int(peer.stdout.readline())
        yield Subject("direct", port, port)


@contextmanager
def embedded(load: Load, folder: Path) -> Iterator[Subject]:
    """The embedded server."""
    with _server("embedded", server_command(seed=1), address_in, load, folder) as subject:
        yield subject


@contextmanager
def original(load: Load, folder: Path) -> Iterator[Subject]:
    """``toxiproxy-server``, which must be on PATH."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def address(line: str) -> Address | None:
        return ("127.0.0.1", port) if "Starting Toxiproxy HTTP server" in line else None

    command = ["toxiproxy-server", "-host", "127.0.0.1", "-port", str(port)]
    with _server("original", command, address, load, folder) as subject:
        yield subject


@contextmanager
def _server(
    name: str, command: list[str], address: Callable[[str], Address | None], load: Load, folder: Path
) -> Iterator[Subject]:
    """A server with one proxy to a peer of its own. Its log goes to a file: a reader would take a core's time."""
    with ExitStack() as stack:
        peer = stack.enter_context(direct(load))
        log = folder / f"{name}.log"
        with log.open("w") as file:
            process = stack.enter_context(running(subprocess.Popen(command, stdout=file, text=True)))
        api = wait_for(
            lambda: next(filter(None, map(address, log.read_text().splitlines())), None),
            what=f"{name} to start",
            limit=10,
        )
        entry = {"name": "speed", "upstream": f"127.0.0.1:{peer.port}", "listen": "127.0.0.1:0"}
        listen = str(wait_for(lambda: _try_call(api, entry), what=f"the API of {name}", limit=10)["listen"])
        yield Subject(name, int(listen.rpartition(":")[2]), peer.port, process.pid, api)


def _try_call(api: Address, entry: dict[str, str]) -> dict[str, object] | None:
    """Create a proxy. None while nobody listens: the original says that it does before it does."""
    try:
        return call(api, "POST", "/proxies", entry)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        raise
