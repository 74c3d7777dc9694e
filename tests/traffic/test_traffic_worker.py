"""The worker as a process: its protocol, its end, and what the engine learns of its death."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.traffic.generator import TrafficGenerator, spawn_worker
from chaoskit.traffic.spec import Operation, Stream

Process = subprocess.Popen[bytes]


@pytest.fixture
def process() -> Iterator[Process]:
    """A worker that has said it is ready."""
    with subprocess.Popen(
        [sys.executable, "-m", "chaoskit.traffic.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert say(process) == {"ready": True}
        yield process
        process.kill()


def say(process: Process, *commands: dict[str, Any] | str) -> dict[str, Any]:
    """Send ``commands`` and read one line."""
    assert process.stdin is not None
    assert process.stdout is not None
    for command in commands:
        text = command if isinstance(command, str) else json.dumps(command)
        process.stdin.write(text.encode() + b"\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def test_protocol(process: Process, shop: Any) -> None:
    """begin, stream and end as JSON lines; the session ends with its schedule."""
    begin = {"cmd": "begin", "session": 1, "seed": 1, "operations": [{"name": "get", "url": shop.url}]}
    assert say(process, begin) == {"begun": True}
    stream = {"id": "s", "op": "get", "start": now(), "count": 1}
    row = say(process, {"cmd": "stream", "stream": stream})
    assert row["kind"] == "requests"
    assert row["row"]["status"] == 201
    assert say(process, {"cmd": "end", "drain": 1})["kind"] == "schedules"
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ended": True}


@pytest.mark.parametrize(
    "wrong",
    [
        "no json",
        {"cmd": "dance"},
        {"cmd": "stop", "id": "s"},
        {"cmd": "begin", "session": 1, "seed": 1, "operations": [{"name": "get"}]},
    ],
)
def test_wrong_commands_are_reported(process: Process, wrong: dict[str, Any] | str) -> None:
    """A command that cannot be carried out gives an error line, and the worker goes on."""
    assert say(process, wrong)["error"]
    assert say(process, {"cmd": "begin", "session": 2, "seed": 1, "operations": []}) == {"begun": True}


def test_quit_and_end_of_input(process: Process) -> None:
    """Both end the worker at once, also under load."""
    begin = {
        "cmd": "begin",
        "session": 1,
        "seed": 1,
        "operations": [{"name": "get", "url": "http://127.0.0.1:9"}],
    }
    assert say(process, begin) == {"begun": True}
    assert say(process, {"cmd": "stream", "stream": {"id": "s", "op": "get", "start": now(), "rate": 500}})
    assert process.stdin is not None
    process.stdin.close()
    before = now()
    assert process.wait(5) == 0
    assert now() - before < 1
    with spawn_worker([sys.executable, "-m", "chaoskit.traffic.worker"]) as other:
        say(other)
        other.communicate(b'{"cmd":"quit"}\n', timeout=5)
        assert other.returncode == 0


def test_ctrl_c_is_left_to_the_engine(process: Process) -> None:
    """SIGINT, which a terminal sends to every process, does not end the worker."""
    os.kill(process.pid, signal.SIGINT)
    assert say(process, {"cmd": "begin", "session": 1, "seed": 1, "operations": []}) == {"begun": True}


def test_a_full_pipe_does_not_stop_the_schedule(process: Process, shop: Any) -> None:
    """While nobody reads its rows the worker keeps sending, and delivers them all afterwards."""
    begin = {"cmd": "begin", "session": 1, "seed": 1, "operations": [{"name": "get", "url": shop.url}]}
    say(process, begin)
    assert process.stdin is not None
    assert process.stdout is not None
    stream = {"id": "s", "op": "get", "start": now(), "rate": 600, "count": 600}
    process.stdin.write(json.dumps({"cmd": "stream", "stream": stream}).encode() + b"\n")
    process.stdin.flush()
    # 600 rows are more than a pipe holds (64 KiB).
    wait_for(lambda: len(shop.seen) == 600, what="all requests", limit=20)
    rows = [json.loads(process.stdout.readline())["row"] for _ in range(600)]
    assert sorted(row["seq"] for row in rows) == list(range(600))


def test_a_dead_worker_is_an_error(shop: Any) -> None:
    """When the worker is killed, every call says so; a new start works."""
    with TrafficGenerator(lambda row: None) as generator:
        generator.begin(1, [Operation(name="get", url=shop.url)], {})
        assert generator.alive()
        assert generator.pid is not None
        os.kill(generator.pid, signal.SIGKILL)
        with pytest.raises(BrokenError, match=r"worker has died \(exit status -9\)"):
            wait_for(generator.check, what="the death", limit=10)
        assert not generator.alive()
        with pytest.raises(BrokenError, match="died"):
            generator.stream(Stream(id="s", op="get", start=now(), count=1))
        with pytest.raises(BrokenError, match="died"):
            generator.end()
        generator.close()
        generator.close()
        generator.start()
        generator.begin(1, [], {})


def test_last_words(tmp_path: Any) -> None:
    """A worker that fails to start is quoted, also when its words come well after the end of its rows."""
    dying = "import os, time; os.close(1); time.sleep(0.3); raise SystemExit('no room in here')"

    def spawn(argv: list[str]) -> Process:
        return spawn_worker([sys.executable, "-c", dying])

    generator = TrafficGenerator(lambda row: None, spawn)
    with pytest.raises(BrokenError, match=r"exit status 1\).*no room in here"):
        generator.start()
    generator.close()


def unclosed(caught: list[warnings.WarningMessage]) -> list[str]:
    """What was given to the garbage collector with its pipe or its process left open."""
    gc.collect()
    return [str(each.message) for each in caught if issubclass(each.category, ResourceWarning)]


def test_a_worker_that_takes_no_more_commands_is_closed(tmp_path: Any) -> None:
    """Also where what it could not be told fills the pipe's buffer, so that not even the last word fits in."""
    deaf = "import os, time; print('{\"ready\": true}', flush=True); os.close(0); time.sleep(0.2)"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator = TrafficGenerator(lambda row: None, lambda argv: spawn_worker([sys.executable, "-c", deaf]))
        generator.start()
        assert generator._process is not None
        assert generator._process.stdin is not None
        pipe = generator._process.stdin.fileno()
        room = os.fstat(pipe).st_blksize - len('{"cmd":"stop","id":""}\n') - 2

        def refused() -> bool:
            try:
                os.write(pipe, b"\n")
            except BrokenPipeError:
                return True
            return False

        wait_for(refused, what="the worker to close its end", limit=10)
        with pytest.raises(BrokenError, match="died"):
            generator.stop("x" * room)
        generator.close()
        assert unclosed(caught) == []


def test_a_worker_that_does_not_start_is_closed(tmp_path: Any) -> None:
    """A ``with`` whose beginning fails has no end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator = TrafficGenerator(lambda row: None, lambda argv: spawn_worker([sys.executable, "-c", ""]))
        with pytest.raises(BrokenError, match="has died"), generator:
            pass
        assert generator.pid is None
        assert unclosed(caught) == []


def test_a_row_that_cannot_be_recorded_breaks_the_run(shop: Any) -> None:
    """An ``emit`` that raises is not lost in a thread."""

    def emit(row: object) -> None:
        raise OSError("disk full")

    with TrafficGenerator(emit) as generator:
        generator.begin(1, [Operation(name="get", url=shop.url)], {})
        generator.stream(Stream(id="s", op="get", start=now(), count=1))
        with pytest.raises(BrokenError, match="disk full"):
            wait_for(generator.check, what="the error", limit=10)
