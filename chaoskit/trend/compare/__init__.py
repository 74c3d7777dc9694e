"""Two runs side by side: what each scenario came to, and what its callers saw, before and after."""

from __future__ import annotations

from chaoskit.trend.compare.changes import Change, Comparison, Figure, compare
from chaoskit.trend.compare.text import lines

__all__ = ["Change", "Comparison", "Figure", "compare", "lines"]
