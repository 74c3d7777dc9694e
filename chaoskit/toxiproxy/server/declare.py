"""From the JSON of a toxic to a toxic that can be installed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from chaoskit.toxiproxy.server.conditions import Conditions
from chaoskit.toxiproxy.server.decode import BodyError, Fields
from chaoskit.toxiproxy.server.errors import ApiError, bad_body
from chaoskit.toxiproxy.server.installed import Installed
from chaoskit.toxiproxy.server.toxics import new
from chaoskit.toxiproxy.server.toxics.base import Toxic

_STREAMS = ("upstream", "downstream")


def read_toxic(value: Any, taken: Collection[str], seed: str) -> Installed:
    """The toxic of a decoded body; ``taken`` are the names that are in use. Raises ApiError."""
    try:
        fields = Fields(value, "ToxicWrapper", "toxics.ToxicWrapper")
        name, kind, stream = fields.text("name"), fields.text("type"), fields.text("stream")
        toxicity = fields.number("toxicity", 1)
        fields.integers("attributes", (), "")
        conditions, ttl = Conditions.of(fields), fields.condition("ttl", 1)
    except BodyError as error:
        raise bad_body(error) from None
    if stream.lower() not in ("", *_STREAMS):
        raise ApiError("stream was invalid, can be either upstream or downstream", 400)
    toxic = new(kind)
    if toxic is None:
        raise ApiError("invalid toxic type", 400)
    stream = stream or toxic.STREAM
    name = name or f"{kind}_{stream}"
    if name in taken:
        raise ApiError("toxic already exists", 409)
    if toxic.ONLY_STREAM and stream.lower() != toxic.STREAM:
        raise ApiError(f"stream was invalid, {kind} acts on {toxic.STREAM} only", 400)
    change(toxic, fields)
    installed = Installed(name, kind, stream, toxicity, toxic, seed)
    installed.conditions, installed.ttl = conditions, ttl
    return installed


def declared(fields: Fields, seed: str) -> list[Installed]:
    """The ``chaoskit_toxics`` of a proxy's body. Raises ApiError."""
    try:
        values = fields.entries("chaoskit_toxics")
    except BodyError as error:
        raise bad_body(error) from None
    found: list[Installed] = []
    for value in values:
        found.append(read_toxic(value, [toxic.name for toxic in found], seed))
    return found


def change(toxic: Toxic, fields: Fields) -> None:
    """Set the attributes that a body names. Raises ApiError, with nothing changed."""
    try:
        toxic.read(fields)
    except BodyError as error:
        raise bad_body(error) from None
