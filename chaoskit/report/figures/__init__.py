"""Figures of a scenario: pure functions of (Scenario, History, Verdict) to SVG and PNG.

:func:`draw` gives the pictures, :func:`save` puts them into a folder and never raises. matplotlib is imported when
the first figure is drawn, through its object-oriented interface alone: no global figures, no windows.
"""

from __future__ import annotations

from chaoskit.report.figures.pictures import FigureWarning, Picture, Saved, draw, save

__all__ = ["FigureWarning", "Picture", "Saved", "draw", "save"]
