"""``chaoskit judge`` on recorded runs, and ``chaoskit clean``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.report.runs import read_run
from chaoskit.trend.history_db import Database, Revision

Chaoskit = Callable[..., Any]
Record = Callable[..., Path]

CONTROL = "control: {with: {stub: {env: {A: b}}}, violates: [during.ask.p95]}\n"


def test_a_run_that_held(chaoskit: Chaoskit, record: Record) -> None:
    """Verdict, every finding with its line, and exit status 0."""
    answer = chaoskit("judge", record())
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0].startswith("made-up: held: ")
    copy = "reports/runs/1/made-up/scenario.chaos.yaml"
    assert f"  + during.ask.p95: expected < 500ms, seen 10ms (100) {copy}:14" in lines
    signs = "(+ held, - violated, ? vacuous, ~ inconclusive, ! broken; in brackets: samples)"
    assert lines[-2:] == ["  recovery 0s", signs]


def test_a_run_that_was_violated(chaoskit: Chaoskit, record: Record) -> None:
    """Exit status 1."""
    answer = chaoskit("judge", record(latency=0.6))
    assert answer.status == 1
    assert answer.out.startswith("made-up: violated: during.ask.p95: expected < 500ms, seen 600ms")
    assert answer.out.splitlines()[1].startswith("  - during.ask.p95"), "what failed comes first"


def test_what_the_machine_may_have_done_has_a_status_of_its_own(chaoskit: Chaoskit, record: Record) -> None:
    """4, as the gate's; 1 beside what failed whatever the machine did."""
    folder = record(latency=0.6)
    history = History(folder)
    for index in range(12):
        history.add(
            r.Host(at=2 + index / 4, seconds=0.25, cores=2, late=0.06, own=0.4, foreign=1.5, waited=2.0, busiest=0.95)
        )
    history.close()
    answer = chaoskit("judge", folder)
    assert (answer.status, answer.out.startswith("made-up: inconclusive: ")) == (4, True), answer
    assert chaoskit("judge", folder, record("slow", latency=0.6)).status == 1


def test_lines_are_told_as_in_the_terminal(chaoskit: Chaoskit, record: Record, tmp_path: Path) -> None:
    """By the original file; by the copy where the original was changed, as its lines may have moved."""
    original = tmp_path / "mine" / "slow.chaos.yaml"
    folder = record(file=str(original), nodeid="project/mine/slow.chaos.yaml::slow")
    assert " project/mine/slow.chaos.yaml:14" in chaoskit("judge", folder).out, "run on another machine"
    original.parent.mkdir()
    text = (folder / "scenario.chaos.yaml").read_text(encoding="utf-8")
    original.write_text(text, encoding="utf-8")
    assert " mine/slow.chaos.yaml:14" in chaoskit("judge", folder).out
    original.write_text(f"# new\n{text}", encoding="utf-8")
    assert " reports/runs/1/made-up/scenario.chaos.yaml:14" in chaoskit("judge", folder).out


def test_other_bounds_need_no_other_run(chaoskit: Chaoskit, record: Record, tmp_path: Path) -> None:
    """``--scenario`` judges the same history by another file."""
    folder = record(latency=0.6)
    wider = tmp_path / "wider.chaos.yaml"
    text = (folder / "scenario.chaos.yaml").read_text(encoding="utf-8")
    wider.write_text(text.replace("< 500ms", "< 1s"), encoding="utf-8")
    answer = chaoskit("judge", folder, "--scenario", wider)
    assert answer.status == 0
    assert "wider.chaos.yaml:14" in answer.out


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("at: 0s, for: 2s", "at: 0s, for: 1s", "timeline.faults.0.slow.for"),
        ("slow: {noop: {}", "slow: {kill: {service: stub}", "timeline.faults.0.slow.noop, timeline.faults.0.slow.kill"),
        ("rate: 50/s", "rate: 90/s", "traffic.ask.rate"),
        ("recovery: 3s", "recovery: 9s", "timeline.recovery"),
        ("provider: noop", "provider: noop, env: {A: b}", "environment.services.stub.env"),
        ("traffic:", "with: {stub: {env: {A: b}}}\ntraffic:", "with.stub"),
    ],
)
def test_another_run_is_not_judged(
    chaoskit: Chaoskit, record: Record, tmp_path: Path, old: str, new: str, names: str
) -> None:
    """What was recorded tells nothing of other faults, traffic or services: what differs is named."""
    folder = record()
    text = (folder / "scenario.chaos.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / "other.chaos.yaml").write_text(text.replace(old, new), encoding="utf-8")
    answer = chaoskit("judge", folder, "--scenario", tmp_path / "other.chaos.yaml")
    assert (answer.status, answer.out) == (2, "")
    assert f": {names}: not as recorded in reports/runs/1/made-up; only bounds" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_what_was_off_in_a_control_stays(chaoskit: Chaoskit, record: Record, tmp_path: Path) -> None:
    """Of a control's run; another run has not seen it."""
    text = (record("x") / "scenario.chaos.yaml").read_text(encoding="utf-8") + CONTROL
    other = tmp_path / "other.chaos.yaml"
    other.write_text(text.replace("{A: b}", "{A: c}"), encoding="utf-8")
    answer = chaoskit("judge", record("control", latency=0.6, text=text, control=True), "--scenario", other)
    assert answer.status == 2
    assert ": control.with.stub.env.A: not as recorded" in answer.err
    assert chaoskit("judge", record("run", text=text), "--scenario", other).status == 0


def test_a_copy_finds_what_lies_beside_the_recording(chaoskit: Chaoskit, record: Record, tmp_path: Path) -> None:
    """The environment and the SOPs, wherever the copy lies."""
    text = (record("x") / "scenario.chaos.yaml").read_text(encoding="utf-8")
    inline = "environment: {services: {stub: {provider: noop}}}"
    assert inline in text
    folder = record("named", text=text.replace(inline, "environment: gone\nsops: [mend]"), scenario="Made up")
    (folder / "environment.yaml").write_text("environment: gone\nservices: {stub: {provider: noop}}\n")
    (folder / "sops").mkdir()
    (folder / "sops" / "mend.yaml").write_text("sop: Mend\nsteps: [{restart: {service: stub}}]\n")
    copy = tmp_path / "x.chaos.yaml"
    copy.write_text((folder / "scenario.chaos.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    answer = chaoskit("judge", folder, "--scenario", copy)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("named: held")


def test_help_tells_the_exit_statuses(chaoskit: Chaoskit) -> None:
    """All four."""
    answer = chaoskit("judge", "--help")
    assert "exit status: 0 all held (controls: were caught), 1 some did not, 2 nothing was judged" in answer.out
    assert "4 those that did not are inconclusive" in answer.out


def test_all_scenarios_of_a_run(chaoskit: Chaoskit, record: Record) -> None:
    """The folder of a whole run is judged scenario by scenario; one that failed fails all."""
    record("first")
    run = record("second", latency=0.6).parent
    answer = chaoskit("judge", run)
    assert answer.status == 1
    assert answer.out.startswith("first: held")
    assert "second: violated" in answer.out


def test_controls(chaoskit: Chaoskit, record: Record) -> None:
    """A control that was violated where it says was caught: 0. One that held was not: 1."""
    text = (record("x") / "scenario.chaos.yaml").read_text(encoding="utf-8") + CONTROL
    caught = chaoskit("judge", record("caught", latency=0.6, text=text, control=True))
    missed = chaoskit("judge", record("missed", text=text, control=True))
    assert (caught.status, missed.status) == (0, 1)
    assert caught.out.startswith("caught: caught: caught by during.ask.p95")
    assert missed.out.startswith("missed: not caught: not violated with the protection off: during.ask.p95")


def test_what_broke_the_run_is_not_forgotten(chaoskit: Chaoskit, record: Record) -> None:
    """A run that was broken stays broken, however its rows look."""
    answer = chaoskit("judge", record(broken="orders ended before it was ready"))
    assert answer.status == 1
    assert answer.out.startswith("made-up: broken: orders ended before it was ready")


def test_folders_that_hold_no_run(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Nothing to judge: exit status 2, and the paths are named."""
    (tmp_path / "empty").mkdir()
    answer = chaoskit("judge", "empty")
    assert (answer.status, answer.err) == (2, "no recorded scenario in empty\n")
    answer = chaoskit("judge", "nosuch")
    assert answer.status == 2
    assert answer.err.startswith("no history: reports/history.db does not exist")
    assert answer.err.endswith("and 'nosuch' is no folder\n")


def test_a_run_by_its_name(chaoskit: Chaoskit, record: Record, tmp_path: Path) -> None:
    """As for the gate and compare: latest, previous, an id or its start; what names none is told."""
    reports = tmp_path / "reports"
    for number, latency in ((1, 0.01), (2, 0.6)):
        name = f"2026010{number}-7"
        record(f"s{number}", latency=latency, started=f"2026-01-0{number}T10:00:00+0000")
        folder = (reports / "runs" / "1").rename(reports / "runs" / name)
        with Database(reports / "history.db") as database:
            database.record(name, read_run(folder), Revision())
    for word, said in (("latest", "s2: violated"), ("previous", "s1: held"), ("20260102", "s2: violated")):
        assert chaoskit("judge", word).out.startswith(said)
    assert chaoskit("judge", "previous", "--reports", reports).status == 0
    answer = chaoskit("judge", "latets")
    assert answer.status == 2
    assert "unknown run 'latets'; legal: latest, previous, a run's folder, or an id: 20260102-7" in answer.err
    assert "did you mean 'latest'?" in answer.err


def test_a_history_with_a_bad_line(chaoskit: Chaoskit, record: Record) -> None:
    """A last line that was cut is dropped; a bad line in the middle is named, and nothing is judged."""
    folder = record()
    file = folder / "events.jsonl"
    file.write_bytes(b'{"service":"a","at":1.0,"what":"started"}\n{"service":"a","at"')
    assert chaoskit("judge", folder).status == 0
    file.write_bytes(b'{"service":\n{"service":"a","at":1.0,"what":"started"}\n')
    answer = chaoskit("judge", folder)
    assert answer.status == 2
    assert f"{file}:1: not a row of a history" in answer.err


def test_a_scenario_with_mistakes(chaoskit: Chaoskit, record: Record, tmp_path: Path) -> None:
    """They are told like anywhere else, with exit status 2."""
    bad = tmp_path / "bad.chaos.yaml"
    bad.write_text("scenario: x\n", encoding="utf-8")
    answer = chaoskit("judge", record(), "--scenario", bad)
    assert answer.status == 2
    assert "bad.chaos.yaml:1: 'timeline' is missing" in answer.err


def test_a_run_whose_description_was_cut(chaoskit: Chaoskit, record: Record) -> None:
    """A run that was killed while it wrote ``run.json`` is named, not a crash."""
    folder = record()
    (folder / "run.json").write_text('{"matrix": {}, "con', encoding="utf-8")
    answer = chaoskit("judge", folder)
    assert answer.status == 2
    assert "run.json" in answer.err


def test_a_matrix_value_that_is_gone(chaoskit: Chaoskit, record: Record) -> None:
    """A recorded combination that the scenario no longer has cannot be judged."""
    answer = chaoskit("judge", record(matrix={"delay": "1s"}))
    assert answer.status == 2
    assert "no scenario with the matrix values {'delay': '1s'}" in answer.err


def test_clean_with_nothing_to_do(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Reports of runs that ended well: fine, and said so. No reports at all: it was asked in the wrong folder."""
    answer = chaoskit("clean")
    assert answer.status == 2
    assert str(tmp_path / "reports" / "runs") in answer.err
    runs = tmp_path / "elsewhere" / "runs"
    runs.mkdir(parents=True)
    answer = chaoskit("clean", "--reports", "elsewhere")
    assert (answer.status, answer.out) == (0, f"nothing was left behind by the runs in {runs}\n")


def test_clean_sweeps_what_a_killed_run_left(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """A journal of a process that is gone: its folder is removed, and said so; the second time nothing is left."""
    import subprocess
    import sys

    left = tmp_path / "reports" / "runs" / "1" / "left"
    code = (
        "import os, sys; from pathlib import Path; from chaoskit.system.journal import Journal\n"
        "journal = Journal.of_run('1', Path(sys.argv[1])); journal.make_folder(Path(sys.argv[2])); os._exit(9)"
    )
    run = tmp_path / "reports" / "runs" / "1"
    run.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", code, str(run), str(left)], check=False, timeout=30)
    assert left.is_dir()
    answer = chaoskit("clean")
    assert answer.status == 0
    assert answer.out.endswith("1 things swept\n")
    assert not left.exists()
    assert "nothing was left behind" in chaoskit("clean").out


def test_the_recorded_run_is_plain_json(record: Record) -> None:
    """What other tools read of a run."""
    meta: dict[str, Any] = json.loads((record() / "run.json").read_text(encoding="utf-8"))
    assert meta == {"matrix": {}, "control": False}
