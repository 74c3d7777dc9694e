"""One HTML page about a run: no network, no server, no framework; readable without JavaScript, and on paper."""

from __future__ import annotations

from chaoskit.report.html.page import NAME, write_page

__all__ = ["NAME", "write_page"]
