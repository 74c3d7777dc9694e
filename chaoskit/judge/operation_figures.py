"""What the callers of each operation saw while a fault was active, as figures that can be kept and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Annotated

import msgspec

from chaoskit.expectations._evidence import latency
from chaoskit.expectations._operations import measure
from chaoskit.history import rows as r
from chaoskit.history.windows import histogram
from chaoskit.language.view import View


@dataclass(frozen=True)
class Measured:
    """One operation over the fault windows. Shares are 0 to 1, times seconds; None where nothing could be measured.

    ``fallback`` is a share of the successful answers. ``histogram`` holds every latency (HdrHistogram V2 in base64,
    microseconds, 0.1 % precise), so that the share over any limit can be told later.
    """

    requests: Annotated[int, msgspec.Meta(ge=0)]
    success: r.Share | None
    fallback: r.Share | None
    p50: r.Seconds | None
    p99: r.Seconds | None
    histogram: Annotated[str, msgspec.Meta(max_length=65536)]  # it is packed: it grows when it is read


def during(view: View) -> dict[str, Measured]:
    """The figures of each operation that was asked while a fault was active."""
    seconds = sum(window.length for window in view.fault_windows)
    asked = {op: view.requests(op, view.fault_windows) for op in view.operations}
    return {op: _measured(requests, seconds) for op, requests in asked.items() if requests}


def _measured(requests: Sequence[r.Request], seconds: float) -> Measured:
    def value(metric: str) -> float | None:
        number = measure(requests, metric, seconds)
        return None if isnan(number) else number

    return Measured(
        requests=len(requests),
        success=value("success_rate"),
        fallback=value("fallback_rate"),
        p50=value("p50"),
        p99=value("p99"),
        histogram=histogram(map(latency, requests)).encode().decode("ascii"),
    )


def share_over(encoded: str, limit: float) -> float | None:
    """The share (0 to 1) of the latencies in :attr:`Measured.histogram` that are over ``limit`` seconds.

    None for an empty histogram. Raises ValueError for text that is no histogram.
    """
    from hdrh.histogram import HdrHistogram

    try:
        latencies = HdrHistogram.decode(encoded)
    except Exception as error:  # zlib's, base64's, ctypes': the library lets all of them through
        raise ValueError(f"not an HdrHistogram: {error}") from None
    total = latencies.get_total_count()
    if not total:
        return None
    edge = latencies.get_highest_equivalent_value(round(limit * 1e6))
    steps = latencies.get_recorded_iterator()
    return sum(int(step.count_added_in_this_iter_step) for step in steps if step.value_iterated_to > edge) / int(total)
