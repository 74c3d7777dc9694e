"""The scores of the last runs as a line of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, EDGE = 180, 44, 5
MOST = 20


@dataclass(frozen=True)
class Trend:
    """Where the points lie, in units of the picture, and what each says.

    ``change`` is this run against ``before``, the label of the last one; there are no points and no such run where
    this one is the first.
    """

    points: Sequence[tuple[float, float, str]] = ()
    before: str = ""
    change: float = 0.0

    @property
    def line(self) -> str:
        """The points for an SVG ``polyline``."""
        return " ".join(f"{x:g},{y:g}" for x, y, _ in self.points)


def trend(scores: Sequence[tuple[str, float]]) -> Trend | None:
    """``scores`` are labels and scores (0 to 100), oldest first, this run's last. None where there are none."""
    shown = scores[-MOST:]
    if len(shown) < 2:
        return Trend() if shown else None
    step = (WIDTH - 2 * EDGE) / (len(shown) - 1)
    points = []
    for index, (label, score) in enumerate(shown):
        high = EDGE + (HEIGHT - 2 * EDGE) * (100 - score) / 100
        points.append((round(EDGE + step * index, 1), round(high, 1), f"{label}: {score:.1f}"))
    return Trend(points, shown[-2][0], shown[-1][1] - shown[-2][1])
