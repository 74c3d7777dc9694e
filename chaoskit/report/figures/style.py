"""How the figures look: colours that the colour-blind tell apart, shapes beside them, and one fixed set of defaults.

The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/) with a darker purple, because theirs is
too pale for a line. What a colour says is said again by a shape, a hatch or a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

INK: Final = "#222222"
MUTED: Final = "#666666"
PALE: Final = "#e4e4e4"
PAPER: Final = "#ffffff"
BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
ORANGE: Final = "#e69f00"
VERMILLION: Final = "#d55e00"
GREEN: Final = "#00795a"
PURPLE: Final = "#882255"

SMALL: Final = 8.0
"""Points; nothing is set smaller."""
NORMAL: Final = 9.0
LARGE: Final = 12.0

BY_OUTCOME: Final = {"held": GREEN, "violated": VERMILLION, "vacuous": PURPLE, "inconclusive": BLUE, "broken": INK}
SIGN: Final = {"held": "✓", "violated": "✗", "vacuous": "?", "inconclusive": "~", "broken": "!"}

_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, readable aloud
    "svg.hashsalt": "chaoskit",  # ids in the file come from it, not from chance
    "font.family": ["sans-serif"],
    # The first comes with matplotlib and is what widths are measured by; the others are as wide or narrower.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": SMALL,
    "text.parse_math": False,  # a $ in a service's text is a $
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,  # white also on a dark page
    "path.simplify": True,
}


@contextmanager
def applied() -> Iterator[None]:
    """matplotlib with our settings and no one else's, so that the same history gives the same bytes anywhere."""
    import matplotlib

    ours: dict[Any, Any] = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")
    }
    with matplotlib.rc_context({**ours, **_SETTINGS}), warnings.catch_warnings():
        # The PNG shows a box for a character that no font at hand has; the SVG leaves it to the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
