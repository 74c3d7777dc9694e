"""The documented part of the templates in labels and annotations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from chaoskit.rules.supported_promql import PLACEHOLDER


def expand(text: str, labels: Mapping[str, str], value: float) -> str:
    """``text`` with the alert's labels and value put in; a label that is not there is empty."""
    return PLACEHOLDER.sub(lambda found: labels.get(found["label"], "") if found["label"] else go_number(value), text)


def go_number(value: float) -> str:
    """As Go prints a number: ``37.695``, ``1e+06``, ``NaN``, ``+Inf``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) + exponent - 1
    if value and (power < -4 or power >= 6):
        text = "".join(map(str, digits))
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return format(Decimal(repr(value)).normalize(), "f")
