"""Report folders in which somebody planted links and numbers: nothing leaks, nothing outside changes, no traceback."""

from __future__ import annotations

import pytest
from test_runs import folder

from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.engine.run_folder import rejudge
from chaoskit.history.rows import KINDS
from chaoskit.history.store import load
from chaoskit.report import sources
from chaoskit.report.html import write_page
from chaoskit.report.runs import META, NOT_RUN, VERDICT, read, read_run
from chaoskit.trend.history_db import FILE, Database


@pytest.fixture
def secret(tmp_path):
    """A file of the user's."""
    file = tmp_path / "secret.yaml"
    file.write_text('scenario: "KEEP-THIS-OUT"\n')
    return file


def test_the_page_leaks_nothing_and_overwrites_nothing(tmp_path, secret):
    """Each file of a scenario's folder is a link to the user's file, and so is the page."""
    run = folder(tmp_path / "reports", "made-up")
    recorded = read(run)
    (run / "fault-reports").mkdir()
    names = [f"{name}.jsonl" for name in KINDS]
    for name in (*names, "scenario.chaos.yaml", "timeline.svg", "timeline.error.txt", "fault-reports/1.json"):
        (run / name).symlink_to(secret)
    page = tmp_path / "reports" / "chaoskit.html"
    page.symlink_to(secret)
    write_page([recorded], page, reports=tmp_path / "reports")
    assert secret.read_text() == 'scenario: "KEEP-THIS-OUT"\n'
    text = page.read_text()
    assert "made-up" in text
    assert "KEEP-THIS-OUT" not in text
    assert sources.data(run) is None


@pytest.mark.parametrize("name", [META, VERDICT])
def test_a_record_that_is_a_link(tmp_path, name):
    """Whatever valid record it leads to."""
    run, other = folder(tmp_path, "made-up"), folder(tmp_path, "other")
    (run / name).unlink()
    (run / name).symlink_to(other / name)
    with pytest.raises(BrokenError, match="symbolic link"):
        read(run)


def test_histories_and_judging(tmp_path, secret):
    """Neither rows nor what the loaders would read by path."""
    run = folder(tmp_path, "made-up")
    (run / "requests.jsonl").symlink_to(secret)
    with pytest.raises(BrokenError, match=r"requests\.jsonl cannot be read: a symbolic link"):
        load(run)
    (run / "requests.jsonl").unlink()
    (run / "environment.yaml").symlink_to(secret)
    with pytest.raises(BrokenError, match=r"environment\.yaml is a symbolic link"):
        rejudge(run)


def test_what_was_not_run_is_a_link(tmp_path):
    """It would add scenarios of another run."""
    (tmp_path / "other.json").write_text("[]")
    folder(tmp_path / "run", "made-up")
    (tmp_path / "run" / NOT_RUN).symlink_to(tmp_path / "other.json")
    with pytest.raises(BrokenError, match="symbolic link"):
        read_run(tmp_path / "run")


def test_the_database_is_a_link(tmp_path, secret):
    """It is told, and not written."""
    (tmp_path / FILE).symlink_to(tmp_path / "theirs.db")
    with pytest.raises(ChaosError, match="symbolic link"):
        Database(tmp_path / FILE)
    assert not (tmp_path / "theirs.db").exists()


@pytest.mark.parametrize("verdict", [
    {"findings": 5}, {"faults": 1e308}, {"operations": {"a": {"b": 1}}}, {"operations": [1]}, {"control": "x"},
])  # fmt: skip
def test_wrong_types(tmp_path, verdict):
    """One clear error, with the folder."""
    run = folder(tmp_path, "made-up", {"control": "control" in verdict}, verdict)
    with pytest.raises(BrokenError, match="made-up"):
        read(run)


@pytest.mark.parametrize("meta", [{"tags": 5}, {"attempts": 5}, {"alerting": "x"}])
def test_wrong_types_of_the_run(tmp_path, meta):
    """The same."""
    with pytest.raises(BrokenError, match="made-up"):
        read(folder(tmp_path, "made-up", meta))
