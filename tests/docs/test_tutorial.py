"""The tutorial does what it says: its files are written, its commands run, its outputs compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaoskit.engine.attempts import await_calm

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUANTITY = re.compile(r"(?<![\w:.])\d[\d.]*(e[+-]\d+)?\s?(ms|µs|us|s|%)?(?![\w-])")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks() -> list[Block]:
    """The fenced blocks of the tutorial, in order."""
    return [Block(*found) for found in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))]


def write(block: Block, folder: Path) -> None:
    """Write, or append, the file that the block's first line names."""
    first, _, rest = block.text.partition("\n")
    append, name = re.fullmatch(r"# (append to )?(\S+)", first).groups()
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a" if append else "x", encoding="utf-8") as stream:
        stream.write(rest)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command as a reader would, with the tools of the interpreter that runs the tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "PYTHONWARN"))}
    return subprocess.run(
        command, shell=True, cwd=folder, env={**env, "PATH": path, "COLUMNS": "100"},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False,
    )  # fmt: skip


def run_unhurried(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The same, again while what is printed tells that others took of the machine."""
    for _ in range(4):
        done = run(command, folder)
        if not re.search("inconclusive|at attempt|fell behind|was held up", done.stdout, re.IGNORECASE):
            break
        await_calm("tutorial")
    return done


def pattern(line: str) -> re.Pattern[str]:
    """A line of shown output: figures differ from run to run (line numbers do not), ``...`` stands for anything."""
    text = QUANTITY.sub("\0", line.rstrip())
    text = r"\s+".join(re.escape(part) for part in text.split())
    return re.compile(r"\s*" + text.replace(re.escape("..."), ".*").replace("\0", QUANTITY.pattern) + r"\s*")


def assert_shown(shown: str, output: str) -> None:
    """Every line of ``shown`` is a line of ``output``, in this order."""
    lines = iter(output.splitlines())
    for line in shown.splitlines():
        if line.strip() in ("", "..."):
            continue
        wanted = pattern(line)
        assert any(wanted.fullmatch(found) for found in lines), f"{line!r} is not (or not there) in:\n{output}"


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str, int, str]]]:
    """The tutorial from top to bottom: its folder, and of each command what was shown, and its status and output."""
    folder = tmp_path_factory.mktemp("tutorial")
    steps: list[tuple[str, str, int, str]] = []
    todo = blocks()
    for index, block in enumerate(todo):
        if block.language == "sh":
            assert todo[index + 1].language == "text", f"{block.text!r} has no output beside it"
            done = run_unhurried(block.text, folder)
            steps.append((block.text.strip(), todo[index + 1].text, done.returncode, done.stdout))
        elif block.language != "text":
            write(block, folder)
    return folder, steps


def test_outputs_are_those_shown(walk):
    """What the tutorial shows below a command is what the command prints, but for the figures."""
    for _, shown, _, output in walk[1]:
        assert_shown(shown, output)


def test_statuses(walk):
    """All commands succeed, but for the one that runs without the protection."""
    assert {command: status for command, _, status, _ in walk[1]} == {
        "chaoskit validate scenarios/": 0,
        "chaoskit plan scenarios/slow-rates.chaos.yaml": 0,
        "pytest --chaos scenarios/": 0,
        "RATES_LIMIT_S=5 pytest --chaos scenarios/": 1,
        "pytest --chaos --chaos-controls -k control scenarios/": 0,
    }


def test_every_answer_was_a_success(walk):
    """Without the protection no status tells of it: success_rate is not among what was violated."""
    output = walk[1][3][3]
    assert "VIOLATED during.price.p95" in output
    assert "VIOLATED during.price.success_rate" not in output


def test_reports_lie_where_it_says(walk):
    """Histories and Allure results lie below reports/ of the project."""
    assert list(walk[0].glob("reports/runs/*/slow-rates/requests.jsonl"))
    assert list(walk[0].glob("reports/allure-results/*-result.json"))


def test_the_files_are_those_of_the_example(tmp_path):
    """examples/quickstart holds the files as they stand at the tutorial's end, and no others."""
    for block in blocks():
        if block.language not in ("sh", "text"):
            write(block, tmp_path)
    written = {file.relative_to(tmp_path): file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    example = ROOT / "examples" / "quickstart"
    for name, text in written.items():
        assert (example / name).read_text() == text, f"examples/quickstart/{name} is not what the tutorial shows"
    kept = {
        file.relative_to(example)
        for file in example.rglob("*")
        if file.is_file() and file.suffix not in (".pyc", ".md") and "reports" not in file.parts
    }
    assert {name for name in kept if not any(part.startswith(".") for part in name.parts)} == set(written)


def test_the_service_has_25_lines():
    """A tiny service: at most 25 lines with its docstring and blank lines."""
    text = next(block.text for block in blocks() if block.language == "python")
    assert len(text.splitlines()) - 1 <= 25
