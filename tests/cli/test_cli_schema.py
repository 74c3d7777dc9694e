"""``chaoskit schema``: every kind is a valid JSON Schema, and what it was is still what is printed without a kind."""

from __future__ import annotations

import json

import jsonschema
import pytest

from chaoskit.cli import main


@pytest.mark.parametrize("kind", ["scenario", "environment", "sop", "fault-report"])
def test_each_kind_is_a_schema(kind, capsys):
    """Of its own."""
    assert main(["schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert kind.replace("-", " ").lower() in schema["title"].lower()


def test_the_older_forms(capsys):
    """No kind is that of scenarios, --environment that of environments."""
    titles = []
    for arguments in (["schema"], ["schema", "--environment"]):
        assert main(arguments) == 0
        titles.append(json.loads(capsys.readouterr().out)["title"])
    assert titles == ["chaoskit scenario", "chaoskit environment"]
