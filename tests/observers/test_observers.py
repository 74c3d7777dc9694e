"""Observers: what they see of real processes and servers, and that a failing look is never fatal."""

from __future__ import annotations

import contextlib
import http.server
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import wait_for
from chaoskit.history.rows import Connection, Sample
from chaoskit.observers._own import OwnConnections, Place
from chaoskit.observers.base import Observer
from chaoskit.observers.metrics_scraper import MetricsScraper, parse
from chaoskit.observers.noop import Noop
from chaoskit.observers.process_sampler import ProcessSampler
from chaoskit.observers.tap_poller import TapPoller

PAGE = """
# TYPE orders counter
orders_total{status="ok",kind="a\\"b\\\\c"} 3.0
orders_created{status="ok",kind="x"} 1.7e9
# TYPE db_pool_in_use gauge
db_pool_in_use 4
broken NaN
huge +Inf
# TYPE seconds histogram
seconds_bucket{le="0.1"} 1
seconds_bucket{le="+Inf"} 2
seconds_count 2
seconds_sum 0.5
"""


BUSY = """
import time
while time.process_time() < 0.1:  # the kernel counts in hundredths
    pass
print(1, flush=True)
input()
"""


class Ticks(Observer):
    """Counts its looks."""

    def __init__(self, interval, error=None):
        super().__init__(lambda row: None, interval, "ticks")
        self.at = []
        self.error = error

    def observe(self):
        """Note the time."""
        self.at.append(time.monotonic())
        if self.error is not None:
            raise self.error


@dataclass
class Named:
    """A service as far as an observer cares."""

    name: str
    pid: int | None
    inside: tuple[str, int] = ("127.0.0.1", 0)
    resting: bool = False


class Page(http.server.BaseHTTPRequestHandler):
    """Serves ``server.page``, or hangs, or fails."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """One scrape."""
        self.server.peers.add(self.client_address)
        self.server.hang.wait(10)
        body = self.server.page.encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Be quiet."""


@pytest.fixture
def server():
    """A page of metrics that can be changed."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    made.daemon_threads = True
    made.page, made.status, made.peers, made.hang = PAGE, 200, set(), threading.Event()
    made.hang.set()
    made.url = f"http://127.0.0.1:{made.server_port}/metrics"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.hang.set()
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def child():
    """A process to look at."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdin=-1, stdout=-1)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_it_looks_again_and_again():
    """At once, then once per interval, until it is stopped; both as often as one likes."""
    ticks = Ticks(0.02)
    ticks.start()
    ticks.start()
    wait_for(lambda: len(ticks.at) >= 10, what="looks", limit=10)
    ticks.stop()
    ticks.stop()
    count = len(ticks.at)
    assert ticks.at[-1] - ticks.at[0] >= 0.02 * (count - 1) * 0.9
    time.sleep(0.1)  # five intervals in which no look comes
    assert len(ticks.at) == count


def test_stop_does_not_wait_for_the_interval():
    """An observer with a long interval ends at once."""
    ticks = Ticks(60)
    ticks.start()
    wait_for(lambda: ticks.at, what="a look", limit=10)
    before = time.monotonic()
    ticks.stop()
    assert time.monotonic() - before < 10


def test_errors_are_counted_and_not_fatal():
    """The latest is kept as text; a new start counts anew."""
    ticks = Ticks(0.005, error=ValueError("no such thing"))
    ticks.start()
    wait_for(lambda: ticks.errors >= 3, what="errors", limit=10)
    ticks.stop()
    assert ticks.last_error == "no such thing"
    ticks.error = None
    ticks.start()
    ticks.stop()
    assert (ticks.errors, ticks.last_error) == (0, None)


def test_noop():
    """It can be started and stopped."""
    rows = []
    noop = Noop(rows.append)
    noop.start()
    noop.stop()
    assert rows == []


def test_the_sampler_sees_a_process(child):
    """All figures, of the moment, under the service's name."""
    rows = []
    ProcessSampler([Named("shop", child.pid), Named("absent", None)], rows.append).observe()
    assert {row.service for row in rows} == {"shop"}
    seen = {row.name: row.value for row in rows}
    assert seen["process.pid"] == child.pid
    assert seen["process.threads"] == 1
    assert seen["process.open_files"] == len(list(Path(f"/proc/{child.pid}/fd").iterdir()))
    assert seen["process.memory"] > 1e6
    assert seen["process.cpu"] > 0
    assert all(time.monotonic() - 10 < row.at <= time.monotonic() for row in rows)


ACCEPTING = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
held = []
while True:
    held.append(server.accept()[0])
    print(len(held), flush=True)
"""
CALLING = """
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(port))) for port in sys.argv[1:]]
print("connected", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def running(program, *arguments):
    """A process that has written its first line, which is given too."""
    words = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_our_own_connections_are_no_open_files_of_a_service():
    """Ours and the generator's, direct and through the proxy, are left out; those of others count, and so does what the
    service keeps open after we have closed it."""
    with contextlib.ExitStack() as stack:
        service, port = stack.enter_context(running(ACCEPTING))
        behind = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        generator, _ = stack.enter_context(running(CALLING, port, behind))
        stack.enter_context(running(CALLING, port))  # what the proxy makes of the generator's second one
        stack.enter_context(running(CALLING, port, port))  # somebody else
        ours = stack.enter_context(socket.create_connection(("127.0.0.1", int(port))))
        rows = []
        own = OwnConnections({"shop": Place(int(port), behind)}, lambda: [generator.pid])
        sampler = ProcessSampler([Named("shop", service.pid)], rows.append, own=own)

        def files():
            rows.clear()
            sampler.observe()
            return next(row.value for row in rows if row.name == "process.open_files")

        wait_for(
            lambda: len(list(Path(f"/proc/{service.pid}/fd").iterdir())) == 4 + 5,
            what="three standard streams, a listener and five connections", limit=10,
        )  # fmt: skip
        assert files() == 4 + 2, "those of somebody else"
        ours.close()
        generator.kill()
        generator.wait()
        assert wait_for(lambda: files() == 4 + 5, what="what the service has not closed to count", limit=10)


def test_no_figure_where_connections_cannot_be_told_apart(child):
    """All others are there, and the error is counted."""

    class Blind(OwnConnections):
        def look(self):
            raise OSError("no such protocol")

    rows = []
    sampler = ProcessSampler([Named("shop", child.pid)], rows.append, own=Blind({}, list))
    sampler.observe()
    assert {row.name for row in rows} == {"process.cpu", "process.memory", "process.threads", "process.pid"}
    assert sampler.last_error == "connections cannot be told apart: no such protocol"


def test_the_sampler_lives_through_a_death(child):
    """A pid that is gone gives nothing, the next pid is seen, and neither is an error."""
    rows, service = [], Named("shop", child.pid)
    sampler = ProcessSampler([service], rows.append, interval=0.01)
    sampler.start()
    wait_for(lambda: len(rows) >= 10, what="samples", limit=10)
    child.send_signal(signal.SIGKILL)
    child.wait()
    service.pid = os.getpid()
    wait_for(lambda: any(row.value == os.getpid() for row in rows), what="samples of the new pid", limit=10)
    sampler.stop()
    assert sampler.errors == 0


def test_the_scraper_reads_a_page(server):
    """Buckets and creation times are left out; infinity is a value; labels are sorted and escaped."""
    rows = []
    scraper = MetricsScraper("shop", server.url, rows.append, BlastRadius())
    scraper.observe()
    scraper.stop()
    assert all(isinstance(row, Sample) and row.service == "shop" for row in rows)
    seen = {row.name: row.value for row in rows}
    assert math.isnan(seen.pop("broken"))
    assert seen == {
        'orders_total{kind="a\\"b\\\\c",status="ok"}': 3,
        "db_pool_in_use": 4,
        "seconds_count": 2,
        "seconds_sum": 0.5,
        "huge": math.inf,
    }


def test_the_scraper_keeps_its_connection(server):
    """Many scrapes, one connection."""
    rows = []
    scraper = MetricsScraper("shop", server.url, rows.append, BlastRadius(), interval=0.005)
    scraper.start()
    wait_for(lambda: len(rows) >= 40, what="samples", limit=10)
    scraper.stop()
    assert len(server.peers) == 1
    assert scraper.errors == 0


def test_the_scraper_lives_through_failures(server):
    """A bad status, a page that is none, a service that hangs: counted, and then it goes on."""
    rows = []
    scraper = MetricsScraper("shop", server.url, rows.append, BlastRadius(), interval=0.01, limit=0.2)
    server.status = 500
    scraper.start()
    wait_for(lambda: scraper.last_error == "GET /metrics: status 500", what="the status", limit=10)
    server.status, server.page = 200, "this is { no page"
    wait_for(lambda: "status 500" not in scraper.last_error, what="another error", limit=10)
    server.page = PAGE
    server.hang.clear()
    wait_for(lambda: "timed out" in scraper.last_error, what="a time-out", limit=10)
    server.hang.set()
    count = len(rows)
    wait_for(lambda: len(rows) > count, what="samples again", limit=10)
    scraper.stop()


def test_the_scraper_of_a_service_that_is_down():
    """Refused, counted."""
    scraper = MetricsScraper("shop", "http://127.0.0.1:1/metrics", lambda row: None, BlastRadius())
    scraper.look()
    assert scraper.errors == 1
    assert "refused" in scraper.last_error


def test_parse_refuses_what_is_no_page():
    """So that it counts as an error and not as nothing."""
    with pytest.raises(ValueError):
        parse("a{b 1")


@dataclass
class Batch:
    """What a tap gives."""

    next: int
    dropped: int
    rows: list
    open_rows: list


@dataclass
class Tap:
    """A tap with a small page."""

    rows: list = field(default_factory=list)
    page: int = 3
    dropped: int = 0
    open: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def events(self, since, flush):
        """Rows from a number on."""
        self.asked.append(flush)
        rows = self.rows[since : since + self.page]
        lost, self.dropped = self.dropped, 0
        after = since + len(rows)
        return Batch(after, lost, rows, self.open if flush and after == len(self.rows) else [])


def connection(number):
    """A row."""
    return Connection(proxy="db", conn=number, client="", opened=0.0, ended=1.0, sent=0, received=0, end="client")


def test_the_poller_fetches_each_row_once():
    """In order, page by page; what is still open comes with the final flush."""
    tap = Tap(rows=[connection(n) for n in range(8)], open=[connection(100)])
    rows = []
    poller = TapPoller(tap, rows.append, interval=0.01)
    poller.start()
    wait_for(lambda: len(rows) == 8, what="the rows", limit=10)
    tap.rows += [connection(n) for n in range(8, 20)]
    poller.drain()
    assert [row.conn for row in rows] == [*range(20), 100]
    assert tap.asked.count(True) == 1
    assert poller.errors == 0


def test_the_poller_goes_on_after_a_drain():
    """One poller serves all scenarios of a run."""
    tap = Tap(rows=[connection(1)])
    rows = []
    poller = TapPoller(tap, rows.append, interval=0.01)
    poller.start()
    poller.drain()
    tap.rows.append(connection(2))
    poller.start()
    poller.drain()
    assert [row.conn for row in rows] == [1, 2]


def test_lost_rows_are_an_error():
    """Added up, and remembered until the next start."""
    tap = Tap(dropped=5)
    poller = TapPoller(tap, lambda row: None)
    poller.look()
    tap.dropped = 2
    poller.look()
    assert (poller.dropped, poller.errors) == (7, 2)
    assert "lost 7 rows" in poller.last_error
    poller.start()
    poller.drain()
    assert poller.dropped == 0
