"""Alerts on the timeline: when they were pending and firing, what was delivered, what was judged."""

from __future__ import annotations

from pathlib import Path

from figures_histories import FAULT, Drawing, Made, drawn, scenarios, usual

from chaoskit.history.rows import Alert
from chaoskit.reporters.figures import lanes
from chaoskit.reporters.figures.facts import Facts


def timeline(folder: Path, made: Made) -> Drawing:
    (loaded,) = scenarios(folder)
    return drawn(loaded, made)["timeline"]


def alert(made: Made, at: float, state: str, name: str = "Slow", source: str = "rules", refused: str = "") -> None:
    made.history.add(Alert(name=name, state=state, at=FAULT + at, source=source, fingerprint=name, refused=refused))


def test_a_lane_for_each_alert(tmp_path: Path) -> None:
    """Its life, its deliveries, and the finding that was not held."""
    made = usual()
    for at, state in ((0.2, "pending"), (0.9, "firing"), (2.8, "inactive")):
        alert(made, at, state)
    alert(made, 1.2, "delivered", source="alertmanager", refused="503")
    alert(made, 2.0, "delivered", source="alertmanager")
    (scenario,) = scenarios(tmp_path, expect="  alerts: [{name: Slow, fires_within: 500ms}]")
    drawing = drawn(scenario, made)["timeline"]
    assert {"alert Slow", "pending", "firing", "✗ fires within · after 900ms"} <= set(drawing.texts)
    (lane,) = lanes.alerts(Facts(scenario, made.history, made.judged(scenario)))
    assert [(round(mark.at, 6), mark.text) for mark in lane.marks] == [(1.2, "refused"), (2.0, "delivered")]
    assert [(span.text, round(span.end - span.start, 6)) for span in lane.spans] == [("pending", 0.7), ("firing", 1.9)]


def test_an_alert_that_nobody_judges(tmp_path: Path) -> None:
    """It is drawn all the same, until the end when it never ends."""
    made = usual()
    alert(made, 0.5, "firing")
    alert(made, 0.6, "pending", "Other")
    drawing = timeline(tmp_path, made)
    assert {"alert Slow", "fired 1×", "alert Other", "never fired"} <= set(drawing.texts)


def test_many_alerts(tmp_path: Path) -> None:
    """Those beyond the sixth share a lane; what came after the end is not drawn."""
    made = usual()
    for number in range(9):
        alert(made, 0.1 * number, "firing", f"A{number}")
    alert(made, 99.0, "firing", "TooLate")
    texts = timeline(tmp_path, made).texts
    assert "3 more alerts" in texts
    assert "alert A5" in texts
    assert not any("TooLate" in text or text == "alert A6" for text in texts)


def test_without_alerts(tmp_path: Path) -> None:
    """No lane."""
    assert not any(text.startswith("alert ") for text in timeline(tmp_path, usual()).texts)
