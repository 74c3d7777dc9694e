"""Rule files and routing: mistakes with their lines, copies for a rehearsal, what the stand-ins refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chaoskit.base.errors import InputError
from chaoskit.rules import durations, files, matchers, routing, speed_up, supported_promql

SHOP = Path(__file__).parents[2] / "examples/shop/alerts"


def written(folder: Path, text: str, name: str = "team.rules.yml") -> Path:
    """A file."""
    file = folder / name
    file.write_text(text)
    return file


def group(*rules: str) -> str:
    """A rule file with one group."""
    return "groups:\n  - name: g\n    rules:\n" + "".join(f"      - {rule}\n" for rule in rules)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("200ms", 200),
        ("0", 0),
        ("0s", 0),
        ("7d", 604_800_000),
        ("1m500ms", 60_500),
    ],
)
def test_durations_are_read_and_written(text: str, milliseconds: int) -> None:
    """As Prometheus writes them, and what is written is read as the same."""
    assert durations.parse(text) == milliseconds
    assert durations.parse(durations.write(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "m5", "1m2h", "1.5s", "-1m", None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    """With examples of what is."""
    with pytest.raises(ValueError, match="200ms, 30s, 5m"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (group("{alert: A, exp: up}"), 4, "unknown key 'exp'.*did you mean 'expr'"),
        (group("{alert: A, expr: up, for: 5 minutes}"), 4, "'5 minutes' is no duration of Prometheus"),
        (group("{alert: A, record: b, expr: up}"), 4, "either an alert or a record"),
        (group("{expr: up}"), 4, "either an alert or a record"),
        (group("{alert: A, expr: 'sum(rate(x[5m])'}"), 4, "rule A: not PromQL: unclosed left parenthesis"),
        (group("{alert: A, expr: 'rate(x)'}"), 4, "rule A: not PromQL: expected type matrix"),
        ("groups: {name: g}\n", 1, "a list is expected"),
        ("group: []\n", 1, "unknown key 'group'.*did you mean 'groups'"),
    ],
)
def test_mistakes_of_rule_files_have_their_lines(tmp_path, text: str, line: int, what: str) -> None:
    """One clear error each."""
    with pytest.raises(InputError, match=rf"team.rules.yml:{line}: .*{what}"):
        files.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("rule", "line", "shown"),
    [
        ("{alert: A, expr: 'sum(rate(x[5m])'}", 4, ["sum(rate(x[5m])", "   ^"]),
        (
            "{alert: A, expr: 'abs(x{a=\"(abs(\"}) + rat(y[1m]) > 1'}",
            4,
            ['abs(x{a="(abs("}) + rat(y[1m]) > 1', " " * 20 + "^^^"],
        ),
        ("{alert: A, expr: 'foo bar'}", 4, ["foo bar"]),
        (
            "alert: A\n        expr: |\n          sum(\n            rat(x[5m])\n          ) > 1",
            7,
            ["rat(x[5m])", "^^^"],
        ),
        ("alert: A\n        expr: >-\n          sum(\n            x > 1", 5, ["sum(", "   ^"]),
    ],
)
def test_what_is_no_promql_is_shown(tmp_path, rule: str, line: int, shown: list[str]) -> None:
    """The expression, and a mark where the place is known; in a block with the line of the place."""
    with pytest.raises(InputError) as caught:
        files.load(written(tmp_path, group(rule)))
    (problem,) = caught.value.problems
    first, *rest = problem.what.splitlines()
    assert (problem.line, rest) == (line, [f"    {each}" for each in shown])
    assert first.startswith("rule A: not PromQL: ")


def test_every_mistake_of_a_rule_file_is_told(tmp_path) -> None:
    """Those of PromQL too where another rule has a wrong key."""
    file = written(tmp_path, group("{alert: A, exp: up}", "{alert: B, expr: 'rate(x)'}", "{alert: C, expr: [1]}", "no"))
    with pytest.raises(InputError) as caught:
        files.load(file)
    assert [problem.line for problem in caught.value.problems] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("expression", "marked"),
    [
        ("topk(3, x) > 1", "topk"),
        ('x{a="offset"} offset 5m > 1', "offset"),
        ("x @ 5 > 1", "@"),
        ("x * on (a) group_left (b) y", "group_left"),
        ("max_over_time(rate(x[1m])[5m:1s]) > 1", "[5m:1s]"),
        ("x atan2 y", "atan2"),
        ("abs(x) > abs(y)", ""),
        ('x{a="1" or b="2"} > 1', ""),
    ],
)
def test_what_the_stand_in_does_not_understand_is_shown(tmp_path, expression: str, marked: str) -> None:
    """The expression, marked where it is beyond; not marked where the same word stands twice."""
    text = "alert: A\n        expr: " + repr(expression).replace("\\'", "''")
    (problem,) = supported_promql.beyond(files.load(written(tmp_path, group(text))))
    _, shown, *marks = problem.what.splitlines()
    assert shown == f"    {expression}"
    assert [expression[mark.index("^") - 4 : len(mark) - 4] for mark in marks] == ([marked] if marked else [])


@pytest.mark.parametrize(
    ("expression", "hastened"),
    [
        ("up == 0", "up == 0"),
        ("rate(x[5m]) > 5", "rate(x[10s]) > 5"),
        ("increase(x[1m30s] offset 1h)", "increase(x[3s] offset 2m)"),
        ("max_over_time(rate(x[1m])[10m:30s])", "max_over_time(rate(x[2s])[20s:1s])"),
        ("max_over_time(rate(x[1m])[10m:])", "max_over_time(rate(x[2s])[20s:])"),
        ('x{path="/a[5m]"} > 1  # [5m] offset 5m', 'x{path="/a[5m]"} > 1  # [5m] offset 5m'),
        ("""x{a='[1h]', b=`[1h]`, c="\\"[1h]"}[1h]""", """x{a='[1h]', b=`[1h]`, c="\\"[1h]"}[2m]"""),
        ("x offset -30m", "x offset -1m"),
    ],
)
def test_ranges_are_divided(expression: str, hastened: str) -> None:
    """Ranges, steps and offsets; not what looks like one in a text or comment."""
    assert speed_up.hastened(expression, 30) == hastened
    assert speed_up.hastened(expression, 1) == expression


def test_the_copy_differs_only_where_it_says(tmp_path) -> None:
    """The team's file is untouched; without speed-up only intervals are."""
    text = "groups:\n  - name: g\n    interval: 1m\n    rules:\n      - {alert: A, expr: 'rate(x[5m]) > 1', for: 2m}\n"
    file = written(tmp_path, text)
    slow, fast = (speed_up.copied(files.load(file), factor, 0.2) for factor in (1, 10))
    rule = {"alert": "A", "expr": "rate(x[5m]) > 1", "for": "2m"}
    assert yaml.safe_load(slow.text) == {"groups": [{"name": "g", "rules": [rule]}]}
    assert [change.rpartition("team.rules.yml")[2] for change in slow.changes] == [":3: interval of group g 1m → 200ms"]
    assert yaml.safe_load(fast.text)["groups"][0]["rules"] == [{**rule, "expr": "rate(x[30s]) > 1", "for": "12s"}]
    assert len(fast.changes) == 3
    assert file.read_text() == text


def test_a_range_of_too_few_scrapes_is_refused(tmp_path) -> None:
    """It would see nothing."""
    file = files.load(
        written(tmp_path, group("{alert: A, expr: 'rate(x[1m]) > 1'}", "{alert: B, expr: 'rate(x[5m]) > 1'}"))
    )
    (problem,) = speed_up.too_hasty(file, 100, 0.2)
    assert "rule A" in str(problem)
    assert "[1m] 600ms; at least 800ms" in str(problem)
    assert speed_up.too_hasty(file, 75, 0.2) == []


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("{alert: A, expr: 'topk(3, x) > 1'}", "the aggregation topk"),
        ("{alert: A, expr: 'histogram_quantile(0.9, x) > 1'}", "the function histogram_quantile"),
        ("{alert: A, expr: 'x offset 5m > 1'}", "the modifier offset"),
        ("{alert: A, expr: 'x @ 5 > 1'}", "the modifier @"),
        ("{alert: A, expr: 'max_over_time(rate(x[1m])[5m:1s]) > 1'}", "a subquery"),
        ("{alert: A, expr: 'x * on (a) group_left (b) y'}", "group_left"),
        ("{alert: A, expr: 'x / on (a) group_right y > 1'}", "group_right"),
        ("{alert: A, expr: 'x atan2 y'}", "the operator atan2"),
        ('{alert: A, expr: \'x{a="1" or b="2"} > 1\'}', "a selector with 'or'"),
        ("{record: a, expr: x}", "a recording rule"),
        ("{alert: A, expr: x, annotations: {summary: '{{ $value | humanize }}'}}", "the template function humanize"),
        ("{alert: A, expr: x, labels: {s: '{{ if $value }}a{{ end }}'}}", "the template {{ if"),
    ],
)
def test_what_the_stand_in_does_not_understand_is_refused(tmp_path, rule: str, what: str) -> None:
    """With file, line, the reason, and Prometheus named."""
    (problem, *_) = supported_promql.beyond(files.load(written(tmp_path, group(rule))))
    assert problem.line == 4
    assert what in problem.what
    assert "--chaos-alerting=prometheus" in problem.what


def test_the_shop_keeps_to_the_documented_part() -> None:
    """Its alerts can be rehearsed without Prometheus."""
    for file in sorted(SHOP.glob("*.rules.yaml")):
        assert supported_promql.beyond(files.load(file)) == []
    assert supported_promql.beyond_routing(routing.load(SHOP / "alertmanager.yml")) == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("route: {receiver: chat}\nreceivers: [{name: chats}]\n", 1, "unknown receiver 'chat'.*did you mean 'chats'"),
        ("route: {receiver: a, group_wiat: 1s}\nreceivers: [{name: a}]\n", 1, "unknown key 'group_wiat'"),
        ("route: {receiver: a, group_wait: soon}\nreceivers: [{name: a}]\n", 1, "group_wait: 'soon' is no duration"),
        ("route: {group_by: [a]}\nreceivers: [{name: a}]\n", 1, "must name a receiver"),
        ("receivers: [{name: a}]\nroute:\n  receiver: a\n  matchers: [severity]\n", 4, "'severity' is no matcher"),
        ("receivers: [{name: a}]\n", 1, "has a route and receivers"),
        ("route: {receiver: a}\nroutes: []\n", 1, "has a route and receivers"),
        ("route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [x]\n", 3, "an inhibition is a mapping"),
        ("route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: x\n", 3, "inhibit_rules is a list"),
        ("route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{equal: x}]\n", 3, "equal is a list"),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{source_match: [x]}]\n",
            3,
            "match and match_re are mappings",
        ),
        ("route: {receiver: a}\nreceivers: [{name: a}]\nglobal: [x]\n", 3, "global is a mapping"),
        ("route: {receiver: a, matchers: 5}\nreceivers: [{name: a}]\n", 1, "matchers is a list of texts"),
        ("route: {receiver: a, match: x}\nreceivers: [{name: a}]\n", 1, "match and match_re are mappings"),
        ("route: {receiver: a, group_by: 5}\nreceivers: [{name: a}]\n", 1, "group_by is a list"),
        ("route: {receiver: a, routes: 5}\nreceivers: [{name: a}]\n", 1, "routes is a list"),
    ],
)
def test_mistakes_of_routing_have_their_lines(tmp_path, text: str, line: int, what: str) -> None:
    """One clear error each."""
    with pytest.raises(InputError, match=rf"am.yml:{line}: .*{what}"):
        routing.load(written(tmp_path, text, "am.yml"))


def test_nobody_is_paged_by_a_copy() -> None:
    """Every channel is a webhook of ours; who has none keeps none; times hold for all routes."""
    found = routing.load(SHOP / "alertmanager.yml")
    copy = routing.copied(found, "http://127.0.0.1:9/alerts/webhook", {"group_wait": 0, "group_interval": 0.2})
    data = yaml.safe_load(copy.text)
    before = {receiver["name"]: receiver for receiver in found.data["receivers"]}
    for receiver in data["receivers"]:
        channels = {key for key in receiver if key != "name"}
        if len(before[receiver["name"]]) == 1:
            assert channels == set()
            continue
        assert channels == {"webhook_configs"}
        urls = [webhook["url"] for webhook in receiver["webhook_configs"]]
        assert urls == [f"http://127.0.0.1:9/alerts/webhook/{receiver['name']}"]
    assert "example.com" not in copy.text
    assert (data["route"]["group_wait"], data["route"]["group_interval"]) == ("0s", "200ms")
    assert any("slack_api_url left out" in change for change in copy.changes)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('severity="P1"', True),
        ("severity=P1", True),
        ('{severity="P1", service=~"or.*"}', True),
        ('severity!="P1"', False),
        ('severity!~"P[12]"', False),
        ('missing=""', True),
        ('missing=~".+"', False),
        ('service=~"order"', False),
        (r'quoted="a \"b\", c"', True),
    ],
)
def test_matchers(text: str, fits: bool) -> None:
    """As Alertmanager reads them; patterns fit as a whole."""
    labels = {"severity": "P1", "service": "orders", "quoted": 'a "b", c'}
    assert matchers.read([text], {}, {}).fit(labels) is fits


@pytest.mark.parametrize("text", ["severity", 'severity="P1" service="a"', '="a"', 'a=~"("'])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    """One clear error."""
    with pytest.raises(ValueError, match="matcher"):
        matchers.read([text], {}, {})
