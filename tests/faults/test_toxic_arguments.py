"""Arguments of the network faults: what is legal, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.language.fault import FAULTS

GOOD: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("latency", {"delay": "800ms", "jitter": "100ms"}, {"latency": 800, "jitter": 100}),
    ("latency", {"delay": "1.5s"}, {"latency": 1500, "jitter": 0}),
    ("bandwidth", {"rate": "100KB/s"}, {"rate": 100}),
    ("bandwidth", {"rate": "1MB/s"}, {"rate": 1000}),
    ("timeout", {}, {"timeout": 0}),
    ("timeout", {"after": "2s"}, {"timeout": 2000}),
    ("reset", {"after": "50ms"}, {"timeout": 50}),
    ("drop", {"share": "10%"}, {"timeout": 0}),
    ("slow_close", {"delay": "2s"}, {"delay": 2000}),
    (
        "slice",
        {"size": "64B", "variation": "16B", "delay": "100us"},
        {"average_size": 64, "size_variation": 16, "delay": 100},
    ),
    ("limit_data", {"bytes": "1KB"}, {"bytes": 1000}),
    ("limit_data", {"bytes": "0B"}, {"bytes": 0}),
]

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("latency", {}, "Field required"),
    ("latency", {"delay": 800}, "800 is not a duration"),
    ("latency", {"delay": "0s"}, "0s changes nothing"),
    ("latency", {"delay": "500us"}, "the smallest possible is 1ms, is 500µs"),
    ("latency", {"delay": "1s", "direction": "sideways"}, "'downstream' or 'upstream'"),
    ("latency", {"delay": "1s", "share": "0%"}, "a share of 0% touches nothing"),
    ("latency", {"delay": "1s", "share": "120%"}, "between 0% and 100%"),
    ("latency", {"delay": "1s", "lenght": "2s"}, "Extra inputs"),
    ("latency", {"delay": "1s", "on": "nobody"}, "unknown service 'nobody'"),
    ("bandwidth", {"rate": "0.5KB/s"}, "the lowest rate is 1KB/s, is 500B/s"),
    ("bandwidth", {"rate": "40/s"}, "not a bandwidth"),
    ("timeout", {"after": "-1s"}, "must not be negative"),
    ("drop", {}, "Field required"),
    ("slow_close", {}, "Field required"),
    ("slice", {"size": "0B"}, "pieces have at least 1B"),
    ("slice", {"size": "10B", "variation": "11B"}, "variation is at most size"),
    ("limit_data", {"bytes": 10}, "10 is not a size"),
    ("down", {"share": "10%"}, "Extra inputs"),
    ("latency", {"delay": "1s", "connections": {}}, "nothing is chosen here"),
    ("latency", {"delay": "1s", "connections": {"every": 0}}, "greater than or equal to 1"),
    ("refuse", {"connections": {"frist": 1}}, "Extra inputs"),
    ("refuse", {"direction": "upstream"}, "Extra inputs"),
    ("http", {}, "nothing is to be done to the requests"),
    ("http", {"status": 99}, "greater than or equal to 200"),
    ("http", {"status": 503, "cut": "close"}, "either answered"),
    ("http", {"cut": "off"}, "'close' or 'reset'"),
    ("http", {"status": 503, "value": "yes"}, "value belongs to a header"),
    ("http", {"status": 503, "path": "orders"}, "a path begins with / or"),
    ("http", {"status": 503, "requests": {}}, "nothing is chosen here"),
]

CONTEXT = {"services": {"echo"}, "operations": {"read"}}


@pytest.mark.parametrize(("name", "arguments", "attributes"), GOOD)
def test_good(name: str, arguments: dict[str, Any], attributes: dict[str, int]) -> None:
    """Arguments in the units of people become attributes in Toxiproxy's."""
    fault = FAULTS.get(name).model_validate({"on": "echo", **arguments}, context=CONTEXT)
    assert fault.attributes() == attributes
    assert fault.target == "echo"


@pytest.mark.parametrize(("name", "arguments", "message"), BAD)
def test_bad(name: str, arguments: dict[str, Any], message: str) -> None:
    """What is wrong is said when the file is loaded."""
    with pytest.raises(ValidationError, match=message):
        FAULTS.get(name).model_validate({"on": "echo", **arguments}, context=CONTEXT)


@pytest.mark.parametrize("name", FAULTS.names())
def test_every_fault_says_what_it_is(name: str) -> None:
    """The docstring is the reference page: the fault's arguments and its evidence stand in it."""
    kind = FAULTS.get(name)
    text = kind.__doc__ or ""
    assert "Rehearses" in text
    assert "Evidence" in text
    for field in kind.model_fields:
        assert f"``{field}``" in text, f"{name}: {field} is not explained"
    assert kind.model_json_schema()["additionalProperties"] is False
