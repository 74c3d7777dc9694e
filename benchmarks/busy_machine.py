"""Makes a machine busy, as a shared CI machine is, for a bounded time; ends cleanly, also on Ctrl-C or SIGTERM.

    python benchmarks/busy_machine.py loops --seconds 60
    python benchmarks/busy_machine.py forks --seconds 60 -- pytest --chaos scenarios/

``loops`` are eight endless loops. ``forks`` is forks and disk, in turns: an install into a fresh environment, a build
(compiling a tree of Python files, copying and packing it), and a suite of tests that starts many processes. With a
command after ``--`` the load lasts until that has ended (at most ``--seconds``), and the exit status is the command's.
Nothing is fetched from anywhere: environments are made of what is installed here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOOP = "while :; do :; done"
INSTALL = """
rm -rf "$1/venv"; "$0" -m venv "$1/venv"
"""
BUILD = """
rm -rf "$1/build"; mkdir "$1/build"
cp -r "$2/asyncio" "$2/email" "$2/json" "$2/unittest" "$2/http" "$2/xml" "$1/build/"
"$0" -m compileall -q -f -j 2 "$1/build" > "$1/build.log" 2>&1
tar czf "$1/build.tar.gz" -C "$1" build; sync -f "$1"
"""
TESTS = """
i=0; while [ $i -lt 60 ]; do "$0" -c "import json, email, unittest, http.client; [str(x) for x in range(100000)]" &
i=$((i + 1))
[ $((i % 6)) -eq 0 ] && wait; done; wait
"""
TURNS = (INSTALL, BUILD, TESTS)


def worker(folder: Path, first: int) -> list[str]:
    """One shell that goes through the turns for ever, beginning with another one each."""
    turns = [TURNS[(first + index) % len(TURNS)] for index in range(len(TURNS))]
    script = "while :; do\n" + "\n".join(turns) + "\ndone"
    return ["sh", "-c", script, sys.executable, str(folder), str(Path(os.__file__).parent)]


@contextlib.contextmanager
def busy(kind: str, count: int, seconds: float) -> Iterator[None]:
    """The load, while this context lasts. Everything it started is ended and removed with it.

    Were this process killed, each shell would end by itself after ``seconds``.
    """
    folder = Path(tempfile.mkdtemp(prefix="busy-machine-"))
    children: list[subprocess.Popen[bytes]] = []
    try:
        for index in range(count):
            own = folder / str(index)
            own.mkdir()
            argv = ["sh", "-c", LOOP] if kind == "loops" else worker(own, index)
            limited = ["timeout", "--signal=KILL", f"{seconds + 5:.0f}", *argv]
            children.append(subprocess.Popen(limited, env={**os.environ, "TMPDIR": str(own)}, start_new_session=True))
        yield
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Parse the command line, make it busy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("loops", "forks"))
    parser.add_argument("--seconds", type=float, default=60.0, help="at most so long (default: 60)")
    parser.add_argument("--count", type=int, help="loops, or shells that fork (default: 8, or 4)")
    end_of_ours = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    asked, beside = parser.parse_args(sys.argv[1:end_of_ours]), sys.argv[end_of_ours + 1 :]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    count = asked.count or (8 if asked.kind == "loops" else 4)
    with busy(asked.kind, count, asked.seconds), contextlib.suppress(KeyboardInterrupt):
        if not beside:
            time.sleep(asked.seconds)
            return 0
        with subprocess.Popen(beside) as command:
            end = time.monotonic() + asked.seconds
            while (status := command.poll()) is None and time.monotonic() < end:
                time.sleep(0.1)
    return command.wait() if status is None else status


if __name__ == "__main__":
    sys.exit(main())
