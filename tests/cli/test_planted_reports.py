"""Every command that reads reports, on a report folder that somebody else has filled.

Nothing outside of it is read or shown, nothing absurd passes, and every answer is an exit status and at most a message.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.cli import main
from chaoskit.engine.run_folder import rejudge
from chaoskit.report.runs import read_run
from chaoskit.trend.history_db import Database, Revision

INLINE = "environment: {services: {stub: {provider: noop}}}"
RUN = "reports/runs/1"
COMMANDS = (
    ("judge", RUN),
    ("judge", "latest"),
    ("report", "--allure", "none"),
    ("gate", "--output", "out"),
    ("gate", RUN, "--output", "out"),
    ("compare", "previous", "latest", "--json"),
    ("compare", RUN, "latest"),
    ("history",),
    ("history", "--scenario", "made-up"),
    ("clean",),
)
FROM_FOLDER = (("report", "--allure", "none"), ("gate", RUN, "--output", "out"), ("compare", RUN, RUN))
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def recording(record: Callable[..., Path]) -> Path:
    """A recorded scenario with its verdict, twice in a history."""
    folder = record(
        scenario="Made up", severity="blocker", file="x.chaos.yaml", nodeid="x.chaos.yaml::made-up",
        started="2026-01-01T10:00:00+0000", wall=7.0, seed=1, tags=["a"],
    )  # fmt: skip
    verdict = rejudge(folder)[1]
    (folder / "verdict.json").write_text(json.dumps(verdict.as_dict(), default=str), encoding="utf-8")
    for run in ("0", "1"):
        with Database(folder.parents[2] / "history.db") as database:
            database.record(run, read_run(folder.parent), Revision("c0ffee", "main", ""))
    return folder


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Exit status and all that was printed; whatever is raised comes through."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()

    def run(*arguments: str) -> tuple[int, str]:
        status = main(arguments)
        told = capsys.readouterr()
        return status, told.out + told.err

    return run


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the user's, which is rules, a Compose file, an environment and an SOP at once."""
    file = tmp_path / "private" / "theirs.yaml"
    file.parent.mkdir()
    file.write_text(
        "groups: [{name: a, rules: [{alert: SECRET, expr: up}]}]\nservices: {SECRET: {image: x}}\nSECRET: 1\n"
    )
    return file


def edit(file: Path, /, **changes: Any) -> None:
    """Change what a JSON file says."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def shown(tmp_path: Path) -> str:
    """What reports have written for people."""
    files = [tmp_path / "reports" / "chaoskit.html", tmp_path / "out" / "gate.md", tmp_path / "out" / "gate.xml"]
    return "\n".join(file.read_text() for file in files if file.exists())


def test_untouched(recording: Path, call: Call) -> None:
    """So that what follows is for the reasons that it names."""
    assert [call(*command)[0] for command in COMMANDS] == [0] * len(COMMANDS)


@pytest.mark.parametrize("what", ["rules", "compose", "include", "environment", "sop", "original"])
def test_judge_reads_nothing_beside_the_recording(
    recording: Path, call: Call, secret: Path, tmp_path: Path, what: str
) -> None:
    """Neither by a path that the recording names, nor by a name that is looked for above it; what is missing is told.

    Of the file it came from, only one below the working directory is looked at, and only if it is a file.
    """
    scenario = recording / "scenario.chaos.yaml"
    text = scenario.read_text()
    named, told = text.replace(INLINE, "environment: theirs"), ""
    if what == "rules":
        provider = f"{INLINE[:-2]}, prom: {{provider: prometheus, args: {{rules: ['{secret}']}}}}}}}}"
        text = (
            text.replace(INLINE, provider)
            + "sops: [{sop: x, on: {alert: Nosuch}, steps: [{restart: {service: stub}}]}]\n"
        )
    elif what == "compose":
        (recording / "environment.yaml").write_text(f"environment: theirs\ncompose: {secret}\nproxy: [nosuch]\n")
        text, told = named, "a recording holds the copy compose-services.yml, and no other file is read"
    elif what == "include":
        (recording / "environment.yaml").write_text(
            "environment: theirs\ncompose: compose-services.yml\nproxy: [nosuch]\n"
        )
        (recording / "compose-services.yml").write_text(f"include: ['{secret}']\nservices: {{stub: {{image: x}}}}\n")
        text, told = named, "is a copy in a recording, and includes no other file"
    elif what == "environment":
        secret.parent.rename(tmp_path / "environments")
        text, told = named, "holds no copy of it (environment.yaml is missing), and no other file is read"
    elif what == "sop":
        secret.parent.rename(tmp_path / "sops")
        text, told = text + "sops: [theirs]\n", "holds no copy of it (sops/theirs.yaml is missing), and no other file"
    else:
        os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
        edit(recording / "run.json", file=str(tmp_path / "pipe"), nodeid="")
    scenario.write_text(text)
    status, out = call("judge", RUN)
    assert "SECRET" not in out
    assert told in out
    assert (status, len(out.splitlines())) == (2, 1) if told else status == 0


def test_the_lines_of_a_file_elsewhere_are_not_read(recording: Path, call: Call, tmp_path: Path) -> None:
    """Whether a file of the user's is the same as what was planted is not told by any answer."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside.chaos.yaml"
    edit(recording / "run.json", file=str(outside), nodeid="")
    answers = []
    for text in ((recording / "scenario.chaos.yaml").read_bytes(), b"other"):
        outside.write_bytes(text)
        answers.append(call("judge", RUN))
    outside.unlink()
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["environment.yaml", "scenario.chaos.yaml", "sops"])
def test_pipes(recording: Path, call: Call, name: str) -> None:
    """Nothing waits for what will never come."""
    (recording / name).unlink(missing_ok=True)
    os.mkfifo(recording / name)
    status, out = call("judge", RUN)
    assert status == 2
    assert f"{name} is no regular file" in out
    assert call("report", "--allure", "none")[0] == 0


@pytest.mark.parametrize("level", ["scenario", "run", "runs"])
def test_folders_that_are_links(recording: Path, call: Call, tmp_path: Path, level: str) -> None:
    """A run that lies elsewhere is not this one; only the folder that a person names may be a link."""
    folder = {"scenario": recording, "run": recording.parent, "runs": recording.parents[1]}[level]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    for command in (("judge", "latest"), ("report", "--allure", "none"), ("gate", "--output", "out")):
        status, out = call(*command)
        assert (status, len(out.splitlines())) == (2, 1), out
        assert "symbolic link, which is not followed" in out
    Path("reports/history.db").unlink()
    assert call("report", "--allure", "none")[0] == 2
    (tmp_path / "named").symlink_to(tmp_path / "reports" / "runs" / "1")
    assert call("judge", "named")[0] == (2 if level == "scenario" else 0)


def test_a_scenario_cannot_be_hidden_by_a_link_that_leads_nowhere(recording: Path, call: Call) -> None:
    """A run from which a failed scenario is missing would pass."""
    (recording / "run.json").unlink()
    (recording / "run.json").symlink_to("nowhere")
    for command in (("judge", RUN), ("gate", RUN, "--output", "out")):
        status, out = call(*command)
        assert status == 2
        assert "symbolic link" in out


NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recovery", NAN), ("recovery", float("inf")), ("recovery", "x"), ("recovery", -1), ("recovery", 10**400),
        ("sop_recovery", NAN), ("samples", NAN), ("samples", "<b>"), ("outcome", "HELD"), ("outcome", 5),
        ("reason", 5), ("findings", [{"id": "a"}]), ("operations", {"ask": {"p99": NAN}}),
    ],
)  # fmt: skip
def test_figures_of_a_verdict(recording: Path, call: Call, name: str, value: object) -> None:
    """The gate does not pass because nothing is larger than no number; no page is made of it."""
    edit(recording / "verdict.json", **{name: value})
    for command in FROM_FOLDER:
        status, out = call(*command)
        assert (status, len(out.splitlines())) == (2, 1), out
        assert "run.json and verdict.json are no record of a scenario" in out


@pytest.mark.parametrize("figure", ["success", "p50", "p99", "fallback", "requests"])
@pytest.mark.parametrize("number", ["NaN", "1e999", "-1", "1e300"])
def test_figures_of_operations(recording: Path, call: Call, figure: str, number: str) -> None:
    """Each of them, as JSON writes it and as it does not."""
    verdict = json.loads((recording / "verdict.json").read_text())
    verdict["operations"]["ask"][figure] = "NUMBER"
    (recording / "verdict.json").write_text(json.dumps(verdict).replace('"NUMBER"', number))
    status, out = call("gate", RUN, "--output", "out")
    assert (status, len(out.splitlines())) == (2, 1), out


def test_a_verdict_that_contradicts_itself(recording: Path, call: Call) -> None:
    """It says that it held, and one of its findings did not."""
    verdict = json.loads((recording / "verdict.json").read_text())
    verdict["findings"][0]["outcome"] = "violated"
    edit(recording / "verdict.json", findings=verdict["findings"])
    status, out = call("gate", RUN, "--output", "out")
    assert status == 2
    assert "it says of itself that it held" in out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wall", NAN), ("wall", 1e308), ("severity", "foo"), ("started", "x"), ("started", "0001-01-01T00:00:00+0000"),
        ("matrix", 5), ("attempts", [1]), ("broken", 5), ("tags", [{}]), ("alerting", {"changes": 5}), ("control", "x"),
        ("scenario", ["a"]), ("seed", {}), ("python", [1]), ("file", {}), ("nodeid", 1),
    ],
)  # fmt: skip
def test_what_a_run_says_of_itself(recording: Path, call: Call, name: str, value: object) -> None:
    """The same of run.json; also for judging again, but for what that does not need."""
    edit(recording / "run.json", **{name: value})
    for command in (*FROM_FOLDER, *([("judge", RUN)] if name != "started" else [])):
        status, out = call(*command)
        assert (status, len(out.splitlines())) == (2, 1), out


@pytest.mark.parametrize("number", ["NaN", "1e999", "1e300", "1e9"])
@pytest.mark.parametrize("name", ["phases", "faults"])
def test_figures_of_a_history(recording: Path, call: Call, name: str, number: str) -> None:
    """Windows that last for centuries would be looked through second by second."""
    file = recording / f"{name}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["ended"] = "NUMBER"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows).replace('"NUMBER"', number))
    status, out = call("judge", RUN)
    assert (status, len(out.splitlines())) == (2, 1), out


@pytest.mark.parametrize("number", ["1e300", "-1e300"])
@pytest.mark.parametrize("key", ["at", "lag_p99"])
def test_moments_that_no_clock_shows(recording: Path, call: Call, key: str, number: str) -> None:
    """They are finite, and what is calculated from them would not be."""
    file = recording / "schedules.jsonl"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: "NUMBER"}).replace('"NUMBER"', number) + "\n")
    status, out = call("judge", RUN)
    assert (status, f"{file.name}:1: not a row of a history" in out) == (2, True)


def test_a_matrix_without_end(recording: Path, call: Call) -> None:
    """A few lines would make more scenarios than can be counted."""
    scenario = recording / "scenario.chaos.yaml"
    values = ", ".join(f"v{number}: {list(range(100))}" for number in range(9))
    scenario.write_text(scenario.read_text() + f"matrix: {{{values}}}\n")
    status, out = call("judge", RUN)
    assert (status, "more than 1000 combinations" in out) == (2, True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET started = 'x'", "UPDATE runs SET started = 9e99", "UPDATE runs SET wall = 9e999",
        "UPDATE runs SET score = 'x'", "UPDATE runs SET score = -1", "UPDATE runs SET id = x'ff00' WHERE id = '1'",
        "UPDATE runs SET folders = '5'", "UPDATE runs SET folders = '[5]'", "UPDATE runs SET folders = x'00'",
        "UPDATE runs SET gate = '<b>'", "UPDATE runs SET revision = 5.5 || x'80'",
        "UPDATE scenarios SET data = '{'", "UPDATE scenarios SET data = '[]'", "UPDATE scenarios SET data = 7",
        "UPDATE scenarios SET data = replace(data, '\"recovery\":0.0', '\"recovery\":NaN')",
        "UPDATE scenarios SET data = replace(data, '\"p99\":0.01', '\"p99\":1e999')",
        "UPDATE scenarios SET data = replace(data, '\"blocker\"', '\"none\"')",
        "UPDATE scenarios SET severity = 'none'", "UPDATE scenarios SET outcome = 5",
        "CREATE VIEW more AS SELECT 1", "DROP TABLE scenarios",
        "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END",
    ],
)  # fmt: skip
def test_rows_of_the_history(recording: Path, call: Call, statement: str) -> None:
    """SQLite keeps any type in any column: nothing crashes, and the gate does not pass on them."""
    with sqlite3.connect("reports/history.db") as raw:
        before = raw.execute("SELECT * FROM scenarios").fetchall()
        raw.execute(statement)
        unchanged = "DROP" not in statement and raw.execute("SELECT * FROM scenarios").fetchall() == before
    raw.close()
    assert not (unchanged and "UPDATE scenarios" in statement), "the statement changed nothing"
    answers = [call(*command) for command in COMMANDS]
    assert any(status == 2 and "reports/history.db" in out and len(out.splitlines()) == 1 for status, out in answers), (
        answers
    )
    assert all(status in (0, 1, 2) for status, _ in answers)


def test_the_gate_does_not_compare_with_what_is_no_figure(recording: Path, call: Call) -> None:
    """A baseline of NaN would allow anything."""
    with sqlite3.connect("reports/history.db") as raw:
        raw.execute("UPDATE scenarios SET data = replace(data, '\"recovery\":0.0', '\"recovery\":NaN') WHERE run = '0'")
    raw.close()
    status, out = call("gate", "--output", "out")
    assert status == 2
    assert "history.db is not as chaoskit writes it: Expected `float`" in out


def test_a_history_names_no_folder_elsewhere(recording: Path, call: Call, tmp_path: Path) -> None:
    """The runs are below it; a recording of somebody else is not read because it names its folder."""
    recording.parent.rename(tmp_path / "theirs")
    with sqlite3.connect("reports/history.db") as raw:
        raw.execute("UPDATE runs SET folders = ?", (json.dumps([str(tmp_path / "theirs")]),))
        raw.execute("UPDATE scenarios SET data = replace(data, 'runs/1', 'runs/../../theirs')")
    raw.close()
    status, out = call("judge", "latest")
    assert (status, "the recordings of run 1 are gone" in out) == (2, True)


@pytest.mark.parametrize("name", ["", "-journal", "-wal", "-shm"])
def test_links_beside_the_history(recording: Path, call: Call, tmp_path: Path, name: str) -> None:
    """SQLite would follow each of them, and write."""
    (tmp_path / "victim").write_bytes(b"")
    file = Path(f"reports/history.db{name}")
    file.unlink(missing_ok=True)
    file.symlink_to(tmp_path / "victim")
    status, out = call("gate", "--output", "out")
    assert (status, "is a symbolic link, which is not followed" in out) == (2, True)
    assert (tmp_path / "victim").read_bytes() == b""


def test_texts_stay_texts(recording: Path, call: Call, tmp_path: Path) -> None:
    """No tag on a page, and nothing that a terminal obeys, in whatever comes from a report folder."""
    bad = "<img src=x onerror=alert(1)>\x1b]0;title\x07\x1b[2J\ud800" + "x" * 5000
    edit(recording / "run.json", scenario=bad, description=bad, owner=bad, tags=[bad], python=bad, broken=bad)
    edit(recording / "verdict.json", reason=bad, outcome="broken")
    with sqlite3.connect("reports/history.db") as raw:
        raw.execute("UPDATE runs SET revision = ?, branch = ?, url = ?", (bad[:-5001],) * 3)
    raw.close()
    for command in COMMANDS:
        assert "\x1b" not in call(*command)[1], command
    assert "&lt;img src=x" in shown(tmp_path)
    assert "<img src=x" not in shown(tmp_path)


def _mutated(rng: random.Random, data: bytes) -> bytes:
    """The bytes of a file with something else in them."""
    kind, place = rng.randrange(5), rng.randrange(max(1, len(data)))
    if kind == 0:
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if kind == 1:
        return data[:place]
    if kind == 2:
        return data[:place] + data[place + rng.randrange(1, 40) :]
    words = [b"NaN", b"1e999", b"-1", b"null", b"[]", b"{}", b'"<b>"', b"true", b'"\\ud800"', b"1e300", b"9" * 400]
    starts = [index + 1 for index in range(len(data)) if data[index : index + 1] in b":,["]
    if kind == 3 and starts:
        start = rng.choice(starts)
        end = start
        while end < len(data) and data[end : end + 1] not in (b",", b"}", b"]", b"\n"):
            end += 1
        return data[:start] + rng.choice(words) + data[end:]
    return data[:place] + data[rng.randrange(len(data) or 1) :]


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes(recording: Path, call: Call, seed: int) -> None:
    """Whatever is changed in a recording: an exit status and a message, never a traceback, never for ever."""
    rng = random.Random(seed)
    files = sorted(file for file in recording.iterdir() if file.is_file())
    whole = {file: file.read_bytes() for file in files}
    # Rows are many and alike: a few tell as much.
    whole |= {file: b"".join(data.splitlines(True)[:40]) for file, data in whole.items() if file.suffix == ".jsonl"}
    until = time.monotonic() + 4
    commands = (("judge", RUN), *FROM_FOLDER)
    for turn in range(400):
        if time.monotonic() > until:
            break
        changed = rng.sample(files, rng.choice((1, 1, 1, 2)))
        for file in files:
            file.write_bytes(_mutated(rng, whole[file]) if file in changed else whole[file])
        command = commands[turn % len(commands)]
        status, out = call(*command)
        assert status in (0, 1, 2, 3), (command, [file.name for file in changed])
        assert status != 2 or out.strip(), command
