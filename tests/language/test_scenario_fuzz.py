"""Whatever a file holds: the loader gives scenarios or an InputError that names lines, and nothing else."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.base.errors import InputError, Problem
from chaoskit.language.compose import unseen
from chaoskit.language.loader import load, load_environment
from chaoskit.language.named_hosts import outside_of
from chaoskit.rules import files, routing, speed_up, supported_promql

EXAMPLES = Path(__file__).parents[2] / "examples"
COMPOSED = {"docker-compose.yml": "docker-compose.yml", "team.yaml": "scenarios/environments/team.yaml"}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**6),
    st.floats(allow_nan=True),
    st.sampled_from(["", "0", "1s", "< 1s", "1..2", "50%", "40/s", "db", "orders", "place", "{{ x }}", "{{", "_", "*"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
KEYS = [
    "on",
    "at",
    "for",
    "place",
    "request",
    "rate",
    "with",
    "matrix",
    "data",
    "expect",
    "kill",
    "latency",
    "retries",
]
TRIES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with every key or index in it."""
    found: list[tuple[Any, Any]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found.append((tree, key))
        found.extend(places(value))
    return found


def mutate(draw: Any, tree: Any) -> Any:
    """The tree with one to three parts replaced, removed, renamed or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(tree) or [({}, "x")]))
        match draw(st.sampled_from(["replace", "remove", "rename", "wrap", "add"])):
            case "replace":
                container[key] = draw(VALUES)
            case "remove":
                container.pop(key, None) if isinstance(container, dict) else container.pop(key)
            case "rename" if isinstance(container, dict) and key in container:
                container[draw(st.sampled_from(KEYS) | st.text(max_size=4))] = container.pop(key)
            case "wrap" if key != "x":
                container[key] = draw(st.sampled_from([[container[key]], {"a": container[key]}]))
            case "add" if isinstance(container, dict):
                container[draw(st.sampled_from(KEYS) | st.text(max_size=4))] = draw(VALUES)
    return tree


PIECES = [
    "",
    "\t",
    "[",
    "{",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: ",
    "!x ",
    "'",
    '"',
    "{{ ",
    "\n",
    "#",
    "|\n",
    "%",
    "? ",
]


def problems_in(text: str, load_it: Callable[[], object]) -> list[Problem]:
    """What a refusal says; each mistake must name a line of the file. Any other exception fails the test."""
    try:
        assert load_it()
    except InputError as refusal:
        problems = refusal.problems
    else:
        return []
    assert problems
    for problem in problems:
        assert 1 <= problem.line <= text.count("\n") + 1
        assert str(problem.file).endswith(".yaml")
    return problems


@TRIES
@given(data=st.data())
def test_any_tree_is_loaded_or_refused(desk: Any, data: st.DataObject) -> None:
    """A valid scenario with parts of it mutated at random."""
    tree = mutate(data.draw, yaml.safe_load(desk.scenario.replace("on:", '"on":')))
    text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
    problems_in(text, lambda: desk.load(text))


@TRIES
@given(data=st.data())
def test_any_text_is_loaded_or_refused(desk: Any, data: st.DataObject) -> None:
    """A valid scenario with pieces of its text cut out, doubled or replaced at random."""
    text = desk.scenario
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        piece = data.draw(
            st.sampled_from(
                [
                    "",
                    "\t",
                    "[",
                    "{",
                    "- ",
                    ": ",
                    "&a ",
                    "*a",
                    "<<: ",
                    "!x ",
                    "'",
                    '"',
                    "{{ ",
                    "\n",
                    "#",
                    "|\n",
                ]
            )
            | st.just(text[start:end] * 2)
            | st.text(max_size=3).filter(lambda piece: piece.isprintable())
        )
        text = text[:start] + piece + text[end:]
    problems_in(text, lambda: desk.load(text))


@TRIES
@given(data=st.data())
def test_any_environment_is_loaded_or_refused(desk: Any, data: st.DataObject) -> None:
    """A valid environment with parts of it mutated at random."""
    tree = mutate(data.draw, yaml.safe_load(desk.environment))
    text = yaml.safe_dump(tree, allow_unicode=True)
    desk.environment_file.write_text(text, encoding="utf-8")
    own = problems_in(text, lambda: load_environment(desk.environment_file).services)
    told = problems_in(text + desk.scenario, desk.load)
    assert {str(problem) for problem in own} <= {str(problem) for problem in told}


@TRIES
@given(data=st.data())
def test_any_compose_file_is_loaded_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """A team's Compose file with parts of it mutated at random, or what chaoskit is told of it; its hosts are found."""
    trees = {name: yaml.safe_load((EXAMPLES / "compose" / file).read_text()) for name, file in COMPOSED.items()}
    trees["team.yaml"]["compose"] = "docker-compose.yml"
    changed = data.draw(st.sampled_from(sorted(trees)))
    trees[changed] = mutate(data.draw, trees[changed])
    for name, tree in trees.items():
        (tmp_path / name).write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
    with contextlib.suppress(InputError):
        environment = load_environment(tmp_path / "team.yaml")
        list(outside_of(environment))
        list(unseen(environment.compose))


@TRIES
@given(data=st.data())
def test_any_alerting_file_is_loaded_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Rules and routes with parts of them mutated at random; what is loaded can be copied for a rehearsal."""
    name = data.draw(st.sampled_from(["shop.rules.yaml", "alertmanager.yml"]))
    tree = mutate(data.draw, yaml.safe_load((EXAMPLES / "shop" / "alerts" / name).read_text()))
    (tmp_path / name).write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
    with contextlib.suppress(InputError):
        if name == "alertmanager.yml":
            routing.copied(routing.load(tmp_path / name), "http://127.0.0.1:9", {"group_wait": 0})
        else:
            rules = files.load(tmp_path / name)
            speed_up.copied(rules, 10, 0.2)
            speed_up.too_hasty(rules, 10, 0.2)
            supported_promql.beyond(rules)


@settings(TRIES, max_examples=60)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_loaded_or_refused(desk: Any, content: bytes) -> None:
    """Bytes of any kind."""
    desk.file.write_bytes(content)
    with pytest.raises(InputError):
        load(desk.file)
