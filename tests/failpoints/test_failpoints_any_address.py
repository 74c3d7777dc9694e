"""In a container loopback cannot be reached, so there, and only when told, the API is served at any address."""

from __future__ import annotations

import http.client
import subprocess
import sys

from chaoskit.system.ports import free_port

PROGRAM = "import chaoskit.failpoints, sys; print('up', flush=True); sys.stdin.read()"


def serve(port, **more):
    """A process that serves the API at every address, if it may."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={"GOFAIL_HTTP": f"0.0.0.0:{port}", **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(port, host):
    """The status of a request that says it was sent to ``host``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_when_told():
    """Otherwise the program does not start."""
    process = serve(free_port())
    _, errors = process.communicate("", timeout=30)
    assert process.returncode != 0
    assert "is not loopback" in errors


def test_any_address_and_name():
    """With the variable, whoever reaches it is answered; web pages still are not."""
    port = free_port()
    process = serve(port, CHAOSKIT_FAILPOINTS_ANY_ADDRESS="1")
    try:
        assert process.stdout.readline() == "up\n"
        assert ask(port, f"172.18.0.1:{port}") == 200
        assert ask(port, "orders-direct") == 200
    finally:
        process.communicate("", timeout=30)
