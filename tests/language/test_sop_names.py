"""What a scenario expects of SOPs, and what its SOPs wait for, is checked against what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language.loader import load

ENVIRONMENT = """
environment: shop
services:
  stub: {provider: http_stub, args: {routes: [{path: /}]}}
  prometheus: {provider: prometheus, args: {rules: ["../rules/*.rules.yaml"]}}
"""
RULES = "groups: [{name: a, rules: [{alert: StubDown, expr: up == 0}, {alert: StubSlow, expr: up == 2}]}]\n"
SOP = "sop: Restart the stub\non: {alert: [StubDown, OfAnother]}\nsteps:\n  - restart: {service: stub}\n"
SCENARIO = """\
scenario: SOPs are named
environment: shop
SOPS
traffic: {ask: {request: "GET {{ stub.url }}/", rate: 10/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{f: {noop: {}, at: 0s, for: 1s}}]}
expect:
  sop:
    - ENTRY
"""
BOTH = "sops: [restart-stub, {sop: x, on: {alert: StubSlow}, steps: [{notify: {to: a}}]}, {endpoint: 'POST http://a/'}]"
LEGAL = "legal: endpoint, inline-2, restart-stub"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a rule file and an SOP file."""
    (tmp_path / "pyproject.toml").touch()
    for name, file, text in (
        ("environments", "shop.yaml", ENVIRONMENT),
        ("rules", "a.rules.yaml", RULES),
        ("sops", "restart-stub.yaml", SOP),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    return tmp_path


def mistakes(folder: Path, entry: str = "{times: 1}", sops: str = BOTH) -> str:
    """The mistakes of a scenario with this entry; empty without any."""
    file = folder / "x.chaos.yaml"
    file.write_text(SCENARIO.replace("ENTRY", entry).replace("SOPS", sops))
    try:
        load(file)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["restart-stub", "inline-2", "endpoint"])
def test_names_that_runs_will_bear(folder: Path, name: str) -> None:
    """A file's, one in place, a platform's."""
    assert mistakes(folder, f"{{never: true, sop: {name}}}") == ""


def test_an_sop_that_is_not_started(folder: Path) -> None:
    """It would never run, which would always hold."""
    told = mistakes(folder, "{never: true, sop: restart-stbu}")
    assert told.endswith(
        f"x.chaos.yaml:9: sop: no SOP of the scenario is named 'restart-stbu'; {LEGAL}; did you mean 'restart-stub'?"
    )


@pytest.mark.parametrize("kind", ["restart", "notify", "call", "scale"])
def test_actions_that_there_are(folder: Path, kind: str) -> None:
    """Also those that only a platform calls back."""
    assert mistakes(folder, f"{{never: true, action_type: {kind}}}") == ""


def test_an_action_that_there_is_not(folder: Path) -> None:
    """Its line, the legal ones, and what was probably meant."""
    told = mistakes(folder, "{never: true, action_type: restrat}")
    assert "x.chaos.yaml:9: action_type: unknown action 'restrat'; legal: call, command, " in told
    assert told.endswith("did you mean 'restart'?")


@pytest.mark.parametrize("entry", ["{never: true}", "{never: true, sop: restart-stub}", "{times: 1}"])
@pytest.mark.parametrize("sops", ["", "sops: []"])
def test_without_sops_none_is_expected(folder: Path, entry: str, sops: str) -> None:
    """Neither that one runs, nor that none does."""
    told = mistakes(folder, entry, sops)
    assert "x.chaos.yaml:9: sop: the scenario starts no SOPs: say sops:" in told
    assert len(told.splitlines()) == 1


def test_one_mistake_is_told_once(folder: Path) -> None:
    """Where a name in ``sops`` is wrong, what asks for it is not told as well."""
    told = mistakes(folder, "{sop: restart-stub}", "sops: [restart-stbu]")
    assert "unknown SOP 'restart-stbu'" in told
    assert len(told.splitlines()) == 1


def test_a_shared_file_needs_one_alert_that_is_known(folder: Path) -> None:
    """It may name others, of other environments; but with none it never runs: told with the line of the SOP's file."""
    assert mistakes(folder, sops="sops: [restart-stub]") == ""
    (folder / "sops" / "restart-stub.yaml").write_text(SOP.replace("StubDown", "StubDwon"))
    told = mistakes(folder, sops="sops: [restart-stub]").splitlines()
    assert "restart-stub.yaml:2: no rule file of the environment has an alert 'StubDwon'" in told[0]
    assert told[0].endswith("legal: StubDown, StubSlow; did you mean 'StubDown'?")


def test_an_sop_in_place_names_known_alerts_only(folder: Path) -> None:
    """It is for this environment; those of applications are known when they are expected."""
    sops = "sops: [{sop: x, on: {alert: [StubDown, PoolEmpty]}, steps: [{notify: {to: a}}]}]"
    assert "x.chaos.yaml:3: no rule file of the environment has an alert 'PoolEmpty'" in mistakes(folder, sops=sops)
    expected = "{times: 1}\n  alerts: [{name: PoolEmpty, source: application}]"
    assert mistakes(folder, expected, sops) == ""


def test_where_rules_are_not_to_be_read(folder: Path) -> None:
    """Names of alerts are not judged."""
    (folder / "rules" / "a.rules.yaml").write_text("groups: [")
    assert "alert 'Nosuch'" not in mistakes(
        folder, sops="sops: [{sop: x, on: {alert: Nosuch}, steps: [{notify: {to: a}}]}]"
    )
