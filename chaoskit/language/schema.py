"""JSON Schema of the scenario language, assembled from the models of all rooms."""

from __future__ import annotations

from typing import Any

from chaoskit.language.compose import ComposeEnvironmentFile
from chaoskit.language.model import EnvironmentFile, ScenarioFile
from chaoskit.language.plugins import registry
from chaoskit.language.sop import Endpoint, Procedure, SopFile
from chaoskit.language.types import Duration, Model

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Window(Model):
    at: Duration
    length: Duration


def scenario_schema() -> dict[str, Any]:
    """The schema of ``*.chaos.yaml`` files."""
    definitions: dict[str, Any] = {}
    schema = _part("scenario", ScenarioFile, definitions)
    environment = _environment(definitions)
    environment["required"].remove("environment")
    schema["properties"]["environment"] = {"anyOf": [{"type": "string"}, environment]}
    definitions["scenario.Timeline"]["properties"]["faults"]["items"] = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": _fault(definitions),
    }
    schema["properties"]["sops"]["items"] = {
        "anyOf": [{"type": "string"}, _sop(definitions), _procedure("endpoint", Endpoint, definitions)]
    }
    expectations = {
        name: _part(name, registry("expectations").get(name), definitions) for name in registry("expectations")
    }
    schema["properties"]["expect"] = {
        "type": "object",
        "properties": {
            name: {"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]} for name, one in expectations.items()
        },
        "additionalProperties": False,
    }
    return {"$schema": _DIALECT, **schema, "title": "chaoskit scenario", "$defs": definitions}


def environment_schema() -> dict[str, Any]:
    """The schema of environment files."""
    definitions: dict[str, Any] = {}
    composed = _part("compose", ComposeEnvironmentFile, definitions)
    kinds = {"if": {"required": ["compose"]}, "then": composed, "else": _environment(definitions)}
    return {"$schema": _DIALECT, "type": "object", **kinds, "title": "chaoskit environment", "$defs": definitions}


def sop_schema() -> dict[str, Any]:
    """The schema of SOP files."""
    definitions: dict[str, Any] = {}
    kinds = [_sop(definitions), _procedure("endpoint", Endpoint, definitions)]
    return {"$schema": _DIALECT, "type": "object", "anyOf": kinds, "title": "chaoskit SOP", "$defs": definitions}


def _sop(definitions: dict[str, Any]) -> dict[str, Any]:
    """An SOP: each of its steps is exactly one action with its arguments."""
    schema = _procedure("sop", SopFile, definitions)
    schema["properties"]["steps"]["items"] = {
        "type": "object",
        "properties": {name: _part(name, registry("actions").get(name), definitions) for name in registry("actions")},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    return schema


def _procedure(name: str, model: type[Procedure], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _part(name, model, definitions)
    schema["properties"]["escalate"] = _part("notify", registry("actions").get("notify"), definitions)
    return schema


def _fault(definitions: dict[str, Any]) -> dict[str, Any]:
    """A fault of the timeline: its window, and exactly one kind with its arguments."""
    window = _part("window", _Window, definitions)["properties"]
    kinds = {name: _part(name, registry("faults").get(name), definitions) for name in registry("faults")}
    for name, arguments in kinds.items():
        if not arguments.get("required"):
            kinds[name] = {"anyOf": [arguments, {"type": "null"}]}
    return {
        "type": "object",
        "properties": {**kinds, "at": window["at"], "for": window["length"]},
        "required": ["for"],
        "oneOf": [{"required": [name]} for name in kinds],
        "additionalProperties": False,
    }


def _environment(definitions: dict[str, Any]) -> dict[str, Any]:
    """An environment; what may stand under a service's ``args`` depends on its provider."""
    schema = _part("environment", EnvironmentFile, definitions)
    service = definitions["environment.ServiceSpec"]
    providers = registry("providers").names()
    service["properties"]["provider"] = {"enum": providers}
    service["allOf"] = [
        {
            "if": {"properties": {"provider": {"const": name}}, "required": ["provider"]},
            "then": {"properties": {"args": _part(name, registry("providers").get(name).Args, definitions)}},
        }
        for name in providers
    ]
    service["not"] = {"required": ["command", "provider"]}
    whole = {"anyOf": [{"required": [kind]} for kind in ("command", "provider", "image", "build")]}
    schema["if"] = {"not": {"required": ["extends"]}}  # with it, a service may hold no more than what is new
    schema["then"] = {"properties": {"services": {"additionalProperties": whole}}}
    return schema


def _part(name: str, model: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one model; its own definitions go to the common ones, under its name."""
    schema: dict[str, Any] = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    for key, definition in schema.pop("$defs", {}).items():
        definitions[f"{name}.{key}"] = _without_inner_defaults(definition)
    cleaned: dict[str, Any] = _without_inner_defaults(schema)
    return cleaned


def _without_inner_defaults(schema: Any) -> Any:
    """Without defaults that nobody may write: quantities are text in a file and numbers of base units inside."""
    if isinstance(schema, list):
        return [_without_inner_defaults(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    number = schema.get("type") == "string" and not isinstance(schema.get("default"), str)
    return {
        key: _without_inner_defaults(value)
        for key, value in schema.items()
        if not (key == "default" and (number or isinstance(value, dict | list | None)))
    }
