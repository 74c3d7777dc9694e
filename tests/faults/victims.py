"""Services to be hurt by faults of the machine: one program, as a process and as a container."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from chaoskit.language.service import ReadySpec, ServiceSpec
from chaoskit.services.base import Service
from chaoskit.services.create import create

if TYPE_CHECKING:
    from tests.faults.conftest import FaultContext

IMAGE = "python:3.11-slim"

PROGRAM = '''
import errno, json, os, socket, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

held = []


def burn(ms):
    """Use CPU time."""
    end = time.thread_time() + int(ms) / 1000
    while time.thread_time() < end:
        pass


def take(mb):
    """Take memory, and keep it."""
    held.append(b"x" * (int(mb) << 20))


def files(n):
    """Open files, and keep them."""
    for _ in range(int(n)):
        held.append(open("/dev/null"))


def write(path, size):
    """Write a file."""
    with open(path, "wb") as file:
        file.write(b"x" * int(size))


def talk(host, port, timeout="1", keep=""):
    """Open a connection to another one of us, or use the one that was kept, and wait for an answer."""
    connection = next((it for it in held if keep and isinstance(it, socket.socket)), None)
    if connection is None:
        connection = socket.create_connection((host, int(port)), float(timeout))
    connection.settimeout(float(timeout))
    connection.sendall(b"GET /fine HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = b""
    while not answer.endswith(b"}"):  # whole, or the rest of it would be taken for the next answer
        data = connection.recv(4096)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "ended before the answer was whole")
        answer += data
    if not keep:
        connection.close()
    elif connection not in held:
        held.append(connection)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        began, error = time.monotonic(), ""
        place = urlsplit(self.path)
        act = globals().get(place.path[1:])
        try:
            if act:
                act(**dict(parse_qsl(place.query)))
        except OSError as problem:
            error = errno.errorcode.get(problem.errno) or type(problem).__name__
        told = {"pid": os.getpid(), "error": error, "took": time.monotonic() - began, "time": time.time()}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


Server(("", int(os.environ["PORT"])), Handler).serve_forever(0.02)
'''

_numbers = itertools.count(1)


def tell(service: Service, what: str = "fine", limit: float = 10.0, **arguments: object) -> dict[str, Any]:
    """Have a victim do something; gives ``pid``, ``error`` (a name of errno), ``took`` (seconds) and its ``time``."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=limit)
    try:
        connection.request("GET", f"/{what}?{urlencode(arguments)}", headers={"connection": "close"})
        told: dict[str, Any] = json.loads(connection.getresponse().read())
        return told
    finally:
        connection.close()


def add_process(context: FaultContext, name: str = "victim", **spec: Any) -> Service:
    """A victim as a process of this machine, behind a proxy."""
    ready = ReadySpec(http="/fine", within="20s")
    return context.add(name, command=[sys.executable, "-c", PROGRAM], **{"ready": ready, **spec})


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this")


def docker_missing() -> str:
    """Why there can be no containers here; empty if there can."""
    from chaoskit.services.docker.daemon import client, refusal

    if reason := refusal():
        return reason
    tags = [tag for image in client().images.list() for tag in image.tags]
    return "" if IMAGE in tags else f"no image {IMAGE}: .ci/images builds it"


@pytest.fixture
def contain(context: FaultContext) -> Iterator[Callable[..., Service]]:
    """Makes victims that are containers of one network."""
    if reason := docker_missing():
        pytest.skip(reason)
    from chaoskit.services.docker.network import Network
    from chaoskit.services.docker.runtime import ContainerRuntime

    network = Network(f"chaoskit-test-{os.getpid()}-{next(_numbers)}", context.journal)
    network.create()
    made: list[Service] = []

    def make(name: str = "victim", aliases: list[str] | None = None, **given: Any) -> Service:
        command = ["python3", "-c", PROGRAM]
        spec = ServiceSpec(**{"image": IMAGE, "command": command, "ready": ReadySpec(http="/fine"), **given})
        runtime = ContainerRuntime(name, spec, network, context.journal, aliases=aliases or [name], note=print)
        folder = context.folder
        service = create(name, spec, folder=folder, journal=context.journal, emit=context.rows.append, runtime=runtime)
        context.services[name] = service
        made.append(service)
        service.start()
        return service

    yield make
    for service in made:
        service.stop()
    network.remove()


KILLED_RUN = """
import json, os, pathlib, signal, sys
from types import SimpleNamespace
from chaoskit.failpoints.client import FailpointClient
from chaoskit.language.fault import FAULTS
from chaoskit.system.journal import Journal
from chaoskit.toxiproxy.client import ToxiproxyControl

said = json.loads(sys.argv[1])
container = None
if said["container"]:
    from chaoskit.services.docker.container import Container
    container = Container(**said["container"])


def victim(name):
    facts = said["victims"][name]
    more = {"container": container, "start": None, "last_exit": None}
    return SimpleNamespace(**{**facts, "folder": pathlib.Path(facts["folder"])}, **more)


context = SimpleNamespace(
    journal=Journal(pathlib.Path(said["journal"])),
    service=victim,
    toxiproxy=ToxiproxyControl(said["toxiproxy"]),
    failpoints=lambda name: FailpointClient(said["failpoints"]),
    proxied=lambda name: ("127.0.0.1", said["victims"][name]["port"]),
    hold=lambda undo: None,
)
active = {}
for number, kind, arguments in said["steps"]:
    if number in active:
        active.pop(number).__exit__(None, None, None)
    else:
        active[number] = FAULTS.get(kind).model_validate(arguments).inject(context)
        active[number].__enter__()
print("injected", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

Step = tuple[int, str, dict[str, Any]]
"""A fault by its number, its kind and its arguments: it begins with the first step of its number and ends with the
second."""


def injected_by_a_killed_run(context: FaultContext, fault: str, *victims: Service, **arguments: object) -> Path:
    """A run injects a fault and is killed with SIGKILL; gives the folder with its journal."""
    return killed_after(context, [(0, fault, arguments)], *victims)


def killed_after(context: FaultContext, steps: list[Step], *victims: Service) -> Path:
    """A run begins and ends faults and is killed with SIGKILL; gives the folder with its journal."""
    folder = context.folder / f"killed-{next(_numbers)}"
    folder.mkdir()
    container = victims[0].container
    said = {
        "steps": steps,
        "journal": str(folder / "undo.journal"),
        "toxiproxy": context.toxiproxy.places("")[0][0],
        "failpoints": victims[0].failpoints_url or "",
        "victims": {
            it.name: {"name": it.name, "pid": it.pid, "port": it.port, "folder": str(folder / it.name)}
            for it in victims
        },
        "container": container
        and {
            "id": container.id,
            "name": container.name,
            "network_id": container.network_id,
            "aliases": [victims[0].name],
        },
    }
    argv = [sys.executable, "-c", KILLED_RUN, json.dumps(said)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("injected\n", -9), done.stderr
    return folder
