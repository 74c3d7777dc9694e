"""Verdicts from end to end: small services that are right or wrong in one thing, rehearsed on real servers."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent

import pytest

from chaoskit.engine.attempts import rehearse
from chaoskit.engine.session import Result, Session
from chaoskit.faults._host_capabilities import lacking
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load
from chaoskit.report.failure import failure

WEB = '''
"""Answers at once, or as the path says."""
import itertools, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

held, numbers, seen = [], itertools.count(1), {}
storing, latest = threading.Lock(), [0, 0.0]


def work():
    """Where failpoints are."""


def burn():
    until = time.thread_time() + 0.004
    while time.thread_time() < until:
        pass


def insert(number):
    with storing:
        database.execute("insert into orders values (%s)", [number])
        latest[:] = number, time.monotonic()


def store():
    number = next(numbers)
    insert(number)
    return number


def twice():
    """A second worker does the last order again, a little after everybody has had an answer."""
    while True:
        number, at = latest
        if number and time.monotonic() - at > 0.6:
            insert(number)
            latest[0] = 0
        time.sleep(0.02)


def store_and_repeat():
    if not held:
        held.append(threading.Thread(target=twice, daemon=True))
        held[0].start()
    return store()


def flap():
    """Once nobody came for a while: well for 1.2 s and ill for 1.8 s, for ever."""
    now, last = time.monotonic(), seen.get("last")
    if last and now - last > 0.4:
        seen.setdefault("since", now)
    seen["last"] = now
    if "since" in seen and (now - seen["since"]) % 3 > 1.2:
        raise OSError("ill")


PATHS = {
    "/flap": flap,
    "/work": lambda: work(), "/burn": burn, "/leak": lambda: held.append(open(os.devnull)),
    "/store": store, "/repeat": store_and_repeat, "/forget": lambda: next(numbers),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        done = PATHS.get(self.path.partition("?")[0], lambda: 0)()
        body = b'{"pad": "%s", "id": %d}' % (b"x" * (5000 if done else 1), done or 0)
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))

    do_POST = do_GET

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    if "DATABASE" in os.environ:
        database = psycopg.connect(os.environ["DATABASE"], autocommit=True)
        database.execute("create table if not exists orders (id int)")
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

FRONT = '''
"""ATTEMPTS attempts, 100 ms apart. Passes the trace on as OpenTelemetry does, and nothing else."""
import asyncio, os, secrets

from aiohttp import ClientSession, web


async def get(request):
    trace = request.headers["traceparent"].split("-")[1]
    async with ClientSession() as session:
        for _ in range(int(os.environ["ATTEMPTS"])):
            span = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
            async with session.get(os.environ["RATES_URL"] + "/eur", headers=span) as answer:
                if answer.status == 200:
                    return web.json_response({})
            await asyncio.sleep(0.1)
    return web.json_response({}, status=503)


app = web.Application()
app.router.add_get("/", get)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
'''

SCENARIO = """\
scenario: Made up
environment:
  services:
{services}
traffic:
  get: {{request: "{request}", rate: 50/s, timeout: 1s{more}}}
steady_state:
  get: {{success_rate: ">= 90%"}}
timeline:
  steady: 1.5s
  faults:
{faults}
  recovery: 4s
expect:
{expect}
"""

PLAIN = "web: {command: python web.py, protocol: http}"
GET = "GET {{ web.url }}/"
SLOW = "- slow: {latency: {on: web, delay: 20ms}, at: 0s, for: 2s}"
FINE = 'during: {get: {success_rate: ">= 90%"}}'

Rehearse = Callable[..., Result]


@pytest.fixture
def verdict(tmp_path: Path) -> Iterator[Rehearse]:
    """Rehearses a scenario of these parts: ``verdict(services, request, faults, expect, more)``."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "web.py").write_text(WEB)
    (tmp_path / "front.py").write_text(FRONT)
    session = Session(tmp_path / "reports", seed=7)

    def run(
        services: str = PLAIN, request: str = GET, faults: str = SLOW, expect: str = FINE, more: str = ""
    ) -> Result:
        file = tmp_path / "made-up.chaos.yaml"
        parts = {"services": services, "faults": faults, "expect": expect}
        parts = {name: indent(dedent(text), "    " if name != "expect" else "  ") for name, text in parts.items()}
        file.write_text(SCENARIO.format(request=request, more=more, **parts))
        (scenario,) = load(file)
        return rehearse(session, scenario)

    yield run
    session.close()


def seen(result: Result) -> dict[str, str]:
    """What each failed finding has seen, in the order in which they are told."""
    return {judged.finding.id: judged.finding.seen for judged in result.verdict.failed()}


def touched(result: Result) -> dict[str, int]:
    return {fault.name: fault.touched for fault in result.verdict.faults}


def test_a_stale_process_at_the_port(verdict: Rehearse) -> None:
    """It would answer everything well."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
        try:
            assert stranger.stdout is not None
            port = stranger.stdout.readline().partition(" port ")[2].split()[0]
            result = verdict(f"web: {{command: python web.py, protocol: http, port: {port}}}")
        finally:
            stranger.kill()
    assert result.verdict.outcome is Outcome.BROKEN
    assert f"port {port} is held by pid {stranger.pid} (python" in result.verdict.reason
    assert not result.history.rows(r.Request)


def test_two_outages_that_overlap(verdict: Rehearse) -> None:
    """Down from 0.2 s to 1.5 s of 2 s: the end of the first does not open the door that the second holds shut."""
    result = verdict(
        faults=f"""\
            {SLOW}
            - outage: {{down: {{on: web}}, at: 200ms, for: 600ms}}
            - reboot: {{down: {{on: web}}, at: 500ms, for: 1s}}
        """,
        expect='during: {get: {success_rate: ">= 60%"}}',
    )
    assert result.verdict.outcome is Outcome.VIOLATED, result.verdict.reason
    assert 20 < float(seen(result)["during.get.success_rate"].rstrip("%")) < 45
    slow = next(fault for fault in result.verdict.faults if fault.name == "slow")
    shut = [row for row in result.history.rows(r.Request) if 0.85 < row.intended - slow.started < 1.4]
    assert len(shut) > 20
    assert not any(row.ok for row in shut)


def test_well_for_a_second_at_a_time(verdict: Rehearse) -> None:
    """It is watched for long enough to see that steady state does not stay."""
    result = verdict(
        request=f"{GET}flap", faults="- outage: {down: {on: web}, at: 0s, for: 1s}", expect="recovery: {within: 4s}"
    )
    assert result.verdict.outcome is Outcome.VIOLATED, result.verdict.reason
    assert "but from then on as a whole get.success_rate" in seen(result)["recovery"]


def test_two_delays_at_one_place(verdict: Rehearse) -> None:
    """The one that began latest is felt, and when it ends the one before is, again."""
    at = 'at: "__main__:work"'
    result = verdict(
        "web: {command: python -m chaoskit.failpoints.agent web.py, protocol: http, failpoints: true}",
        "GET {{ web.url }}/work",
        f"""\
            - long: {{sleep: {{service: web, {at}, delay: 50ms}}, at: 0s, for: 2s}}
            - short: {{sleep: {{service: web, {at}, delay: 150ms}}, at: 500ms, for: 500ms}}
        """,
    )
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    long, short = sorted(result.verdict.faults, key=lambda fault: fault.name)
    took: dict[str, list[float]] = {}
    for row in result.history.rows(r.Request):
        if long.injected < row.intended < long.ended - 0.2:
            during = short.injected < row.intended < short.ended - 0.2
            edge = short.started - 0.1 < row.intended < short.ended + 0.05
            took.setdefault("short" if during else "edge" if edge else "long", []).append(row.ended - row.intended)
    afterwards = [row.ended - row.intended for row in result.history.rows(r.Request) if row.intended > long.ended]
    first, both, none = map(statistics.median, (took["long"], took["short"], afterwards))
    assert first >= 0.05
    assert both >= 0.15
    # Whatever else this machine does: it slows all three.
    assert none < 0.5 * first < 0.4 * both
    assert long.touched > 50
    assert short.touched > 15


@pytest.mark.skipif(lacking("root", "cgroups") is not None, reason=str(lacking("root", "cgroups")))
@pytest.mark.parametrize(("path", "low", "high"), [("burn", "5%", "10%"), ("", "50%", "60%")])
def test_two_quotas(verdict: Rehearse, path: str, low: str, high: str) -> None:
    """Work for a fifth of a core, also beside others, is more than both allow: each is felt. What needs hardly
    anything is touched by neither."""
    result = verdict(
        request=f"GET {{{{ web.url }}}}/{path}",
        faults=f"""\
            - short: {{cpu: {{service: web, quota: {low}}}, at: 0s, for: 1s}}
            - long: {{cpu: {{service: web, quota: {high}}}, at: 500ms, for: 1500ms}}
        """,
        expect="recovery: {within: 4s}",
    )
    if path:
        assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
        assert min(touched(result).values()) >= 2
    else:
        assert result.verdict.outcome is Outcome.VACUOUS, result.verdict.reason
        assert list(seen(result)) == ["fault.short", "fault.long"]
        assert "does web need more than 50% of a core while the fault lasts?" in failure(result)


def test_a_fault_that_matches_no_request(verdict: Rehearse) -> None:
    """It is what is told, and what to look at; that nothing failed follows from it."""
    result = verdict(
        request="GET {{ web.url }}/a?x=1",
        faults='- f: {http: {on: web, status: 503, path: "/a?x=2"}, at: 0s, for: 1s}',
        expect='during: {get: {success_rate: "<= 10%"}}',
    )
    assert result.verdict.outcome is Outcome.VACUOUS, result.verdict.reason
    assert [(judged.finding.id, judged.finding.because) for judged in result.verdict.failed()] == [
        ("fault.f", ""),
        ("during.get.success_rate", "fault.f"),
    ]
    assert "does a request to web have the path /a?x=2 while the fault lasts?" in failure(result)


@pytest.mark.parametrize("attempts", [3, 5])
def test_retries_that_carry_the_trace_alone(verdict: Rehearse, attempts: int) -> None:
    """No x-request-id: the trace id tells which calls are attempts of one."""
    result = verdict(
        f"""\
            rates: {{provider: http_stub, args: {{routes: [{{path: /eur, json: {{rate: 1}}}}]}}}}
            front:
              command: python front.py
              protocol: http
              env: {{RATES_URL: "{{{{ rates.url }}}}", ATTEMPTS: "{attempts}"}}
        """,
        "GET {{ front.url }}/",
        "- fails: {http: {on: rates, status: 503, share: 60%}, at: 0s, for: 2s}",
        'retries: {on: rates, attempts: "<= 3", backoff: {first: "100ms ± 40%"}}',
    )
    if attempts == 3:
        assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    else:
        assert result.verdict.outcome is Outcome.VIOLATED, result.verdict.reason
        assert list(seen(result)) == ["retries.rates.attempts"]


def test_a_service_that_hangs(verdict: Rehearse) -> None:
    """More is due than may be in flight: the service's failure, told as such, not the generator's."""
    result = verdict(faults="- hung: {pause: {service: web}, at: 0s, for: 3s}", more=", in_flight: 20")
    assert result.verdict.outcome is Outcome.VIOLATED, result.verdict.reason
    assert list(seen(result)) == ["during.get.success_rate"]
    assert "requests could not be sent, as too many waited for an answer" in failure(result)


@pytest.mark.parametrize(("path", "outcome"), [("", Outcome.HELD), ("leak", Outcome.VIOLATED)])
def test_open_files(verdict: Rehearse, path: str, outcome: Outcome) -> None:
    """Connections that slow answers made the generator open are not the service's leak; files that it keeps are."""
    result = verdict(
        request=f"GET {{{{ web.url }}}}/{path}",
        faults="- slow: {latency: {on: web, delay: 400ms}, at: 0s, for: 1s}",
        expect="resources: {web: {open_files: returns}}",
    )
    assert result.verdict.outcome is outcome, result.verdict.reason
    assert list(seen(result)) == ([] if outcome is Outcome.HELD else ["resources.web.open_files"])


@pytest.mark.parametrize(("path", "violated"), [("store", ""), ("repeat", "duplicated"), ("forget", "lost")])
def test_acknowledged_writes(verdict: Rehearse, path: str, violated: str) -> None:
    """Keys behind 5,000 characters of the answer; a duplicate that comes when the first look has seen none; a service
    that stores nothing."""
    result = verdict(
        """\
            db: {provider: postgres}
            web: {command: python web.py, protocol: http, env: {DATABASE: "{{ db.url }}"}}
        """,
        f"POST {{{{ web.url }}}}/{path}",
        expect="ledger: {writes: get, key: {json: id}, read: {sql: select id from orders, on: db}}",
    )
    assert list(seen(result)) == ([f"ledger.get.{violated}"] if violated else []), result.verdict.reason
    assert result.verdict.outcome is (Outcome.VIOLATED if violated else Outcome.HELD)
