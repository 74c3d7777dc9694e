"""What starts an SOP and what does not; in what order, how often, with what retries; and what is told of it."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sop_stage import Desk, alert

from chaoskit.alerting.sops.queue import FILE, sweep_queues
from chaoskit.base.clock import now, wait_for


@pytest.fixture
def desk(tmp_path):
    """A runner's desk, closed in the end."""
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def restart(name="restart", service="orders", **more):
    steps = [{"restart": {"service": service}}]
    return {"sop": name, "on": {"alert": "OrdersPanics"}, "retry": {"attempts": 1}, "steps": steps, **more}


def test_a_severe_alert_starts_its_sop_once_however_often_it_is_told(desk):
    """One incident is one run: duplicates change nothing; after it was resolved the next one is another incident."""
    runner = desk.open(restart())
    for _ in range(5):
        runner.alert(alert())
    desk.settle()
    (first,) = desk.rows()
    assert (first.outcome, first.action_type, first.target_service, first.attempts) == ("done", "restart", "orders", 1)
    assert first.queued <= first.started <= first.ended
    report = json.loads((desk.folder / first.report).read_text())
    runner.alert(alert(state="resolved"))
    runner.alert(alert())
    desk.settle()
    assert len(desk.rows("done")) == 2
    assert len({row.incident for row in desk.rows()}) == 2
    assert report["incident"] == first.incident
    runner.close()
    assert json.loads((desk.folder / first.report).read_text())["alert"]["deliveries"] == 5


def test_notifications_from_many_threads_start_one_run(desk):
    """Senders do not wait for each other."""
    runner = desk.open(restart())
    threads = [threading.Thread(target=runner.alert, args=(alert(),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.settle()
    assert len(desk.rows()) == 1


@pytest.mark.parametrize(
    ("severity", "starts"),
    [
        *[(word, True) for word in ("P1", "critical", "P2", "high")],
        *[(word, False) for word in ("P3", "warning", "P4", "", "odd")],
    ],
)
def test_severity_decides(desk, severity, starts):
    """P2 and more severe start it; less, none and an unknown word do not, and the reason is told."""
    runner = desk.open(restart())
    runner.alert(alert(severity=severity))
    desk.settle()
    (row,) = desk.rows()
    assert (row.outcome == "done") is starts
    assert starts or "severity" in row.detail
    assert bool(desk.context.done) is starts


def test_what_was_not_delivered_starts_nothing(desk):
    """Refused deliveries, what the rules say, another alert and other labels are no reason."""
    runner = desk.open(restart(on={"alert": "OrdersPanics", "labels": {"team": "orders"}}))
    for row in (
        alert(labels={"team": "orders"}, refused="stall"),
        alert(labels={"team": "orders"}, state="firing", source="rules"),
        alert("OrdersDown", labels={"team": "orders"}),
        alert(labels={"team": "payments"}),
    ):
        runner.alert(row)
    desk.settle()
    assert desk.rows() == []


def test_cool_down_and_times_are_told(desk):
    """Another incident within the cool-down, or after the last run there may be, is decided against."""
    runner = desk.open(restart(cooldown="10m"), restart("few", times=1))
    for fingerprint in ("a", "b"):
        runner.alert(alert(fingerprint=fingerprint))
    desk.settle()
    skipped = {row.sop: row.detail for row in desk.rows("skipped")}
    assert skipped["inline-1"].startswith("cool-down: 10min of 10min")
    assert skipped["inline-2"] == "at most 1 in one scenario"
    assert len(desk.rows("done")) == 2


def test_the_queue_is_taken_by_priority(desk):
    """While one runs, the others wait; the most urgent goes first, the older of equals before the younger."""
    names = ("low", "normal", "high", "critical", "high")
    sops = [restart(on={"alert": f"A{i}"}, priority=name, service="payments") for i, name in enumerate(names)]
    runner = desk.open(restart(), *sops)
    desk.context.gate.clear()
    runner.alert(alert())
    wait_for(lambda: desk.context.done, what="the first to run", limit=5)
    for i in range(len(names)):
        runner.alert(alert(f"A{i}"))
    lines = [json.loads(line) for line in (desk.folder / FILE).read_text().splitlines()]
    assert [line["priority"] for line in lines if "queued" in line] == ["normal", *names]
    desk.context.gate.set()
    desk.settle()
    order = sorted(desk.rows("done"), key=lambda row: row.started)
    assert [row.alert for row in order] == ["OrdersPanics", "A3", "A2", "A4", "A1", "A0"]


def test_a_failing_step_is_tried_again_with_growing_gaps(desk):
    """Three attempts, 0.1 s and then 0.2 s apart, and then it is done."""
    desk.context.failures = 2
    runner = desk.open(restart(retry={"attempts": 3, "backoff": "100ms", "factor": 2}))
    runner.alert(alert())
    desk.settle()
    (row,) = desk.rows()
    assert (row.outcome, row.attempts) == ("done", 3)
    first, second, third = [at for _, _, at in desk.context.done]
    assert 0.1 <= second - first < 0.19 + 0.5
    assert third - second >= 0.2
    assert third - second > second - first


def test_a_step_that_fails_for_good_ends_the_run_and_escalates(desk):
    """Later steps are not done; who is told stands in the row; nothing secret does."""
    desk.context.failures = 9
    sop = restart(
        retry={"attempts": 2, "backoff": "10ms"},
        escalate={"to": "on-call", "message": "{{ alert.name }} is not mended"},
    )
    sop["steps"].append({"restart": {"service": "payments"}})
    runner = desk.open(sop)
    runner.alert(alert())
    desk.settle()
    (row,) = desk.rows()
    assert (row.outcome, row.attempts, row.escalated) == ("failed", 2, "on-call")
    assert {service for _, service, _ in desk.context.done} == {"orders"}
    assert row.steps[-1]["detail"] == "told on-call: OrdersPanics is not mended"
    runner.close()
    for file in desk.folder.rglob("*"):
        assert file.is_dir() or b"hunter2" not in file.read_bytes(), file


def test_what_the_end_finds_is_open(desk):
    """Closing begins nothing more: what waited, and what was waiting to be tried again, is written down as open."""
    desk.context.failures = 9
    runner = desk.open(restart(retry={"attempts": 5, "backoff": "1h", "max": "1h"}), restart(priority="low"))
    runner.alert(alert())
    wait_for(lambda: desk.context.done, what="the first attempt", limit=5)
    began = now()
    runner.close()
    assert now() - began < 5
    assert [(row.outcome, row.started is None) for row in desk.rows()] == [("open", False), ("open", True)]
    runner.alert(alert("OrdersPanics", fingerprint="later"))
    assert len(desk.rows()) == 2
    assert len(desk.context.done) == 1


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from sop_stage import Desk, alert
desk = Desk(Path(sys.argv[2]))
desk.context.gate.clear()
stop = {"sop": "s", "on": {"alert": ["OrdersPanics", "OrdersDown"]}, "steps": [{"restart": {"service": "orders"}}]}
runner = desk.open(stop)
runner.alert(alert())
while not desk.context.done:
    time.sleep(0.01)
runner.alert(alert("OrdersDown"))
print("up", flush=True)
time.sleep(60)
"""


def test_a_killed_run_leaves_what_is_told_once_and_never_executed(tmp_path):
    """SIGKILL in the middle of an SOP: the next run tells what ran and what waited, and that is all."""
    runs = tmp_path / "runs"
    folder = runs / "20300101-000000-1"
    folder.mkdir(parents=True)
    here = str(Path(__file__).parent)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, here, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": here},
    )
    try:
        assert killed.stdout.readline() == b"up\n"
        assert sweep_queues(runs) == [], "its owner lives"
    finally:
        killed.kill()
        killed.communicate()
    told = sweep_queues(runs)
    assert len(told) == 2
    assert "SOP inline-1 (P1 OrdersPanics) of run 20300101-000000-1: was running when the run was killed" in told[0]
    assert "(P1 OrdersDown)" in told[1]
    assert "was queued" in told[1]
    assert "not executed again" in told[1]
    assert sweep_queues(runs) == []


@pytest.mark.parametrize("way", ["a link", "in a linked folder", "with colours"])
def test_a_queue_that_somebody_laid_there(tmp_path, way):
    """Only words come of it, on one line: nothing is written anywhere else, and no terminal is told to do anything."""
    theirs = tmp_path / "theirs" / "scenario"
    theirs.mkdir(parents=True)
    lines = [{"pid": 1, "start": 0, "boot": "x"}, [], {"queued": 1, "sop": "a\x1b[2J\n", "alert": "b"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (theirs / FILE).write_text(text)
    runs = tmp_path / "runs"
    (runs / "x" / "y").mkdir(parents=True)
    if way == "a link":
        (runs / "x" / "y" / FILE).symlink_to(theirs / FILE)
    elif way == "in a linked folder":
        (runs / "z").symlink_to(theirs.parent)
    else:
        (theirs / FILE).rename(runs / "x" / "y" / FILE)
        (told,) = sweep_queues(runs)
        assert told == "SOP a [2J  (b) of run x: was queued when the run was killed; it is not executed again"
        return
    assert sweep_queues(runs) == []
    assert (theirs / FILE).read_text() == text


ODD = [None, True, 1.5, -1, 2**40, 10**300, "x", "1", "\0", [], [1], {}, {"a": []}, "../../tmp/pipe"]
OWNER = {"pid": 999_999, "start": 1, "boot": "x"}


def planted(folder, lines):
    """A queue in the folder of a run."""
    file = folder / "x" / "y" / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return folder


@pytest.mark.parametrize("key", ["pid", "start", "boot", "space"])
def test_an_odd_owner_of_a_queue(tmp_path, key):
    """It is nobody, whatever stands there; no path below /proc is made of it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (tmp_path / "stat").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "stat" / "stat")
    for odd in [*ODD, f"..{tmp_path}/stat"]:
        runs = planted(tmp_path / "runs", [{**OWNER, "boot": boot, key: odd}, {"queued": 1, "sop": "a"}])
        told = sweep_queues(runs)
        assert len(told) == (
            1 if key == "start" and type(odd) is int else 1 if (key, type(odd)) == ("boot", str) else 0
        )


@pytest.mark.parametrize("key", ["queued", "started", "ended", "swept", "failed", "closed", "sop", "alert", "severity"])
def test_odd_lines_in_a_queue(tmp_path, key):
    """One that is none of ours is passed over: what else is in the file is told."""
    for odd in ODD:
        lines = [OWNER, {"queued": 7, "sop": "a"}, {**({"queued": 8} if key in "sop alert severity" else {}), key: odd}]
        told = sweep_queues(planted(tmp_path, [*lines, b"[" * 100_000, b"9" * 5000, b"{", b"\xff"]))
        assert key == "closed" or any(text.startswith("SOP a ()") for text in told)


@pytest.mark.parametrize("what", ["folder", "socket", "large"])
def test_what_is_no_queue(tmp_path, what):
    """Nothing comes of it."""
    planted(tmp_path, [OWNER, {"queued": 1}])
    file = tmp_path / "x" / "y" / FILE
    if what == "large":
        os.truncate(file, 1 << 40)
    else:
        file.unlink()
    if what == "folder":
        file.mkdir()
    if what == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.relpath(file))
    assert sweep_queues(tmp_path) == []


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_of_a_queue(tmp_path, seed):
    """Words or nothing, never a traceback, never for ever."""
    rng = random.Random(seed)
    lines = [
        OWNER,
        {"queued": 1, "sop": "a", "alert": "b", "severity": "P1"},
        {"started": 1},
        {"queued": 2},
        {"swept": 2},
    ]
    whole = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for _ in range(200):
        place = rng.randrange(len(whole))
        piece = rng.choice([b"", b"[", b"{", b'"', b"9" * 400, b"null", b"\n", b"\0", b"\xff", b"[]", b"1e999", b"NaN"])
        data = whole[:place] + piece + whole[place + rng.randrange(12) :]
        assert all(isinstance(text, str) for text in sweep_queues(planted(tmp_path, [data])))


def test_a_finished_run_leaves_nothing_to_tell(desk, tmp_path):
    """Neither while it runs nor afterwards."""
    runner = desk.open(restart())
    runner.alert(alert())
    desk.settle()
    assert sweep_queues(tmp_path.parent) == []
    runner.close()
    assert sweep_queues(tmp_path.parent) == []
    assert (desk.folder / FILE).stat().st_mode & 0o777 == 0o600
    assert [json.loads(line) for line in (desk.folder / FILE).read_text().splitlines()][-1] == {"closed": True}
