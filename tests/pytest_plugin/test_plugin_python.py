"""Scenarios written in Python with the ``chaos`` fixture, and a run that a person interrupts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path
from typing import Any

from chaoskit.base.clock import wait_for

TESTS = '''
import contextlib
import socket
import pytest
from chaoskit.base.errors import ChaosError
from chaoskit.history import rows as r

pytestmark = pytest.mark.chaos_environment("small")


def test_held(chaos):
    """Traffic, a fault with evidence, and what was seen."""
    chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "50/s", "timeout": "1s"})
    chaos.wait("500ms")
    with chaos.fault("latency", on="front", delay="60ms") as evidence:
        chaos.wait("1s")
    chaos.expect("during", {"get": {"success_rate": ">= 90%", "p50": "< 2s"}})
    assert evidence.touched
    assert chaos.url("front").startswith("http://127.0.0.1:")
    assert len(chaos.history.rows(r.Request)) > 50
    failed = [finding for finding in chaos.findings("during", {"get": {"p50": "< 10ms"}}) if not finding.held]
    assert [finding.id for finding in failed] == ["during.get.p50"]


def test_violated(chaos):
    chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "50/s"})
    with chaos.fault("latency", on="front", delay="60ms"):
        chaos.wait("500ms")
    chaos.expect("during", {"get": {"p50": "< 10ms"}})


def test_ids_and_lost_rows(chaos):
    """Requests are known by a header of one's own, too; what the proxies could not tell is not passed over."""
    chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "50/s", "id_header": "x-order-id"})
    chaos.wait("300ms")
    chaos.live.poller.failed("the tap lost 3 rows")
    with pytest.raises(ChaosError, match="observing the proxies failed: the tap lost 3 rows"):
        chaos.findings("during", {"get": {"success_rate": ">= 90%"}})
    sent = {row.id for row in chaos.history.rows(r.Request)}
    assert sent & {row.id for row in chaos.history.rows(r.Exchange)}


def test_overlapping(chaos):
    """As in a scenario file: each gives back its own share, and what does not compose is refused."""
    chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "50/s", "timeout": "1s"})
    chaos.wait("500ms")
    proxied = chaos.live.proxied("front")
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(chaos.fault("down", on="front"))
    second.enter_context(chaos.fault("down", on="front"))
    first.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(proxied, timeout=5)
    second.close()
    socket.create_connection(proxied, timeout=5).close()
    with chaos.fault("stop", service="front"):
        with pytest.raises(ChaosError) as caught, chaos.fault("restart", service="front"):
            pass
        assert not chaos.live.services["front"].alive()
    with chaos.fault("restart", service="front"):
        chaos.wait("100ms")
    print("REFUSED", caught.value)


def test_vacuous(chaos):
    with chaos.fault("latency", on="idle", delay="60ms"):
        chaos.wait("10ms")


@pytest.mark.parametrize(
    ("kind", "arguments"), [("latencyy", {}), ("latency", {"on": "frnt", "delay": "1s"}), ("latency", {"on": "front"})]
)
def test_mistakes(chaos, kind, arguments):
    with pytest.raises(ChaosError) as caught, chaos.fault(kind, **arguments):
        pass
    print("MISTAKE", caught.value)
'''

JUDGED = '''
import pytest
from chaoskit.base.errors import BrokenError
from chaoskit.history import rows as r

pytestmark = pytest.mark.chaos_environment("small")
HELD = {"get": {"success_rate": ">= 90%"}}
OR = "^inconclusive: the machine|^"  # where others take the machine, nobody can tell


def rehearse(chaos, **steady):
    """Half a second of steady state, half a second of a fault."""
    chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "80/s", "timeout": "1s"})
    if steady:
        chaos.steady_state(get=steady)
    chaos.wait("500ms")
    with chaos.fault("latency", on="front", delay="60ms"):
        chaos.wait("500ms")


def test_lag(chaos):
    """A generator that fell behind has measured itself, also where a test catches that: an error at its end."""
    rehearse(chaos)
    chaos.history.add(r.Schedule(at=0.0, planned=9, sent=9, lag_p50=0.0, lag_p99=0.5, lag_max=0.5))
    for ask in (chaos.expect, chaos.findings):
        with pytest.raises(BrokenError, match="the traffic generator fell behind its schedule: p99 500ms"):
            ask("during", HELD)


def test_lag_that_nobody_asked_about(chaos):
    rehearse(chaos)
    chaos.history.add(r.Schedule(at=0.0, planned=9, sent=8, lag_p50=0.0, lag_p99=0.0, lag_max=0.0))


def test_ill_before_the_fault(chaos):
    """What is met under the fault proves nothing where the steady state was not."""
    rehearse(chaos, p50="< 1us")
    with pytest.raises(AssertionError, match=OR + "vacuous: the steady state never held"):
        chaos.expect("during", HELD)


def test_ill_and_nobody_asked(chaos):
    rehearse(chaos, p50="< 1us")


def test_too_few(chaos):
    """99.9 % is not to be seen on forty requests."""
    rehearse(chaos, success_rate=">= 90%")
    with pytest.raises(AssertionError, match=OR + "vacuous: .*; 1000 are needed"):
        chaos.expect("during", {"get": {"success_rate": ">= 99.9%"}})


def test_a_fault_that_touched_nothing(chaos):
    """Whoever catches what tells so does not get a pass for it."""
    rehearse(chaos)
    with pytest.raises(AssertionError), chaos.fault("latency", on="idle", delay="60ms"):
        chaos.wait("10ms")
    with pytest.raises(AssertionError, match=OR + "vacuous: the rehearsal proves nothing: fault.latency"):
        chaos.expect("during", HELD)


def test_held(chaos):
    rehearse(chaos, success_rate=">= 90%", p50="< 1s")
    try:
        chaos.expect("during", HELD)
    except AssertionError as error:
        assert str(error).startswith("inconclusive: the machine")
'''


LEFT = '''
import os
import signal
from contextlib import ExitStack

import pytest
from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.history import rows as r

pytestmark = pytest.mark.chaos_environment("small")
HELD = {"get": {"success_rate": ">= 90%"}}


class Met(Exception):
    """What a test meets while a fault lasts."""


def begin(chaos):
    chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "80/s", "timeout": "1s"})
    chaos.steady_state(get={"success_rate": ">= 90%"})
    chaos.wait("500ms")


def judged(chaos, outcome="held"):
    """The outcome, or that others took the machine."""
    seen = "held"
    try:
        chaos.expect("during", HELD)
    except AssertionError as error:
        seen = str(error)
    assert seen.startswith((outcome, "inconclusive: the machine"))


def test_left_by_an_exception(chaos):
    """Its window counts, and so does its evidence."""
    begin(chaos)
    for kind in ("latency", "down"):
        with pytest.raises(Met), chaos.fault(kind, on="front", **({"delay": "60ms"} if kind == "latency" else {})):
            chaos.wait("500ms")
            raise Met
    assert all(fault.touched for fault in chaos.history.rows(r.Fault))
    judged(chaos, "violated: during.get.success_rate")


def test_no_evidence_and_an_exception(chaos):
    begin(chaos)
    with pytest.raises(Met), chaos.fault("latency", on="idle", delay="60ms"):
        raise Met


def test_ended_after_it_was_judged(chaos):
    begin(chaos)
    with chaos.fault("latency", on="front", delay="60ms"):
        chaos.wait("500ms")
    judged(chaos)
    os.kill(chaos.live.services["front"].pid, signal.SIGKILL)
    exited = lambda: any(event.what == "exited" for event in chaos.history.rows(r.Event))
    wait_for(exited, what="the end to be told", limit=20)


def test_ended_as_often_as_it_may(chaos):
    """What was expected to be allowed is no finding at the end."""
    with chaos.fault("latency", on="front", delay="60ms"):
        os.kill(chaos.live.services["idle"].pid, signal.SIGKILL)
        exited = lambda: any(event.what == "exited" for event in chaos.history.rows(r.Event))
        wait_for(exited, what="the end to be told", limit=20)
        with pytest.raises(ChaosError, match="fault latency still lasts"):
            chaos.expect("services", {"idle": {"ends": "<= 1"}})
        import urllib.request
        urllib.request.urlopen(chaos.url("front")).read()
    chaos.expect("services", {"idle": {"ends": "<= 1"}})


def test_a_fault_after_the_traffic(chaos):
    """The second would be judged by what was seen of the first."""
    begin(chaos)
    for _ in range(2):
        with chaos.fault("latency", on="front", delay="60ms"):
            chaos.wait("300ms")
    assert [fault.name for fault in chaos.history.rows(r.Fault)] == ["latency", "latency-2"]
    judged(chaos)
    with pytest.raises(ChaosError, match="fault down may not begin any more"), chaos.fault("down", on="front"):
        pass
    with pytest.raises(ChaosError, match="chaos.traffic is said once"):
        chaos.traffic(get={"request": "GET {{ front.url }}/", "rate": "80/s"})


def test_never_began(chaos):
    chaos.fault("latency", on="front", delay="60ms")


def test_never_left(chaos):
    chaos.history.open = ExitStack()
    chaos.history.open.enter_context(chaos.fault("pause", service="front"))


def test_could_not_be_injected(chaos):
    """Whoever catches that has rehearsed nothing all the same."""
    begin(chaos)
    with pytest.raises(BrokenError), chaos.fault("exit", service="front", at="nowhere"):
        pass
    with pytest.raises(BrokenError, match="fault exit: front offers no failpoints"):
        chaos.expect("during", HELD)


@pytest.mark.chaos_environment("fatal")
def test_died_of_it(chaos):
    """It is the fault that ends the service, also where the block is left by an exception."""
    begin(chaos)
    with pytest.raises(Met), chaos.fault("exit", service="front", at="get"):
        chaos.wait("500ms")
        raise Met
'''

MISUSED = """
import pytest

pytestmark = pytest.mark.chaos_environment("small")
GET = {"request": "GET {{ front.url }}/", "rate": "50/s"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda chaos: chaos.fault("latency", on="fronx", dealy="100ms"),
        lambda chaos: chaos.wait("3"),
        lambda chaos: chaos.url("fronx"),
        lambda chaos: chaos.traffic(get={**GET, "timout": "1s"}),
        lambda chaos: chaos.traffic(get="GET /"),
        lambda chaos: (chaos.traffic(get=GET), chaos.steady_state(gett={"p50": "< 1s"})),
        lambda chaos: (chaos.traffic(get=GET), chaos.expect("during", {"get": {"sucess_rate": ">= 99%"}})),
        lambda chaos: chaos.fault("exit", service="front", at="nowhere").__enter__(),
        lambda chaos: chaos.fault("latency", on="idle", delay="60ms").__enter__() and chaos.expect("noop", {}),
    ],
)
def test_misused(chaos, ask):
    ask(chaos)


def test_no_evidence(chaos):
    with chaos.fault("latency", on="idle", delay="60ms"):
        pass
"""


def test_no_fault_is_left_out(project: Any) -> None:
    """However its block is left, and whatever comes after the first judgement, all is judged that was done."""
    (project.folder / "test_python.py").write_text(LEFT)
    server = (project.folder / "server.py").read_text()
    fatal = server.replace("        self.wfile", "        failpoint('get')\n        self.wfile")
    fatal = "from chaoskit.failpoints import failpoint, register\nregister('get')\n" + fatal
    (project.folder / "fatal.py").write_text(fatal)
    (project.scenarios / "environments" / "fatal.yaml").write_text(
        "environment: fatal\nservices:\n"
        "  front: {command: python fatal.py, cwd: ../.., protocol: http, failpoints: true, restart: always}\n"
    )
    outcome = project.run("--chaos", "-rE", "--tb=short", "test_python.py")
    assert "9 passed, 5 errors" in outcome.out, outcome.out
    ends = dict(re.findall(r"^_+ ERROR at teardown of test_(\w+) _+\n(.*)$", outcome.out, re.MULTILINE))
    assert set(ends) == {
        "no_evidence_and_an_exception", "ended_after_it_was_judged", "never_began", "never_left",
        "could_not_be_injected",
    }, outcome.out  # fmt: skip
    nothing = "vacuous: the rehearsal proves nothing: fault.latency: expected the fault acts on connections, seen 0"
    assert ends["no_evidence_and_an_exception"].startswith((nothing, "inconclusive: the machine")), outcome.out
    assert ends["ended_after_it_was_judged"].startswith("violated: services.front.ends"), outcome.out
    assert ends["never_began"].startswith("fault latency never began"), outcome.out
    assert ends["never_left"].startswith("fault pause still lasts"), outcome.out
    assert ends["could_not_be_injected"].startswith("fault exit: front offers no failpoints"), outcome.out


def test_misuse_is_told_as_in_a_file(project: Any) -> None:
    """One clear error in the line of the test: no frames of ours, no texts of the library that checks."""
    (project.folder / "test_python.py").write_text(MISUSED)
    outcome = project.run("--chaos", "test_python.py")
    assert "10 failed" in outcome.out, outcome.out
    for told in (
        "latency: on: unknown service 'fronx'; legal: front, idle; did you mean 'front'?",
        "latency: unknown key 'dealy'; legal: connections, delay, direction, jitter, on, share; did you mean 'delay'?",
        "wait: '3' is not a duration (perhaps 3ms or 3s?); legal: ",
        "unknown service 'fronx'; legal: front, idle; did you mean 'front'?",
        "did you mean 'timeout'?",
        "traffic: get: a mapping is expected, found 'GET /'; legal: ",
        "steady_state: gett: unknown operation 'gett'; legal: get; did you mean 'get'?",
        "did you mean 'success_rate'?",
        "front offers no failpoints",
        "fault latency still lasts",
        "vacuous: the fault latency on idle touched no connections",
    ):
        assert told in outcome.out, f"{told}\n{outcome.out}"
    for internal in ("fixture.py", "contextlib.py", "chaoskit/", "not permitted", "Field required", "pydantic"):
        assert internal not in outcome.out, f"{internal}\n{outcome.out}"


def test_the_fixture_judges_as_a_scenario_is_judged(project: Any) -> None:
    """Lag, an ill steady state, too few samples and a fault without evidence are no pass, asked for or not."""
    (project.folder / "test_python.py").write_text(JUDGED)
    outcome = project.run("--chaos", "-rE", "--tb=short", "test_python.py")
    assert "7 passed, 3 errors" in outcome.out, outcome.out
    assert "the traffic generator sent 8 of 9 planned requests" in outcome.out
    assert re.search("vacuous: the steady state never held|inconclusive: the machine was disturbed", outcome.out)


def test_the_fixture(project: Any) -> None:
    """A Python test gets the environment, faults, traffic and expectations; failures say what was seen."""
    (project.folder / "test_python.py").write_text(TESTS)
    outcome = project.run("--chaos", "-rP", "--tb=short", "test_python.py")
    assert "2 failed, 6 passed" in outcome.out, outcome.out
    assert "REFUSED fault restart may not begin while stop lasts: front is stopped then" in outcome.out
    assert re.search(r"violated during\.get\.p50: expected < 10ms, seen \d+(\.\d+)?ms \(\d+ samples\)", outcome.out)
    assert "vacuous: the fault latency on idle touched no connections" in outcome.out
    assert "MISTAKE unknown fault 'latencyy'; legal: abort, " in outcome.out
    assert "unknown service 'frnt'" in outcome.out
    assert "MISTAKE latency: 'delay' is missing" in outcome.out
    histories = list((project.folder / "reports" / "runs").glob("*/test-held/requests.jsonl"))
    assert len(histories) == 1


def living(folder: Path) -> dict[int, str]:
    """Processes that name the folder in their environment or work in it."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "cwd").resolve().is_relative_to(folder)
            if inside or str(folder).encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def stopped(folder: Path) -> list[int]:
    """Those of them that SIGSTOP has stopped."""
    found = []
    for pid in living(folder):
        with contextlib.suppress(OSError):  # it has just ended
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                found.append(pid)
    return found


def test_ctrl_c_in_mid_fault_leaves_nothing_behind(project: Any) -> None:
    """Interrupted while a service is stopped by SIGSTOP: all processes end, and what was seen can be judged."""
    pause = ("latency: {on: front, delay: 60ms}", "pause: {service: front}")
    project.write(long=project.edit(pause, ("for: 1s", "for: 60s")))
    mark = {"CHAOSKIT_TEST_FOLDER": str(project.folder)}
    with project.start("--chaos", "-v", env=mark) as process:
        try:
            seen = ""
            for line in process.stdout:
                seen += line
                if re.match(r" +faults ", line):
                    break
            assert len(living(project.folder)) >= 4, seen  # pytest, Toxiproxy, traffic, two services
            wait_for(lambda: stopped(project.folder), what="the service to be stopped", limit=10)
            os.kill(process.pid, signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 2, seen + rest
    assert "Interrupted" in rest or "KeyboardInterrupt" in rest
    assert living(project.folder) == {}
    assert list((project.folder / "reports").rglob("*.journal")) == []
    (folder,) = (project.folder / "reports" / "runs").glob("*/long")
    assert (folder / "requests.jsonl").stat().st_size

    from chaoskit.engine.run_folder import rejudge

    _, verdict, _ = rejudge(folder)
    assert (verdict.outcome, verdict.reason) == ("broken", "the run was interrupted")
