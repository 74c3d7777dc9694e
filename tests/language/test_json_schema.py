"""The published JSON Schemas are valid, accept what the loader accepts, and refuse common mistakes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from chaoskit.language import source
from chaoskit.language.loader import find
from chaoskit.language.schema import environment_schema, scenario_schema

jsonschema = pytest.importorskip("jsonschema")

LIBRARY = Path(__file__).parents[2] / "scenarios"


@functools.cache
def checker(kind: str) -> Any:
    """The validator of a schema."""
    schema = scenario_schema() if kind == "scenario" else environment_schema()
    return jsonschema.Draft202012Validator(schema)


def mistakes(kind: str, text: str) -> list[str]:
    """What the schema has against a text."""
    data = source.read(Path("x.yaml"), text).data
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in checker(kind).iter_errors(data)]


@pytest.mark.parametrize("kind", ["scenario", "environment"])
def test_the_schema_is_valid(kind: str) -> None:
    """It keeps to its dialect, and every reference leads somewhere."""
    schema = checker(kind).schema
    jsonschema.Draft202012Validator.check_schema(schema)
    text = str(schema)
    assert all(f"#/$defs/{name}" in text for name in schema["$defs"])


@pytest.mark.parametrize("file", sorted(find([LIBRARY])), ids=lambda file: file.name.split(".")[0])
def test_the_schema_accepts_the_library(file: Path) -> None:
    """Every scenario that is shipped."""
    assert mistakes("scenario", file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", sorted((LIBRARY / "environments").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_schema_accepts_the_librarys_environments(file: Path) -> None:
    """Every environment that is shipped."""
    assert mistakes("environment", file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("owner: orders", "owner: orders\nmatrix: {d: [1s, 2s]}"),
        ("delay: 800ms", 'delay: "{{ matrix.d }}"'),
        ("pause: {service: orders}", "noop:"),
        ("environment: shop\n", "environment: {services: {db: {provider: redis}, orders: {command: x}}}\n"),
        ("  recovery: {within: 5s}", "  recovery: [{within: 5s}, {within: 6s}]"),
        ('p99: "< 1s"', 'p99: "0.5s..1.5s"'),
        ('p99: "< 1s"', 'p99: "1s ± 30%"'),
        ('p99: "< 1s"', 'p99: "<= 3x steady"'),
        ('p99: "< 1s"', 'p99: "0.5x..3x steady"'),
        ("steady: 3s", "steady: 1.5e3 ms"),
    ],
)
def test_the_schema_accepts_every_form(desk: Any, old: str, new: str) -> None:
    """Forms of the language that the library may not use."""
    assert mistakes("scenario", desk.edit(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("owner: orders", "ownr: orders"),
        ("severity: critical", "severity: kritical"),
        ("latency: {on", "latencyy: {on"),
        ("  recovery: {within: 5s}", "  recvery: {within: 5s}"),
        ("  recovery: {within: 5s}", "  recovery: []"),
        ("delay: 800ms", "delay: 800"),
        ("delay: 800ms", 'delay: "800"'),
        ("delay: 800ms", "dely: 800ms"),
        ("delay: 800ms, ", ""),
        ("rate: 40/s", "rate: 40ms"),
        ('p99: "< 1s"', "p99: 1s"),
        ('p99: "< 1s"', 'p98: "< 1s"'),
        ("        for: 1s\n", ""),
        ("        pause: {service: orders}\n", ""),
        ("        at: 2s\n", "        noop:\n"),
        ("environment: shop\n", "environment: {services: {db: {provider: redsi}}}\n"),
        ("environment: shop\n", "environment: {services: {db: {provider: redis, args: {x: 1}}}}\n"),
        ("environment: shop\n", "environment: {services: {db: {}}}\n"),
        ("tags: [pool]", "tags: pool"),
    ],
)
def test_the_schema_refuses_mistakes(desk: Any, old: str, new: str) -> None:
    """An editor shows them without chaoskit; the loader refuses all of them too."""
    text = desk.edit(old, new)
    assert mistakes("scenario", text)
    assert desk.problems(text)


def test_the_schemas_accept_this_folders_own(desk: Any) -> None:
    """The valid scenario and environment of these tests."""
    assert mistakes("scenario", desk.scenario) == []
    assert mistakes("environment", desk.environment) == []
