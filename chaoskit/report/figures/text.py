"""Text from outside (names, reasons, service output) made fit for a figure: legal, masked, and of a given width."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from chaoskit.base.mask import mask
from chaoskit.report.figures import style


def clean(text: object) -> str:
    """One line of text without secrets and without characters that XML forbids or that turn the writing round."""
    line = " ".join(mask(str(text)).split())
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in line)


@lru_cache(maxsize=4096)
def width(text: str, size: float = style.SMALL, bold: bool = False) -> float:
    """How wide ``text`` is drawn, in inches. To be called with :func:`style.applied` in force."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    # Matplotlib's font lacks the wide characters of East Asia; the reader's has them, each as wide as it is high.
    narrow = "".join(sign for sign in text if unicodedata.east_asian_width(sign) not in "WF")
    points = float(text_to_path.get_text_width_height_descent(narrow, font, ismath=False)[0]) if narrow else 0.0
    return (points + (len(text) - len(narrow)) * size) / 72


def fit(text: object, inches: float, size: float = style.SMALL, bold: bool = False) -> str:
    """``text``, cleaned, and cut with an ellipsis where it is wider than ``inches``."""
    line = clean(text)
    if width(line[:400], size, bold) <= inches and len(line) <= 400:
        return line
    low, high = 0, min(len(line), 400)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if width(line[:middle].rstrip() + "…", size, bold) <= inches:
            low = middle
        else:
            high = middle - 1
    return line[:low].rstrip() + "…"


def wrap(text: object, inches: float, lines: int, size: float = style.SMALL) -> list[str]:
    """``text`` over at most ``lines`` lines, broken between words where there are any."""
    rest, done = clean(text), list[str]()
    while rest and len(done) < lines - 1 and width(rest[:400], size) > inches:
        head = fit(rest, inches, size).removesuffix("…")
        cut = head.rfind(" ") if " " in head else len(head)
        done.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*done, fit(rest, inches, size)] if rest else done
