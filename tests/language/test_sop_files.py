"""SOPs as they stand in files: found by name, checked with their lines, within the blast radius."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from chaoskit.base.errors import InputError
from chaoskit.language.loader import load
from chaoskit.language.named_hosts import outside
from chaoskit.language.schema import scenario_schema, sop_schema

SCENARIO = """\
scenario: s
environment:
  services: {{front: {{command: python x.py}}, platform: {{command: python y.py}}}}
sops: {sops}
traffic: {{get: {{request: "GET {{{{ front.url }}}}/", rate: 10/s}}}}
steady_state: {{get: {{p90: "< 1s"}}}}
timeline:
  faults:
    - f: {{noop: {{}}, for: 1s}}
{rest}
"""

SOP = """\
sop: Restart the front
on: {alert: FrontDown, severity: high, labels: {team: front}}
service: front
priority: high
cooldown: 1m
times: 2
retry: {attempts: 4, backoff: 100ms, factor: 3, max: 1s}
escalate: {to: on-call, url: "{{ platform.url }}/page"}
steps:
  - restart: {service: front}
  - http: {request: "POST {{ platform.url }}/done", json: {incident: "{{ incident }}", of: "{{ alert.name }}"}}
"""


@pytest.fixture
def project(tmp_path):
    """Writes an SOP file and a scenario; gives the scenario's file."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "scenarios" / "sops").mkdir(parents=True)

    def write(sop=SOP, sops="[restart-front]", rest=""):
        (tmp_path / "scenarios" / "sops" / "restart-front.yaml").write_text(sop)
        file = tmp_path / "scenarios" / "some" / "s.chaos.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(SCENARIO.format(sops=sops, rest=rest))
        return file

    return write


def test_a_file_is_found_in_a_folder_above(project):
    """With everything that it says."""
    (scenario,) = load(project())
    (sop,) = scenario.sops
    assert (sop.name, sop.action_type, sop.target, sop.model.priority) == ("restart-front", "restart", "front", "high")
    assert (sop.model.on.severity, sop.model.cooldown, sop.model.times) == ("P2", 60.0, 2)
    assert [sop.model.retry.gap(attempt) for attempt in (1, 2, 3, 4)] == pytest.approx([0.1, 0.3, 0.9, 1.0])
    assert [step.kind for step in sop.steps] == ["restart", "http"]
    assert sop.escalation is not None


def test_sops_in_place_and_a_platform(project):
    """A scenario may hold them itself."""
    sops = (
        "[restart-front, {sop: x, steps: [{notify: {to: team}}]}, "
        '{endpoint: "POST {{ platform.url }}/incidents", priority: critical, allow: [restart]}]'
    )
    (scenario,) = load(project(sops=sops))
    assert [sop.name for sop in scenario.sops] == ["restart-front", "inline-2", "endpoint"]
    assert [sop.action_type for sop in scenario.sops] == ["restart", "notify", "call"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("- restart:", "- restrat:", 10, r"unknown action 'restrat'; legal: command, http, .*did you mean 'restart'"),
        ("{service: front}\n  - http", "{service: frnt}\n  - http", 10, "unknown service 'frnt'"),
        ("priority: high", "priority: hihg", 4, "did you mean 'high'"),
        ("cooldown: 1m", "cooldown: 60", 5, "is not a duration"),
        ("severity: high", "severity: hgih", 2, "no severity"),
        ("cooldown:", "cool_down:", 5, "unknown key 'cool_down'.*did you mean 'cooldown'"),
        ("{{ incident }}", "{{ incidnet }}", 11, "unknown name 'incidnet'"),
        ("{{ platform.url }}/done", "{{ platform.uri }}/done", 11, "has no 'uri'"),
        ("POST {{ platform.url }}/done", "{{ platform.url }}/done", 11, "is not a request"),
        ("{to: on-call, url", "{too: on-call, url", 8, "unknown key 'too'"),
        ("  - restart: {service: front}\n", "  - restart\n", 10, "a step is one action"),
        ("attempts: 4", "attempts: 0", 7, "greater than or equal to 1"),
        ("sop: Restart the front\n", "", 1, "'sop' is missing"),
    ],
)  # fmt: skip
def test_each_mistake_names_the_line_of_the_sop_file(project, old, new, line, says):
    """And what would be right."""
    assert SOP.count(old) == 1
    with pytest.raises(InputError) as caught:
        load(project(SOP.replace(old, new)))
    text = str(caught.value)
    assert re.search(rf"restart-front\.yaml:{line}: .*{says}", text), text


def test_mistakes_in_the_scenario_itself(project):
    """Unknown files, doubles, and a control without what is not there."""
    for sops, rest, says in (
        ("[restart-frnt]", "", "unknown SOP 'restart-frnt'; legal: restart-front; did you mean"),
        ("[restart-front, restart-front]", "", "two SOPs of this scenario are named 'restart-front'"),
        ("[17]", "", "an SOP is the name of a file, or a mapping"),
        ("[{sop: x}]", "", "'steps' is missing"),
        ("[]", "control: {without: sops, violates: [recovery]}", "has no SOPs that its control could be without"),
        ("[restart-front]", "control: {violates: [recovery]}", "nothing is off in this control"),
    ):
        with pytest.raises(InputError) as caught:
            load(project(sops=sops, rest=rest))
        assert says in str(caught.value)


def test_a_host_beyond_the_blast_radius_is_found(project):
    """Unless it was allowed."""
    file = project(SOP.replace("{{ platform.url }}/page", "https://pager.example.com/page"))
    (scenario,) = load(file)
    (found,) = outside(scenario)
    assert found.host == "pager.example.com"
    assert "the SOP restart-front leads to pager.example.com" in str(found.problem)
    assert list(outside(scenario, {"pager.example.com"})) == []


def test_the_published_schemas_take_it(project):
    """Editors check SOP files, and SOPs in scenarios."""
    import yaml

    schema = sop_schema()
    checker = jsonschema.Draft202012Validator(schema)
    document = yaml.load(SOP.replace("on:", '"on":', 1), yaml.SafeLoader)
    checker.validate(document)
    assert not checker.is_valid({**document, "steps": [{"restrat": {}}]})
    assert not checker.is_valid({**document, "cooldown": 60})
    checker.validate({"endpoint": "POST {{ platform.url }}/x"})
    inside = scenario_schema()["properties"]["sops"]["items"]
    assert len(inside["anyOf"]) == 3
    assert len(json.dumps(schema)) > 1000
