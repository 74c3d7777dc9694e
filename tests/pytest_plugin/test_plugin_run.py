"""One real run of pytest with every outcome a scenario can have, looked at from all sides."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

OTHER_CASE = ("case: C7", "case: C8")
NO_SERVICE = """\
environment:
  services:
    front:
      command: python -c "print('no config, token=abc123'); raise SystemExit(3)"
      protocol: http
      ready: {http: /, within: 10s}
"""


@pytest.fixture(scope="module")
def rehearsal(new_project: Callable[[str], Any]) -> Any:
    """Scenarios that are held, violated, vacuous, broken and invalid, in one run."""
    project = new_project("outcomes")
    project.write(
        a_held=project.scenario,
        b_violated=project.edit(OTHER_CASE, ('p90: "< 2s"', 'p90: "< 20ms"'), ("[latency, ", "[")),
        c_vacuous=project.edit(("latency: {on: front", "latency: {on: idle"), ("[latency, ", "[")),
        d_broken=project.edit(("environment: small\n", NO_SERVICE)),
        e_invalid=project.edit(("rate: 50/s", "rate: 50")),
    )
    return project.run("--chaos", "--chaos-seed", "11", "--junitxml=junit.xml", "-v", "scenarios")


def section(text: str, name: str) -> str:
    """What pytest says of one failing item."""
    found = re.search(
        rf"^_+ (?:ERROR at call of )?{re.escape(name)} _+$(.*?)(?=^_+ .+ _+$|^=+ )",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"no failure of {name} in:\n{text}"
    return found[1]


@pytest.fixture(scope="module")
def allure(rehearsal: Any) -> dict[str, dict[str, Any]]:
    """Allure's results by the item's name."""
    files = (rehearsal.folder / "reports" / "allure-results").glob("*-result.json")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {result["fullName"].rpartition("#")[2]: result for result in results}


def test_outcomes_and_exit_status(rehearsal: Any) -> None:
    """Held passes; violated, vacuous and invalid fail; broken is an error. The status is that of failed tests."""
    assert rehearsal.status == 1, rehearsal.out
    for name, word in [
        ("a-held", "PASSED"),
        ("b-violated", "VIOLATED"),
        ("c-vacuous", "VACUOUS"),
        ("d-broken", "BROKEN"),
        ("e-invalid--invalid", "FAILED"),
    ]:
        assert re.search(rf"::{name}.*?\b{word}\b", rehearsal.out, re.DOTALL), name
    assert re.search(r"3 failed, 1 passed, 1 error in", rehearsal.out), rehearsal.out
    assert "Traceback" not in rehearsal.out


def test_a_violation_tells_everything(rehearsal: Any) -> None:
    """The line that asked for it, expected, seen, samples, the fault's evidence, the seed, and how to judge again."""
    text = section(rehearsal.out, "b-violated")
    assert "VIOLATED: The front answers in time while it is slow" in text
    assert "scenarios/b_violated.chaos.yaml:21: VIOLATED during.get.p90" in text
    assert '| get: {p90: "< 20ms"}' in text
    assert re.search(r"expected +< 20ms", text)
    assert re.search(r"seen +\d+(\.\d+)?ms", text)
    samples = re.search(r"samples +(\d+)\b", text)
    assert samples, text
    assert 10 <= int(samples[1]) < 60, text  # 50, or those of calm time alone where others took of the machine
    assert re.search(r"fault slow \(latency on front\): .*touched [1-9]\d* connections", text)
    assert "steady state held again: after" in text
    assert "seed: 11" in text
    assert "judge it again: chaoskit judge" in text


def test_a_vacuous_run_says_what_proves_nothing(rehearsal: Any) -> None:
    """A fault on a service without traffic: named, with its line."""
    text = section(rehearsal.out, "c-vacuous")
    assert "VACUOUS: The front answers in time" in text
    assert "the rehearsal proves nothing: fault.slow" in text
    assert "scenarios/c_vacuous.chaos.yaml:17: VACUOUS fault.slow" in text
    assert "0 connections" in text


def test_a_broken_run_shows_the_services_last_lines(rehearsal: Any) -> None:
    """A service that cannot start is not a failure of the scenario; its output says why."""
    text = section(rehearsal.out, "d-broken")
    assert "BROKEN: " in text
    assert "front ended before it was ready: exit status 3" in text
    assert "no config, token=***" in text


def test_a_broken_run_says_where_its_history_is(rehearsal: Any) -> None:
    """The folder has whatever was seen before it broke."""
    told = section(rehearsal.out, "d-broken")
    (folder,) = re.findall(r"^history: (\S+/d-broken)   \(judge it again", told, re.MULTILINE)
    assert (rehearsal.folder / folder / "run.json").exists()


def test_a_vacuous_run_says_what_to_do(rehearsal: Any) -> None:
    """In one line, with the page to read."""
    assert "what to do: nothing was tested: slow touched nothing" in section(rehearsal.out, "c-vacuous")


@pytest.mark.parametrize(
    ("name", "word", "line"),
    [
        ("b_violated.chaos.yaml::b-violated", "VIOLATED", r"during\.get\.p90: expected < 20ms, seen \S+"),
        (
            "c_vacuous.chaos.yaml::c-vacuous",
            "VACUOUS",
            r"fault\.slow: expected the fault acts on connections, seen 0 .*",
        ),
        ("d_broken.chaos.yaml::d-broken", "BROKEN", r"front ended before it was ready: exit status 3"),
    ],
)
def test_pytests_own_summary_names_the_worst_finding(rehearsal: Any, name: str, word: str, line: str) -> None:
    """One line each; the same in JUnit's ``message``, whose text is whole."""
    assert re.search(rf"^{word} scenarios/{re.escape(name)} - {line}$", rehearsal.out, re.MULTILINE), rehearsal.out
    cases = ElementTree.parse(rehearsal.folder / "junit.xml").iter("testcase")
    (case,) = [case for case in cases if case.get("name") == name.rpartition(":")[2]]
    (failed,) = case
    assert re.fullmatch(line, str(failed.get("message")))
    assert str(failed.text).startswith(f"{word}: The front answers in time")


def test_an_invalid_file_does_not_stop_the_others(rehearsal: Any) -> None:
    """Its item fails with the mistake."""
    assert "scenarios/e_invalid.chaos.yaml:11: rate: 50 is not a rate" in section(rehearsal.out, "e-invalid--invalid")


def test_the_table_at_the_end(rehearsal: Any) -> None:
    """Every scenario with its verdict, evidence and worst finding; then counts, and how to run one again."""
    table = rehearsal.out[rehearsal.out.index("= chaoskit =") :]
    assert re.search(r"^a-held +held +\S+ +[1-9]\d* connections$", table, re.MULTILINE)
    assert re.search(r"^b-violated +violated .* during\.get\.p90$", table, re.MULTILINE)
    assert re.search(r"^c-vacuous +vacuous .* 0 connections +fault\.slow$", table, re.MULTILINE)
    assert re.search(r"^d-broken +broken ", table, re.MULTILINE)
    assert re.search(r"^e-invalid--invalid +invalid ", table, re.MULTILINE)
    assert "1 of 5 scenarios held, 1 invalid" in table
    assert "run one again:\n" in table
    assert "\n  pytest --chaos --chaos-seed=11 scenarios/b_violated.chaos.yaml::b-violated\n" in table
    assert re.search(r"^stability score: \d+\.?\d* of 100$", table, re.MULTILINE)
    assert "page: reports/chaoskit.html" in table
    assert "\x1b[" not in table, "colours, where there is no terminal"


def test_the_page_of_the_run(rehearsal: Any) -> None:
    """Made without being asked for: every scenario that ran, with its figure and the command to run it again."""
    page = (rehearsal.folder / "reports" / "chaoskit.html").read_text(encoding="utf-8")
    for name in ("a-held", "b-violated", "c-vacuous", "d-broken"):
        assert f'<article id="{name}"' in page
    assert page.count("<img ") == 4
    assert "pytest --chaos --chaos-seed=11 scenarios/b_violated.chaos.yaml::b-violated" in page
    assert "no config, token=***" in page
    assert "hunter2" not in page


def test_junit(rehearsal: Any) -> None:
    """Pytest's own report knows all five."""
    root = ElementTree.parse(rehearsal.folder / "junit.xml").getroot()
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases["a-held"] == []
    assert cases["b-violated"] == cases["c-vacuous"] == cases["e-invalid--invalid"] == ["failure"]
    assert "d-broken" in cases
    assert len(cases) == 5


def labels(result: dict[str, Any], name: str) -> set[str]:
    """Values of one of Allure's labels."""
    return {label["value"] for label in result["labels"] if label["name"] == name}


def test_allure_statuses_and_labels(allure: dict[str, dict[str, Any]]) -> None:
    """Failed for what the service did, broken for what chaoskit could not do; severity, owner, tags and names."""
    assert {name: result["status"] for name, result in allure.items()} == {
        "a-held": "passed",
        "b-violated": "failed",
        "c-vacuous": "failed",
        "d-broken": "broken",
        "e-invalid--invalid": "broken",
    }
    held = allure["a-held"]
    assert labels(held, "severity") == {"critical"}
    assert labels(held, "owner") == {"team"}
    assert labels(held, "tag") >= {"latency", "two_words", "C7"}
    assert labels(held, "feature") == {"small"}
    assert labels(held, "story") == {"The front answers in time while it is slow"}
    assert labels(held, "case") == {"C7"}
    assert labels(held, "suite") == {"a_held"}
    assert held["name"] == "The front answers in time while it is slow"
    assert allure["e-invalid--invalid"]["name"] == "e_invalid.chaos.yaml: mistakes in the file"
    assert len({result["historyId"] for result in allure.values()}) == len(allure)


def test_allure_steps(allure: dict[str, dict[str, Any]]) -> None:
    """Phases with their true lengths and the fault inside; expectations, each with what was expected and seen."""
    steps = {step["name"].partition(",")[0]: step for step in allure["b-violated"]["steps"]}
    steady = steps["phase steady"]
    assert (steady["stop"] - steady["start"]) / 1000 == pytest.approx(1, abs=0.1)
    (fault,) = steps["phase faults"]["steps"]
    assert re.match(
        r"fault slow: latency on front, \+0\.0 s to \+[12]\.\d s, touched [1-9]\d* connections$", fault["name"]
    )
    assert 1 <= (fault["stop"] - fault["start"]) / 1000 < 3
    during = steps["expect during: 0 of 1 held"]
    assert during["status"] == "failed"
    (finding,) = during["steps"]
    assert finding["status"] == "failed"
    assert re.match(r"violated during\.get\.p90: \S+ \(expected < 20ms\)$", finding["name"])
    details = {parameter["name"]: parameter["value"] for parameter in finding["parameters"]}
    assert details["expected"] == "< 20ms"
    assert details["line"] == "b_violated.chaos.yaml:21"
    assert int(details["samples"]) > 20
    held = steps["expect steady_state: 2 of 2 held"]
    assert [step["status"] for step in held["steps"]] == ["passed", "passed"]
    evidence = allure["c-vacuous"]["steps"][-1]
    assert (evidence["name"], evidence["status"]) == ("evidence of the faults: 0 of 1 held", "failed")


def test_allure_titles(allure: dict[str, dict[str, Any]]) -> None:
    """Allure has one colour for violated and vacuous; the list says which it was."""
    title = "The front answers in time while it is slow"
    told = {name: allure[name]["name"] for name in ("a-held", "b-violated", "c-vacuous", "d-broken")}
    assert told == {
        "a-held": title,
        "b-violated": f"violated: {title}",
        "c-vacuous": f"vacuous: {title}",
        "d-broken": f"broken: {title}",
    }


def test_allure_messages(allure: dict[str, dict[str, Any]]) -> None:
    """What is read first: the verdict, the finding with its numbers, and the fault with its times."""
    first = {name: result["statusDetails"]["message"] for name, result in allure.items() if "statusDetails" in result}
    violated = first["b-violated"].splitlines()
    seen = r"VIOLATED: during\.get\.p90: expected < 20ms, seen \S+ in \d+ samples; worst second: .* at \+"
    assert re.match(seen, violated[0])
    assert violated[1].startswith("fault slow: latency on front, +0.0 s to +")
    # Beside load it may be so at another attempt than the first.
    assert re.match(
        r"VACUOUS: (vacuous at the \w+ attempt: )?the rehearsal proves nothing: fault\.slow", first["c-vacuous"]
    )
    assert first["d-broken"].startswith("BROKEN: front ended before it was ready")
    assert "no config, token=***" in first["d-broken"]
    assert first["e-invalid--invalid"].startswith("INVALID: e_invalid.chaos.yaml\n")
    assert "a-held" not in first


def test_allure_attachments(rehearsal: Any, allure: dict[str, dict[str, Any]]) -> None:
    """Pictures, the command, the findings, the scenario, the verdict, logs and history; no secret among them."""
    folder = rehearsal.folder / "reports" / "allure-results"
    found = {one["name"]: folder / one["source"] for one in allure["a-held"]["attachments"]}
    pictures = [file.read_bytes() for name, file in found.items() if file.suffix in (".svg", ".png")]
    assert [picture[:5] for picture in pictures] == [b"<?xml", b"\x89PNG\r"]
    attached = {name: file.read_text("utf-8") for name, file in found.items() if file.suffix != ".png"}
    assert {"a_held.chaos.yaml", "environment.yaml", "history: requests"} <= set(attached)
    assert "pytest --chaos --chaos-seed=11 scenarios/a_held.chaos.yaml::a-held" in attached["run it again"]
    assert attached["findings"].splitlines()[0] == "finding,outcome,expected,seen,samples,worst,line"
    assert "during.get.p90,held,< 2s" in attached["findings"]
    assert json.loads(attached["verdict.json"])["outcome"] == "held"
    everything = "".join(file.read_text("utf-8", "replace") for file in folder.iterdir())
    assert "hunter2" not in everything
    assert "abc123" not in everything


def test_allure_files_of_the_run(rehearsal: Any) -> None:
    """Categories and environment lie beside the results; on a person's machine there is no CI build."""
    folder = rehearsal.folder / "reports" / "allure-results"
    assert "Violated: " in json.loads((folder / "categories.json").read_text(encoding="utf-8"))[0]["name"]
    lines = (folder / "environment.properties").read_text(encoding="ascii").splitlines()
    assert {"seed=11", "runtime=process", "environments=inline, small"} <= set(lines), lines


def test_the_runs_folder(rehearsal: Any) -> None:
    """One folder for each scenario, with its history, that can be judged again: to the same verdict."""
    from chaoskit.engine.run_folder import rejudge

    (run,) = (rehearsal.folder / "reports" / "runs").iterdir()
    recorded = {folder.name: folder for folder in run.iterdir() if (folder / "run.json").exists()}
    assert sorted(recorded) == ["a-held", "b-violated", "c-vacuous", "d-broken"]
    for folder in recorded.values():
        _, verdict, _ = rejudge(folder)
        again = json.loads(json.dumps(verdict.as_dict(), default=str))
        assert again == json.loads((folder / "verdict.json").read_text(encoding="utf-8"))


def test_nothing_is_left_behind(rehearsal: Any) -> None:
    """No process of the run lives on, and its journal is closed."""
    from pathlib import Path

    def working_in(folder: Path) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").resolve().is_relative_to(folder):
                    found.append((process / "cmdline").read_text())
            except OSError:
                continue
        return found

    assert working_in(rehearsal.folder) == []
    assert list((rehearsal.folder / "reports").rglob("*.journal")) == []
