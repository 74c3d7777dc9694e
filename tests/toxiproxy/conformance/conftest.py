"""Either server, so that one test holds both to the same: running already, or as a command."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl

COMMANDS = {
    "embedded": [sys.executable, "-c", "import sys; from chaoskit.cli import main; sys.exit(main())", "proxy"],
    "original": [shutil.which("toxiproxy-server") or ""],
}
HERE = [name for name, command in COMMANDS.items() if command[0]]


@pytest.fixture(params=HERE)
def api(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The embedded server, and the original where it is on PATH; without proxies before and after."""
    found = request.getfixturevalue("server" if request.param == "embedded" else "original")
    yield found
    for name in json.loads(found.call("GET", "/proxies")[2]):
        assert found.call("DELETE", f"/proxies/{quote(name)}")[0] == 204


@pytest.fixture
def both(api: Any) -> Iterator[ToxiproxyControl]:
    """The client of :func:`api`, for what needs nothing beyond the original."""
    client = ToxiproxyControl(api.url)
    yield client
    client.close()


@pytest.fixture(params=HERE)
def command(request: pytest.FixtureRequest) -> list[str]:
    """``chaoskit proxy``, or the original's binary: the words before the flags."""
    return COMMANDS[request.param]


@pytest.fixture
def words_of() -> Callable[[str], list[str]]:
    """``words_of(engine)``: the words of :func:`command`."""
    return COMMANDS.__getitem__


@pytest.fixture
def run_as(server_class: Any) -> Callable[..., AbstractContextManager[Any]]:
    """``with run_as(engine, *flags, **environment) as server``: on a free port, its log read."""

    @contextmanager
    def running(engine: str, *flags: str, host: str = "127.0.0.1", **environment: str) -> Iterator[Any]:
        with closing(socket.create_server((host, 0))) as probe:
            port = probe.getsockname()[1]
        words = [*COMMANDS[engine], "-port", str(port), *flags]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, **environment})
        assert process.stdout is not None
        found = server_class(process, host, port)
        reader = Thread(target=lambda: found.log.extend(line.decode() for line in process.stdout or ()))
        reader.start()

        def answers() -> bool:
            try:
                return bool(found.call("GET", "/version")[0])
            except OSError:
                return False

        try:
            wait_for(answers, what="the server", limit=10)
            yield found
        finally:
            process.terminate()
            process.wait(10)
            reader.join(10)
            process.stdout.close()

    return running


@pytest.fixture(params=HERE)
def run(request: pytest.FixtureRequest, run_as: Any) -> Callable[..., AbstractContextManager[Any]]:
    """``with run(*flags, **environment) as server``: :func:`run_as`, either of the two."""
    return partial(run_as, request.param)
