"""JSON Schema of the scenario language, assembled from the models of all rooms."""

from __future__ import annotations

from typing import Any

from chaoskit.scenario.loader import room
from chaoskit.scenario.model import EnvironmentFile, ScenarioFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """The schema of ``*.chaos.yaml`` files."""
    schema = ScenarioFile.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    duration = {"type": "string", "examples": ["5s"]}
    kinds = {name: _part(room("faults").get(name), definitions) for name in room("faults")}
    definitions["PlannedFault"] = {
        "type": "object",
        "properties": {**kinds, "at": duration, "for": duration},
        "required": ["for"],
        "minProperties": 2,
        "maxProperties": 3,
        "additionalProperties": False,
    }
    definitions["Timeline"]["properties"]["faults"]["items"] = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"$ref": "#/$defs/PlannedFault"},
    }
    expectations: dict[str, Any] = {}
    for name in room("expectations"):
        one = _part(room("expectations").get(name), definitions)
        expectations[name] = {"anyOf": [one, {"type": "array", "items": one}]}
    schema["properties"]["expect"] = {
        "type": "object",
        "properties": expectations,
        "additionalProperties": False,
    }
    return {"$schema": _DIALECT, **schema, "title": "chaoskit scenario"}


def environment_schema() -> dict[str, Any]:
    """The schema of environment files."""
    return {
        "$schema": _DIALECT,
        **EnvironmentFile.model_json_schema(by_alias=True),
        "title": "chaoskit environment",
    }


def _part(model: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one plug-in, its definitions moved to the common ones."""
    schema: dict[str, Any] = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema
