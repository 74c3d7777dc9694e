"""How the gate says what it decided: text, Markdown, JSON by its schema, JUnit, the summary of a job."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import jsonschema
import pytest
from recordings import made

from chaoskit.base.errors import ChaosError
from chaoskit.trend.gate import Settings, decide, markdown, schema, text, write
from chaoskit.trend.gate.past import Earlier, Past

SETTINGS = Settings()
HOSTILE = "x | y <script>alert(1)</script> [a](http://b) `c` \x1b[31m\n## heading"


@pytest.fixture
def blocked():
    """A decision with everything in it."""
    run = [
        made("bad", "violated", severity="critical", reason=HOSTILE, reproduce="pytest --chaos 'a::bad'"),
        made("small", "vacuous", severity="minor"),
        made("not-here", "skipped", reason="this kernel has no netem"),
        made("slow", recovery=9.0),
        made("new"),
    ]
    past = Past(
        what="earlier",
        baseline=[Earlier("0", [made("slow", recovery=0.1), made("bad", severity="critical")])],
        recent=[("", {made("bad").key: outcome}) for outcome in ("held", "violated", "held")],
    )
    return decide("run-7", run, SETTINGS, past)


def test_json_satisfies_the_published_schema(blocked):
    """All kinds of answers; and the schema refuses something else."""
    jsonschema.Draft202012Validator.check_schema(schema())
    off = Settings(recovery="off", p99="off", score_drop="off", baseline="off")
    for decision in (blocked, decide("1", [], SETTINGS), decide("1", [made()], off)):
        jsonschema.validate(json.loads(decision.model_dump_json()), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(blocked.model_dump_json()), "decision": "perhaps"}, schema())


def test_text(blocked):
    """What blocks first; what does not block, is unstable, or was skipped is named; control characters are gone."""
    told = list(text(blocked))
    assert told[0].startswith("gate: BLOCKED   score 44.4 (baseline 100, the same scenarios now 33.3)   2 held, 1 skip")
    assert told[1].startswith("  blocks: bad (critical) is violated: x | y <script>")
    assert "  does not block: small (minor) is vacuous: because" in told
    assert "  unstable: bad: held, violated, held, violated" in told
    assert "  skipped, does not count: not-here: this kernel has no netem" in told
    assert "  note: not in the baseline, so not compared: new" in told
    assert not any("\x1b" in line or "\n" in line for line in told)


def test_markdown(blocked):
    """A table whose cells no text of a service can leave, and the command that runs a scenario again."""
    told = "\n".join(markdown(blocked))
    assert told.startswith("## ⛔ Resilience gate: blocked\n\n**Score 44.4** of 100")
    assert "<script>" not in told
    assert "\n## heading" not in told
    (row,) = [line for line in told.splitlines() if line.startswith("| bad ")]
    assert row.startswith("| bad | critical | violated | x \\| y &lt;script&gt;")
    assert row.endswith("| yes |")
    assert "    pytest --chaos 'a::bad'" in told
    for words in ("### What blocks", "### Unstable", "### Skipped, does not count", "- not-here: "):
        assert words in told


LONG = "orders was not ready within 20 s\n  Its last lines:\n  Traceback\n    File x\n  KeyError: '<DB>'\n  bye"


def test_a_reason_of_many_lines(tmp_path):
    """What happened, and why, each on a line of its own: as text, in Markdown, and whole in JUnit."""
    decision = decide(
        "1", [made("a", "broken", reason=LONG), made("b", "broken", severity="minor", reason=LONG)], SETTINGS
    )
    told = list(text(decision))
    assert told[1:3] == [
        "  blocks: a (normal) is broken: orders was not ready within 20 s",
        "      … KeyError: '<DB>'",
    ]
    at = told.index("  does not block: b (minor) is broken: orders was not ready within 20 s")
    assert told[at + 1] == "      … KeyError: '<DB>'"
    written = "\n".join(markdown(decision))
    why = "orders was not ready within 20 s<br>… KeyError: '&lt;DB&gt;'"
    assert f"- a (normal) is broken: {why}\n" in written
    assert f"| a | normal | broken | {why} | yes |" in written
    failure = ElementTree.parse(write(decision, tmp_path, {})[2]).getroot().find(".//failure")
    assert failure.get("message") == "a (normal) is broken: orders was not ready within 20 s … KeyError: '<DB>'"
    assert failure.text == f"a (normal) is broken: {LONG}"


def test_the_runs_of_a_baseline_are_not_told_without_end():
    """Ten of them; all are in the JSON."""
    past = Past(what="many", baseline=[Earlier(f"r{n}", [made()]) for n in range(30)])
    decision = decide("1", [made()], SETTINGS, past)
    told = list(markdown(decision))
    (at,) = [index for index, line in enumerate(told) if "Baseline" in line]
    line = told[at]
    assert told[at - 1].endswith("; run `1`  "), "two blanks: a new line in Markdown"
    assert line == ("Baseline: many, score 100 (" + ", ".join(f"`r{n}`" for n in range(10)) + " and 20 more)")
    assert len(decision.baseline.runs) == 30


def test_what_is_written(blocked, tmp_path):
    """Markdown, JSON and JUnit; the summary of a GitHub job is appended to, twice if asked twice."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    for _ in range(2):
        files = write(blocked, tmp_path / "out", {"GITHUB_STEP_SUMMARY": str(summary)})
    assert [file.name for file in files] == ["gate.md", "gate.json", "gate.xml"]
    assert summary.read_text().startswith("before\n## ⛔ Resilience gate: blocked")
    assert summary.read_text().count("Resilience gate") == 2
    assert json.loads(files[1].read_text())["decision"] == "blocked"
    suite = ElementTree.parse(files[2]).getroot()[0]
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {
        "every scenario file could be read": [],
        "no scenario of a blocking severity failed": ["failure"],
        "the machine left no scenario of a blocking severity inconclusive": [],
        "the score is high enough": ["failure"],
        "the score did not fall": ["failure"],
        "no recovery became slower": ["failure"],
        "no p99 under faults became slower": [],
    }
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "4", "0")


def test_junit_says_what_was_not_judged(tmp_path):
    """Without a baseline its checks are skipped; with nothing run, all are."""
    for decision, skipped in ((decide("1", [made()], SETTINGS), "3"), (decide("1", [], SETTINGS), "7")):
        files = write(decision, tmp_path, {})
        assert ElementTree.parse(files[2]).getroot()[0].get("skipped") == skipped


def test_an_invalid_file(tmp_path):
    """In every form: text, Markdown, JSON by its schema, and a failed check of its own in JUnit."""
    decision = decide(
        "1", [made(), made("bad", "invalid", severity="unknown", reason="x.chaos.yaml:3: typo")], SETTINGS
    )
    assert "  blocks: bad is invalid: x.chaos.yaml:3: typo" in text(decision)
    assert "| bad | unknown | invalid | x.chaos.yaml:3: typo | yes |" in markdown(decision)
    files = write(decision, tmp_path, {})
    jsonschema.validate(json.loads(files[1].read_text()), schema())
    failed = [
        case.get("name") for case in ElementTree.parse(files[2]).iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["every scenario file could be read", "the score is high enough"]


def test_a_report_that_cannot_be_written(blocked, tmp_path):
    """It is told in one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ChaosError, match="the gate's report cannot be written"):
        write(blocked, tmp_path / "file", {})
    with pytest.raises(ChaosError, match="the gate's report cannot be written"):
        write(blocked, tmp_path, {"GITHUB_STEP_SUMMARY": str(tmp_path / "nosuch" / "summary.md")})
