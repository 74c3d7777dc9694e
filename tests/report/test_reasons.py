"""What is shown of a reason of many lines."""

from __future__ import annotations

import pytest

from chaoskit.report.shorten import gist


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", [""]),
        ("all held", ["all held"]),
        ("not ready within 20 s\n  It wrote nothing.\n", ["not ready within 20 s", "It wrote nothing."]),
        ("it ended\n  Its last lines:\n  KeyError: 'A'", ["it ended", "… KeyError: 'A'"]),
        ("it ended\n  Its last lines:\n  panic: oops\n\n  bye", ["it ended", "… panic: oops"]),
        ("it ended\n  one\n  two", ["it ended", "… two"]),
    ],
)
def test_gist(reason: str, told: list[str]) -> None:
    """What happened, then the last line that names a cause, or the last; ``…`` for what is left out between."""
    assert gist(reason) == told
