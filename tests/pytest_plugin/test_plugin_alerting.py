"""The option --chaos-alerting: the header, its ini value, and what is refused before anything is started."""

from __future__ import annotations

import pytest

SCENARIO = """
scenario: The stub answers
environment:
  services:
    stub:
      provider: http_stub
      metrics: /metrics
      args: {routes: [{path: /ok}, {path: /metrics, body: "queue 0\\n"}]}
    prometheus: {provider: prometheus, args: {rules: [team.rules.yml]}}
traffic:
  ask: {request: "GET {{ stub.url }}/ok", rate: 20/s}
steady_state:
  ask: {success_rate: ">= 90%"}
timeline:
  faults:
    - slow: {latency: {on: stub, delay: 5ms}, at: 0s, for: 1s}
"""


@pytest.fixture
def project(pytester):
    """One scenario whose rule is the argument."""

    def write(expression: str) -> None:
        pytester.makepyfile(pyproject="")
        pytester.path.joinpath("alerts.chaos.yaml").write_text(SCENARIO)
        rule = f"groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: {expression}\n"
        pytester.path.joinpath("team.rules.yml").write_text(rule)

    return write


def test_the_header_says_what_serves(project, pytester) -> None:
    """Never auto."""
    project("queue > 5")
    found = pytester.runpytest_subprocess("--chaos", "--collect-only", "--chaos-alerting=embedded")
    found.stdout.fnmatch_lines(["chaoskit: *alerting embedded;*"])
    pytester.makeini("[pytest]\nchaos_alerting = embedded\n")
    pytester.runpytest_subprocess("--chaos", "--collect-only").stdout.fnmatch_lines(["chaoskit: *alerting embedded;*"])


def test_an_unknown_way_is_refused(project, pytester) -> None:
    """With the legal ones."""
    project("queue > 5")
    found = pytester.runpytest_subprocess("--chaos", "--chaos-alerting=promtheus")
    found.stderr.fnmatch_lines(
        ["*unknown way of alerting 'promtheus'; legal: auto, embedded, prometheus; did you mean*"]
    )


def test_a_rule_beyond_the_stand_in_fails_its_scenario(project, pytester) -> None:
    """With file, line and the way out, and nothing is started."""
    project("topk(3, queue) > 5")
    found = pytester.runpytest_subprocess("--chaos", "--chaos-alerting=embedded")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*team.rules.yml:5: rule A: the aggregation topk: *--chaos-alerting=prometheus*"])
    assert not list(pytester.path.glob("reports/runs/*/environment-*"))


def test_a_rule_that_is_no_promql_fails_whatever_serves(project, pytester) -> None:
    """Known from the file alone."""
    project("rate(queue) > 5")
    found = pytester.runpytest_subprocess("--chaos", "--collect-only")
    found.stdout.fnmatch_lines(["*alerts--invalid*"])
