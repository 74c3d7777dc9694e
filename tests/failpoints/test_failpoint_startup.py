"""How a process comes to have failpoints: the agent, the environment, and what cannot start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.failpoints.client import FailpointError

SYNC, ASYNC = "fp_service.work:Orders.charge", "fp_service.work:pay"


def test_failpoints_from_the_environment(start: Any) -> None:
    """Set before the module is imported, in either spelling; the API can lift them."""
    child = start(
        "-m",
        "chaoskit.failpoints.agent",
        "-m",
        "fp_service",
        GOFAIL_FAILPOINTS=f"{SYNC}=return(1)",
        CHAOSKIT_FAILPOINTS=f"{ASYNC}=return(2)",
    )
    child.line()
    assert [child.ask("sync"), child.ask("async")] == ["sync 1", "async 2"]
    child.api.delete(SYNC)
    assert child.ask("sync") == "sync charged 1"


def test_a_script_runs_as_without_the_agent(start: Any, tmp_path: Path) -> None:
    """Arguments, __main__, its own folder on the path, its exit status; its functions are failpoints too."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "beside.py").write_text("word = 'beside'\n")
    (folder / "script.py").write_text(
        "import sys, pickle, beside\n"
        "class Thing: pass\n"
        "def work(): return 1\n"
        "assert isinstance(pickle.loads(pickle.dumps(Thing())), Thing)\n"
        "print(sys.argv, __name__, __file__ == sys.modules['__main__'].__file__, beside.word, flush=True)\n"
        "for line in sys.stdin: print(work(), flush=True)\n"
        "sys.exit(5)\n"
    )
    child = start("-m", "chaoskit.failpoints.agent", "elsewhere/script.py", "x", "-m")
    assert child.line() == "['elsewhere/script.py', 'x', '-m'] __main__ True beside"
    child.api.put("__main__:work", "return(2)")
    assert child.ask("go") == "2"
    assert child.finish() == 5


def test_lines_need_no_agent(start: Any, tmp_path: Path) -> None:
    """Importing the package is enough: GOFAIL_HTTP, GOFAIL_FAILPOINTS and the seed are read."""
    (tmp_path / "line.py").write_text(
        "import sys\nfrom chaoskit.failpoints import failpoint, register\nregister('b')\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n    hit = failpoint('a')\n    print(hit and hit.value, flush=True)\n"
    )

    def sequence() -> list[str]:
        child = start("line.py", GOFAIL_FAILPOINTS="a=50.0%return(1)", CHAOSKIT_FAILPOINTS_SEED="5")
        child.line()
        seen = [child.ask("go") for _ in range(30)]
        assert child.api.count("a") == seen.count("1")
        child.api.put("b", "panic")
        with pytest.raises(FailpointError, match="404"):
            child.api.put("fp_service.work:pay", "panic")
        return seen

    first = sequence()
    assert {"1", "None"} == set(first)
    assert sequence() == first


def test_by_name_without_the_agent(start: Any, tmp_path: Path) -> None:
    """CHAOSKIT_FAILPOINTS_AGENT=1 is enough for a program that imports the package."""
    (tmp_path / "line.py").write_text(
        "import sys\nimport chaoskit.failpoints\nfrom fp_service.work import Orders\nprint('ready', flush=True)\n"
        "for line in sys.stdin: print(Orders().charge(1), flush=True)\n"
    )
    child = start("line.py", CHAOSKIT_FAILPOINTS_AGENT="1", CHAOSKIT_FAILPOINTS=f"{SYNC}=1*return(1)")
    child.line()
    assert [child.ask("go"), child.ask("go")] == ["1", "charged 1"]


def test_children_leave_the_address_to_their_parent(start: Any, tmp_path: Path) -> None:
    """Started or forked children inherit the address, but do not claim it; the parent goes on answering."""
    (tmp_path / "parent.py").write_text(
        "import os, subprocess, sys\nfrom chaoskit.failpoints import failpoint\nfailpoint('a')\n"
        "code = 'from chaoskit.failpoints import failpoint; print(failpoint(\"a\").value, flush=True)'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    print(failpoint('a').value, flush=True)\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    child = start("parent.py", GOFAIL_FAILPOINTS="a=return(1)")
    assert [child.line() for _ in range(3)] == ["1", "1", "ready"]
    assert child.api.list() == {"a": "return(1)"}


@pytest.mark.parametrize(
    ("arguments", "env", "status", "why"),
    [
        ([], {}, 2, "usage: python -m chaoskit.failpoints.agent"),
        (["-m"], {}, 2, "usage"),
        (["-x"], {}, 2, "usage"),
        (["nope.py"], {}, 1, "can't open"),
        (["-m", "nope"], {}, 1, "there is no module nope that can be run"),
        (["-m", "fp_service.nope"], {}, 1, "there is no module fp_service.nope"),
        (
            ["-m", "fp_service"],
            {"GOFAIL_HTTP": "0.0.0.0:1"},
            1,
            "GOFAIL_HTTP=0.0.0.0:1: '0.0.0.0' is not loopback",
        ),
        (
            ["-m", "fp_service"],
            {"GOFAIL_FAILPOINTS": "a=pnic"},
            1,
            "GOFAIL_FAILPOINTS=a=pnic: failpoint: could",
        ),
        (["-m", "fp_service"], {"CHAOSKIT_FAILPOINTS": "nope:f=panic"}, 1, "there is no module 'nope'"),
    ],
)
def test_what_cannot_start(start: Any, arguments: list[str], env: dict[str, str], status: int, why: str) -> None:
    """One clear text and an exit status, no traceback."""
    code, errors = start("-m", "chaoskit.failpoints.agent", *arguments, **env).wait()
    assert code == status
    assert why in errors
    assert "Traceback" not in errors
