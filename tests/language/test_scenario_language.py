"""What a scenario file means: matrix, data, environments in place, changes, controls, and plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.language.loader import changed, slug
from chaoskit.language.source import read


def test_a_scenario_as_it_is_typed(desk: Any) -> None:
    """Quantities are seconds, shares and events per second; faults and expectations know where they stand."""
    (scenario,) = desk.load()
    assert (scenario.name, scenario.slug) == ("Orders survive a slow database", "orders")
    assert scenario.model.traffic["place"].rate == 40
    assert scenario.model.traffic["place"].timeout == 2
    assert scenario.model.traffic["place"].method == "POST"
    assert scenario.model.traffic["place"].ok.statuses == [201]
    slow, hung = scenario.faults
    assert (slow.name, slow.kind, slow.at, slow.length) == ("slow-db", "latency", 0, 6)
    assert (slow.fault.delay, slow.fault.jitter, slow.fault.target) == (0.8, 0.1, "db")
    assert (hung.kind, hung.at, hung.length) == ("pause", 2, 1)
    assert scenario.source.line(hung.path) == 32
    assert [planned.kind for planned in scenario.expectations] == ["during", "recovery"]
    assert scenario.source.line(scenario.expectations[1].path) == 40
    assert scenario.faults_length == 6


def test_a_matrix_makes_one_scenario_for_each_combination(desk: Any) -> None:
    """Values fill texts anywhere; alone in its braces a value keeps its type. Names and slugs tell them apart."""
    text = desk.edit("delay: 800ms", 'delay: "{{ matrix.delay }}"')
    text = desk.edit("rate: 40/s", 'rate: 40/s\n    copies: "{{matrix.copies}}"', text)
    text = desk.edit("owner: orders", 'owner: "team {{ matrix.copies }}"', text)
    scenarios = desk.load(text + "matrix:\n  delay: [200ms, 1.5s]\n  copies: [1, 2]\n")
    assert [scenario.slug for scenario in scenarios] == [
        "orders--delay-200ms--copies-1",
        "orders--delay-200ms--copies-2",
        "orders--delay-1-5s--copies-1",
        "orders--delay-1-5s--copies-2",
    ]
    assert scenarios[2].name == "Orders survive a slow database [delay=1.5s] [copies=1]"
    assert scenarios[2].matrix == {"delay": "1.5s", "copies": 1}
    assert scenarios[2].faults[0].fault.delay == 1.5
    assert scenarios[1].model.traffic["place"].copies == 2
    assert scenarios[1].model.owner == "team 2"


def test_a_mistake_in_one_value_of_a_matrix_is_told_once(desk: Any) -> None:
    """A value that does not fit is told with the line where it is used; mistakes common to all values come once."""
    text = desk.edit("delay: 800ms", 'delay: "{{ matrix.delay }}"').replace("rate: 40/s", "rate: 40")
    texts = [str(problem) for problem in desk.problems(text + "matrix: {delay: [200ms, 1s, 800]}\n")]
    assert len(texts) == 2
    assert texts[0].startswith("orders.chaos.yaml:21: rate")
    assert texts[1].startswith("orders.chaos.yaml:31: delay: 800 is not a duration")


def test_an_environment_in_place(desk: Any) -> None:
    """An environment may stand in the scenario itself; its paths start from the scenario's folder."""
    text = "environment: {services: {db: {provider: redis}, orders: {command: x}}, data: {regions: [a]}}\n"
    (scenario,) = desk.load(desk.edit("environment: shop\n", text))
    assert scenario.environment.name == "inline"
    assert list(scenario.environment.services) == ["db", "orders"]
    assert scenario.environment.folder == desk.folder
    assert scenario.environment.source.file == scenario.file


def test_with_and_control_change_services(desk: Any) -> None:
    """A change replaces single settings, and what a control says comes on top of what the scenario says."""
    text = desk.edit("{env: {LOG: debug}}", "{env: {LOG: debug, POOL: kept}, restart: never}")
    (scenario,) = desk.load(text)
    assert scenario.model.control is not None
    plain = changed(scenario.environment, scenario.model.with_)
    off = changed(scenario.environment, scenario.model.with_, scenario.model.control.with_)
    assert plain.services["orders"].env == {"DB_URL": "{{ db.url }}", "LOG": "debug", "POOL": "kept"}
    assert off.services["orders"].env == {"DB_URL": "{{ db.url }}", "LOG": "debug", "POOL": "none"}
    assert plain.services["orders"].restart == off.services["orders"].restart == "never"
    assert scenario.environment.services["orders"].restart == "always"
    assert off.services["db"] is scenario.environment.services["db"]


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "y", "n", "On", "OFF"])
def test_only_true_and_false_are_booleans(desk: Any, word: str) -> None:
    """YAML 1.2: the words that YAML 1.1 took for booleans are text, as keys and as values."""
    text = desk.edit("{env: {POOL: none}}", f"{{env: {{POOL: {word}, {word}: x, A: true, B: False}}}}")
    (scenario,) = desk.load(text)
    assert scenario.model.control is not None
    env = scenario.model.control.with_["orders"].env
    assert env == {"POOL": word, word: "x", "A": True, "B": False}


def test_times_and_dates_are_text(desk: Any) -> None:
    """``12:30`` is not a number in base 60, and a date is not an object."""
    (scenario,) = desk.load(desk.edit("skus: [a, b]", "skus: [12:30, 1:02:03.5, 2026-01-02, 010]"))
    assert scenario.model.data["skus"][:3] == ["12:30", "1:02:03.5", "2026-01-02"]


def test_anchors_and_merged_keys(desk: Any) -> None:
    """A block may be used again, and what is said beside ``<<`` wins; each key counts once, however often merged."""
    text = desk.edit("  place:\n    request", "  place: &place\n    request")
    more = "  again: &again\n    <<: *place\n    rate: 5/s\n  third:\n    <<: [*again, *place]\n    timeout: 9s\n"
    more += "  fourth: *again\n"
    (scenario,) = desk.load(desk.edit("steady_state:\n", more + "steady_state:\n", text))
    rates = {name: (operation.rate, operation.timeout) for name, operation in scenario.model.traffic.items()}
    assert rates == {"place": (40, 2), "again": (5, 2), "third": (5, 9), "fourth": (5, 2)}


def test_of_merged_mappings_the_first_wins(tmp_path: Path) -> None:
    """As YAML's merge key says, whatever version of PyYAML is there: own, then the earlier, then what that merges."""
    text = "a: &a {x: a, y: a}\nb: &b {x: b, z: b, <<: {y: bb, w: bb}}\n"
    text += "ab: {<<: [*a, *b], y: own}\nba: {<<: [*b, *a]}\n"
    data = read(tmp_path / "merges.yaml", text).data
    assert data["ab"] == {"x": "a", "y": "own", "z": "b", "w": "bb"}
    assert data["ba"] == {"x": "b", "y": "bb", "z": "b", "w": "bb"}


def test_merges_of_merges_cost_no_more_than_their_text(tmp_path: Path) -> None:
    """Thirty mappings that each merge the one before twice: flattened once each, not a thousand million times."""
    lines = ["m0: &m0 {k: 1}", *(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}" for n in range(1, 31))]
    assert len(read(tmp_path / "merges.yaml", "\n".join(lines)).data["m30"]) == 31


def test_an_expectation_may_be_given_as_a_list(desk: Any) -> None:
    """Several blocks of one kind, each with its own place in the file."""
    text = desk.edit("  recovery: {within: 5s}", "  recovery:\n    - {within: 5s}\n    - {within: 6s}")
    (scenario,) = desk.load(text)
    assert [(planned.kind, scenario.source.line(planned.path)) for planned in scenario.expectations] == [
        ("during", 38),
        ("recovery", 41),
        ("recovery", 42),
    ]
    (problem,) = desk.problems(text.replace("{within: 6s}", "{within: 6}"))
    assert problem.line == 42


def test_faults_without_arguments(desk: Any) -> None:
    """``noop:`` with nothing behind it is a fault with its defaults, if it has no required ones."""
    (scenario,) = desk.load(desk.edit("pause: {service: orders}", "noop:"))
    assert scenario.faults[1].kind == "noop"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Slow DB", "slow-db"),
        ("a::b[c=d]", "a-b-c-d"),
        ("--x--", "x"),
        ("Größe", "gr-e"),
        ("", ""),
        ("☃", ""),
    ],
)
def test_slugs_are_plain(text: str, name: str) -> None:
    """Only ``[a-z0-9-]``: Allure and ``-k`` cut other characters."""
    assert slug(text) == name


def test_a_file_whose_name_has_no_letters(desk: Any) -> None:
    """It still gives an item a name."""
    desk.file = desk.folder / "☃.chaos.yaml"
    (scenario,) = desk.load()
    assert scenario.slug == "scenario"
