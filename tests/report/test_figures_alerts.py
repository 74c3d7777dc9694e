"""Alerts on the timeline: when they were pending and firing, what was delivered, what was judged."""

from __future__ import annotations

from pathlib import Path

from figures_histories import FAULT, Drawing, Made, drawn, scenarios, usual

from chaoskit.history.rows import Alert, SopRun
from chaoskit.report.figures import incident_lanes
from chaoskit.report.figures.facts import Facts


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
    (lane,) = incident_lanes.alerts(Facts(scenario, made.history, made.judged(scenario)))
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


def sop(made: Made, queued: float, name: str = "restart-orders", outcome: str = "done", ran: bool = True) -> None:
    made.history.add(
        SopRun(
            sop=name, alert="Slow", fingerprint="f", incident="i", severity="P1", action_type="restart",
            target_service="orders", priority="high", queued=FAULT + queued,
            started=FAULT + queued + 0.2 if ran else None, ended=FAULT + queued + 0.5 if ran else None,
            outcome=outcome,
        )
    )  # fmt: skip


def test_a_lane_for_each_sop(tmp_path: Path) -> None:
    """When it ran and what for; that others were decided against; one that never ran says so."""
    made = usual()
    sop(made, 0.5)
    sop(made, 0.9, outcome="skipped", ran=False)
    sop(made, 0.9, "other", outcome="skipped", ran=False)
    (scenario,) = scenarios(tmp_path)
    assert {"SOP restart-orders", "SOP other"} <= set(drawn(scenario, made)["timeline"].texts)
    ran, other = incident_lanes.sops(Facts(scenario, made.history, made.judged(scenario)))
    assert [(round(mark.at, 6), mark.text) for mark in ran.marks] == [(0.7, "restart orders")]
    assert ran.note is not None
    assert ran.note.text == "done because of Slow · 1 decided against"
    assert other.note is not None
    assert (other.marks, other.note.text) == ([], "did not run · 1 decided against")


def test_many_sops(tmp_path: Path) -> None:
    """The first few have lanes of their own, the rest share one; what came after the picture is left out."""
    made = usual()
    for number in range(6):
        sop(made, 0.1 * number, f"s{number}")
    sop(made, 99.0, "too-late")
    texts = timeline(tmp_path, made).texts
    assert {"SOP s3", "2 more SOPs"} <= set(texts)
    assert not any("too-late" in text or text == "SOP s4" for text in texts)


def test_without_alerts(tmp_path: Path) -> None:
    """No lane."""
    assert not any(text.startswith("alert ") for text in timeline(tmp_path, usual()).texts)
