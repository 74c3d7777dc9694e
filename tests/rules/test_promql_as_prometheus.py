"""The stand-in's PromQL gives what Prometheus gives: each expression over the same series, judged by promtool."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chaoskit.rules.promql.evaluate import Query
from chaoskit.rules.promql.series import NAME, Sample, Store
from chaoskit.rules.supported_promql import lacking, parsed
from chaoskit.rules.template import expand, go_number

STEP = 15_000
"""Milliseconds between two samples of the series."""
MOMENTS = [0, 15_000, 40_000, 60_000, 97_000, 150_000, 215_000, 300_000, 480_000, 700_000]

# A value for each step; _ is a gap, `stale` what Prometheus writes when a target is gone.
SERIES = {
    'requests_total{service="orders", status="200"}': "0 1 3 6 10 15 21 28 36 45 55 66 78 91 105 120",
    'requests_total{service="orders", status="500"}': "0 0 0 5 9 9 9 2 3 3 3 3 20 21 _ 40",
    'requests_total{service="payments", status="200"}': "7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7",
    'requests_total{service="payments", status="503"}': "_ _ _ 4 8 _ _ _ 12 1 stale stale",
    'up{job="orders", instance="a"}': "1 1 1 0 0 1 1 1 0 0 0 0 1 1 1 1",
    'up{job="payments", instance="b"}': "1 1 1 1 1 stale",
    'pool_in_use{service="orders"}': "1 5 -3 8.5 8.5 0 NaN 4 4 1e7 0.00001 3 3 3 2 1",
    'pool_size{service="orders"}': "10 10 10 10 10 10 10 10 10 10 0 0 0 0 10 10",
    'pool_size{service="worker"}': "4 4 4 4 4 4 4 4 4 4 4 4 4 4 4 4",
    "late_total": "_ _ _ _ _ _ _ _ 100 101 150 150 151 0 5 6",
}

EXPRESSIONS = [
    "up == 0",
    'up{job="orders"}',
    'up{job=~"or.*"} < 1',
    'up{job!~"or.*", missing=""}',
    "pool_in_use > 4",
    "4 < pool_in_use",
    "pool_in_use >= bool 4",
    "pool_in_use != 4",
    "pool_in_use / pool_size",
    "pool_in_use / pool_size > 0.5",
    "pool_in_use % 3",
    "pool_in_use ^ 2 - 1",
    "pool_in_use ^ 0.5",
    "-pool_in_use",
    "2 * (pool_size - pool_in_use)",
    "1 / pool_in_use",
    "increase(requests_total[1m])",
    "increase(requests_total[40s])",
    "rate(requests_total[1m])",
    "rate(requests_total[2m]) * 60",
    'rate(requests_total{service="orders"}[5m])',
    "increase(late_total[2m])",
    "increase(late_total[5m])",
    "sum(rate(requests_total[1m]))",
    "sum by (service) (increase(requests_total[90s])) > 10",
    'sum by (service) (rate(requests_total{status=~"5.."}[1m])) / sum by (service) (rate(requests_total[1m])) > 0.05',
    "sum without (status) (requests_total)",
    "max by (service, missing) (requests_total)",
    "min(requests_total)",
    "avg without (service) (requests_total)",
    "count by (status) (requests_total > 8)",
    "max(pool_in_use)",
    "sum by () (up)",
    "absent(up)",
    'absent(up{job="payments"})',
    'absent(up{job="nowhere", instance=~"x.*"})',
    'absent(nothing_of_that_name{a="1", a="2", b="3"})',
    "absent(sum(nothing_of_that_name))",
    'up{job="orders"} == 1 and on () pool_in_use > 4',
    "up or pool_size",
    "pool_size unless pool_in_use",
    "pool_size and ignoring (service) vector(1)",
    'pool_size unless on (service) requests_total{service="orders"}',
    "pool_size > on (service) pool_in_use",
    "pool_size == ignoring (job) pool_size",
    "vector(1)",
    "vector(2) > 1",
    "changes(up[2m])",
    "changes(pool_in_use[5m])",
    "avg_over_time(pool_in_use[75s])",
    "max_over_time(pool_in_use[2m])",
    "min_over_time(pool_in_use[2m])",
    "sum_over_time(requests_total[1m])",
    "count_over_time(requests_total[1m])",
    "(((up)))",
]

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (apt install prometheus) is missing")


def store_of(series: dict[str, str]) -> Store:
    """The same series in the stand-in's memory."""
    store = Store(keep=3_600_000)
    for selector, values in series.items():
        tree = parsed(selector)
        labels = {NAME: tree.name, **{matcher.name: matcher.value for matcher in tree.matchers.matchers}}
        for number, word in enumerate(values.split()):
            if word != "_":
                store.append(number * STEP, [(labels, None if word == "stale" else float(word))])
    return store


def selector_of(labels: dict[str, str]) -> str:
    """Labels as promtool wants them."""
    pairs = [f'{name}="{value}"' for name, value in sorted(labels.items()) if name != NAME]
    return labels.get(NAME, "") + "{" + ", ".join(pairs) + "}"


def promtool_says(tmp_path: Path, series: dict[str, str], cases: list[tuple[str, int, list[Sample]]]) -> str:
    """Empty when Prometheus evaluates all to what is given, else its complaints."""
    checks = [
        {
            "expr": expression,
            "eval_time": f"{moment}ms",
            "exp_samples": [{"labels": selector_of(dict(labels)), "value": value} for labels, value in samples],
        }
        for expression, moment, samples in cases
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = [{"interval": f"{STEP}ms", "input_series": given, "promql_expr_test": checks}]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "15s", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@promtool
def test_as_prometheus(tmp_path: Path) -> None:
    """Same elements, same labels, same values at every moment."""
    store, cases = store_of(SERIES), []
    for expression in EXPRESSIONS:
        assert lacking(parsed(expression)) == ""
        query = Query(parsed(expression))
        cases += [case for moment in MOMENTS for case in comparable(expression, moment, query.vector(store, moment))]
    assert sum(len(samples) for _, _, samples in cases) > 500
    assert promtool_says(tmp_path, SERIES, cases) == ""


def comparable(expression: str, moment: int, found: list[Sample]) -> list[tuple[str, int, list[Sample]]]:
    """To promtool no NaN is as expected: such elements are counted, and the others compared."""
    unequal = [sample for sample in found if math.isnan(sample.value)]
    if not unequal:
        return [(expression, moment, found)]
    numbers = [sample for sample in found if not math.isnan(sample.value)]
    return [
        (f"({expression}) == ({expression})", moment, numbers),
        (f"count(({expression}) != ({expression}))", moment, [Sample({}, len(unequal))]),
    ]


@promtool
def test_rate_over_random_counters(tmp_path: Path) -> None:
    """Resets, gaps and starts wherever they fall: extrapolation is the same."""
    dice = random.Random(20261121)
    series = {}
    for number in range(12):
        value, words = 0.0, []
        for _ in range(24):
            value = 0.0 if dice.random() < 0.12 else value + dice.choice([0, 0, 1, 3, 50.5])
            words.append("_" if dice.random() < 0.2 else f"{value:g}")
        series[f'hits_total{{n="{number}"}}'] = " ".join(words)
    store = store_of(series)
    cases = []
    for length in (20, 31, 45, 60, 100, 300):
        for name in ("rate", "increase"):
            query = Query(parsed(f"{name}(hits_total[{length}s])"))
            moments = [dice.randrange(400_000) for _ in range(6)]
            cases += [(f"{name}(hits_total[{length}s])", moment, query.vector(store, moment)) for moment in moments]
    assert sum(len(samples) for _, _, samples in cases) > 300
    assert promtool_says(tmp_path, series, cases) == ""


@promtool
def test_the_judge_can_tell_a_difference(tmp_path: Path) -> None:
    """A value that is a little off is found out."""
    query = Query(parsed("rate(requests_total[1m])"))
    samples = [Sample(labels, value * 1.001) for labels, value in query.vector(store_of(SERIES), 60_000)]
    assert "got" in promtool_says(tmp_path, SERIES, [("rate(requests_total[1m])", 60_000, samples)])


@promtool
def test_templates_print_numbers_as_go_does(tmp_path: Path) -> None:
    """What stands in an annotation is the same text."""
    values = [0, 1, -1, 37.695, 1e6, 123456.0, 1234567.5, 0.0001, 0.00001234, 1e21, 5e-324, 1 / 3, math.inf, math.nan]
    text = "{{ $labels.n }}: {{ $value }}{{ $labels.missing }}"
    rule = {"alert": "A", "expr": "x", "annotations": {"summary": text}}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    words = ["NaN" if math.isnan(value) else "Inf" if math.isinf(value) else repr(float(value)) for value in values]
    given = [{"series": f'x{{n="{number}"}}', "values": f"{word} {word}"} for number, word in enumerate(words)]
    expected = [
        {"exp_labels": {"n": str(number)}, "exp_annotations": {"summary": expand(text, {"n": str(number)}, value)}}
        for number, value in enumerate(values)
    ]
    check = {"eval_time": "15s", "alertname": "A", "exp_alerts": expected}
    test = {"interval": "15s", "input_series": given, "alert_rule_test": [check]}
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert go_number(-math.inf) == "-Inf"
