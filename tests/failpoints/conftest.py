"""Failpoints are a state of the process: each test begins and ends with none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

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
