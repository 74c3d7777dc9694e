"""``chaoskit validate``, ``plan`` and ``schema``: what files say, without running anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Chaoskit = Callable[..., Any]

SCENARIO = """\
scenario: The stub answers
environment: {services: {stub: {provider: noop}}}
traffic: {ask: {request: "GET {{ stub.url }}/", rate: 50/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{slow: {noop: {}, for: 2s}}]}
"""
MATRIX = SCENARIO.replace("for: 2s", 'for: "{{ matrix.long }}"') + "matrix: {long: [1s, 2s, 3s]}\n"


def write(folder: Path, **files: str) -> None:
    """Scenario files by name."""
    for name, text in files.items():
        (folder / f"{name}.chaos.yaml").write_text(text, encoding="utf-8")


def test_valid_files_are_counted(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """A folder is searched to its depth; a matrix counts with each combination. Exit status 0."""
    folder = tmp_path / "scenarios" / "deep"
    folder.mkdir(parents=True)
    write(folder, one=SCENARIO, many=MATRIX)
    (folder / "other.yaml").write_text("- no scenario", encoding="utf-8")
    answer = chaoskit("validate")
    assert (answer.status, answer.out) == (0, "2 files, 4 scenarios, 0 mistakes\n")


def test_all_mistakes_of_all_files_are_told(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Each with file and line, one a line; the files that are right still count. Exit status 1."""
    write(
        tmp_path,
        good=SCENARIO,
        bad=SCENARIO.replace("noop: {}", "nop: {}").replace("50/s", "50"),
        worse="scenario: [",
    )
    answer = chaoskit("validate", ".")
    assert answer.status == 1
    lines = answer.out.splitlines()
    assert lines[0].startswith("bad.chaos.yaml:3: rate: 50 is not a rate")
    assert lines[1].startswith("bad.chaos.yaml:5: unknown fault 'nop'; legal: ")
    assert lines[1].endswith("did you mean 'noop'?")
    assert lines[2].startswith("worse.chaos.yaml:1: not YAML: ")
    assert lines[3] == "3 files, 1 scenarios, 3 mistakes"


def test_single_files_are_taken_as_given(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Several paths, files and folders."""
    (tmp_path / "more").mkdir()
    write(tmp_path, one=SCENARIO, two="broken")
    write(tmp_path / "more", three=SCENARIO)
    assert chaoskit("validate", "one.chaos.yaml", "more").out == "2 files, 2 scenarios, 0 mistakes\n"


def test_paths_that_are_not_there(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """A path that is missing could not be asked (2); a folder without scenarios proves nothing (1)."""
    answer = chaoskit("validate", "nosuch")
    assert (answer.status, answer.err) == (2, "nosuch:1: no such file or folder\n")
    (tmp_path / "empty").mkdir()
    answer = chaoskit("validate", "empty")
    assert (answer.status, answer.err) == (1, "no *.chaos.yaml below empty\n")
    assert chaoskit("plan", "nosuch.chaos.yaml").status == 2


def test_a_plan_as_text(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """One for each scenario of the files."""
    write(tmp_path, many=MATRIX)
    answer = chaoskit("plan", "many.chaos.yaml")
    assert answer.status == 0
    assert answer.out.count("fault slow: noop") == 3
    assert "for 3s" in answer.out
    assert "touches" in answer.out


def test_a_plan_of_a_file_with_mistakes(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """The mistakes, on stderr, with exit status 2."""
    write(tmp_path, bad=SCENARIO.replace("50/s", "50"))
    answer = chaoskit("plan", "bad.chaos.yaml")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("bad.chaos.yaml:3: rate")


def test_schemas_are_json(chaoskit: Chaoskit) -> None:
    """One for scenarios, one for environments."""
    scenario, environment = (json.loads(chaoskit("schema", *flags).out) for flags in ([], ["--environment"]))
    assert scenario["title"] == "chaoskit scenario"
    assert environment["title"] == "chaoskit environment"
    assert "timeline" in scenario["required"]
    assert "services" in environment["else"]["required"]
    assert "compose" in environment["then"]["required"]


def test_version_help_and_unknown_commands(chaoskit: Chaoskit) -> None:
    """As any command line."""
    from chaoskit import __version__

    assert chaoskit("--version").out == f"chaoskit {__version__}\n"
    text = chaoskit("--help").out
    assert all(f"\n    {command} " in text for command in ("validate", "plan", "judge", "clean", "schema", "proxy"))
    for arguments in ((), ("nosuch",), ("validate", "--nosuch"), ("judge",)):
        assert chaoskit(*arguments).status == 2


def test_a_file_that_may_not_be_read(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """A folder with a scenario's name and a link that leads nowhere are mistakes, not crashes."""
    (tmp_path / "folder.chaos.yaml").mkdir()
    (tmp_path / "link.chaos.yaml").symlink_to("nosuch")
    answer = chaoskit("validate", ".")
    assert answer.status == 1
    assert "folder.chaos.yaml:1: cannot be read: Is a directory" in answer.out
    assert "link.chaos.yaml:1: cannot be read: No such file or directory" in answer.out


def test_plan_says_what_cannot_be_injected_here(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """The line of the fault, the reason, and whether the scenario would fail or be skipped."""
    text = SCENARIO.replace("noop: {}, for", "disconnect: {service: stub}, for")
    write(tmp_path, one=text, two=text + "requires: [docker]\n")
    answer = chaoskit("plan", "one.chaos.yaml", "two.chaos.yaml")
    assert answer.status == 1
    assert chaoskit("plan", "two.chaos.yaml").status == 0
    assert "  refused      one.chaos.yaml:5: fault slow (disconnect) is refused here: " in answer.out
    assert "requires: [docker]" in answer.out
    assert "  skipped      two.chaos.yaml:5: fault slow (disconnect) is refused here: " in answer.out


def test_a_plan_with_a_host_beyond_is_refused(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """As a run would be; what is allowed by name is none."""
    write(tmp_path, one=SCENARIO.replace("{{ stub.url }}", "http://far.example.com"))
    answer = chaoskit("plan", "one.chaos.yaml")
    assert answer.status == 1
    assert "  refused      one.chaos.yaml:3: the request of ask leads to far.example.com" in answer.out
    assert chaoskit("plan", "one.chaos.yaml", "--allow", "far.example.com").status == 0


def test_plan_says_what_is_touched_in_each_runtime(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Asked as the run would be; without touching Docker, which need not be there."""
    write(tmp_path, one=SCENARIO.replace("noop}", "noop, env: {A_URL: http://far.example.com}}"))
    answer = chaoskit("plan", "one.chaos.yaml")
    assert answer.status == 1, "as the run would be"
    assert "  containers   none" in answer.out
    assert "  refused      one.chaos.yaml:2: A_URL of stub leads to far.example.com" in answer.out
    answer = chaoskit("plan", "--runtime", "docker", "--allow", "far.example.com", "one.chaos.yaml")
    assert answer.status == 0
    assert "  runs on      containers" in answer.out
    assert "far.example.com (allowed)" in answer.out
    assert chaoskit("plan", "--allow", "http://far", "one.chaos.yaml").status == 2
    assert chaoskit("plan", "--toxiproxy", "embeded", "one.chaos.yaml").status == 2


def test_hosts_are_allowed_as_in_a_run(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """The same names in the same forms, whatever their case; what is no host is refused."""
    old = "{stub: {provider: noop}}"
    assert old in SCENARIO
    far = "{stub: {provider: noop, env: {A_URL: http://far.example.com, B_URL: 'http://192.0.2.7'}}}"
    write(tmp_path, one=SCENARIO.replace(old, far))
    answer = chaoskit("validate", "one.chaos.yaml")
    assert answer.status == 1
    assert "--chaos-allow far.example.com" in answer.out
    assert chaoskit("validate", "--allow", "FAR.Example.com.", "--allow", "::ffff:192.0.2.7", ".").status == 0
    assert chaoskit("validate", "--allow", "example.com", "--allow", "192.0.2.7", ".").status == 1
    assert chaoskit("validate", "--allow", "http://far.example.com", ".").status == 2


RULES = "groups:\n  - name: g\n    rules:\n      - {alert: A, expr: 'topk(3, x) > 1'}\n"
PROMETHEUS = "prometheus: {provider: prometheus, args: {rules: [team.rules.yml]}}"


def test_validate_tells_what_the_stand_in_does_not_understand(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Only when asked for that way of alerting, by either name of the option; a control's own rules count too."""
    text = SCENARIO.replace("{stub: {provider: noop}}", "{stub: {provider: noop}, " + PROMETHEUS + "}")
    assert PROMETHEUS in text
    write(tmp_path, one=text)
    (tmp_path / "team.rules.yml").write_text(RULES, encoding="utf-8")
    assert chaoskit("validate", ".").status == 0
    for option in ("--alerting", "--chaos-alerting"):
        answer = chaoskit("validate", f"{option}=embedded", ".")
        assert answer.status == 1
        assert answer.out.startswith("team.rules.yml:4: rule A: the aggregation topk: chaoskit's stand-in")
        assert "\n    topk(3, x) > 1\n    ^^^^\n1 files, 1 scenarios, 1 mistakes\n" in answer.out
    (tmp_path / "team.rules.yml").write_text(RULES.replace("topk(3, x)", "max(x)"), encoding="utf-8")
    (tmp_path / "other.rules.yml").write_text(RULES, encoding="utf-8")
    assert chaoskit("validate", "--alerting=embedded", ".").status == 0
    control = "control: {with: {prometheus: {args: {rules: [other.rules.yml]}}}, violates: [recovery]}\n"
    write(tmp_path, one=text + control)
    assert "other.rules.yml:4: rule A" in chaoskit("validate", "--alerting=embedded", ".").out
    answer = chaoskit("validate", "--alerting=embeded", ".")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("--alerting: unknown way of alerting 'embeded'; legal: auto, embedded, prometheus")


def test_validate_reads_the_rules_of_an_environment_in_place(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """Their mistakes too."""
    write(tmp_path, one=SCENARIO.replace("{stub: {provider: noop}}", "{stub: {provider: noop}, " + PROMETHEUS + "}"))
    answer = chaoskit("validate", ".")
    assert answer.status == 1
    assert "one.chaos.yaml:2: prometheus: team.rules.yml: there is no such rule file" in answer.out
