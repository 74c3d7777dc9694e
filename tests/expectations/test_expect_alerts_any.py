"""``alerts``: whatever a history holds, there is a verdict, and no notification is counted as two lives."""

from __future__ import annotations

from typing import Any

from alert_rows import NAME, ORIGIN, Alerts, alert, look
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.history.alerts import incidents
from chaoskit.history.rows import Alert
from chaoskit.language.view import View

STEPS = st.lists(
    st.tuples(st.floats(-4.0, 10.9), st.sampled_from(["pending", "firing", "inactive"]), st.sampled_from("ab")),
    max_size=12,
)
SENT = st.lists(
    st.tuples(
        st.floats(-4.0, 10.9), st.sampled_from(["delivered", "resolved"]), st.sampled_from("ab"),
        st.sampled_from(["", "t1", "t2"]), st.sampled_from(["", "503"]),
    ),
    max_size=12,
)  # fmt: skip


@settings(deadline=None)
@given(STEPS, SENT, st.randoms())
def test_any_history_has_a_verdict(rehearse: Any, steps: Any, sent: Any, random: Any) -> None:
    """No order of rows crashes the judge, the order of arrival changes nothing, and its figures agree."""
    rows = [alert(at, state, labels={"service": key}) for at, state, key in steps]
    rows += [
        alert(at, state, source="alertmanager", labels={"service": key}, starts_at=life, refused=refused)
        for at, state, key, life, refused in sent
    ]
    rows = list({row.at: row for row in rows}.values())  # two things at one moment have no order

    def verdict(given: list[Alert]) -> list[Any]:
        rehearsal = rehearse()
        look(rehearsal)
        for row in given:
            rehearsal.add(row)
        view: View = rehearsal.view()
        found = []
        for asked in (
            {"name": NAME, "fires_within": "5s", "resolves_within": "3s", "delivered_within": "6s", "times": 1,
             "notifications": "<= 3", "severity": "P2", "runbook": "present"},
            {"name": NAME, "never": True},
            {"nothing_else": True},
        ):  # fmt: skip
            expectation = Alerts.model_validate(asked)
            expectation.awaits(view, ORIGIN + 12.0)
            found += expectation.judge(view)
        return found

    found = verdict(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert verdict(shuffled) == found
    lives = incidents(rows)
    by = {finding.id: finding for finding in found}
    assert by[f"alerts.{NAME}.never"].held == by["alerts.nothing_else"].held == (not lives)
    assert by[f"alerts.{NAME}.times"].held == (len(lives) == 1)
    assert all(life.ended is None or life.ended >= life.fired >= life.active for life in lives)
    if by[f"alerts.{NAME}.fires_within"].held:
        assert any(ORIGIN <= life.fired <= ORIGIN + 5.0 for life in lives)
    if by[f"alerts.{NAME}.resolves_within"].held:
        assert all(life.ended is not None and life.ended <= ORIGIN + 9.0 for life in lives)
    if by[f"alerts.{NAME}.delivered_within"].held:
        assert any(row.state == "delivered" and not row.refused for row in rows)


@given(st.integers(1, 5), st.integers(1, 6))
def test_repetitions_are_no_incidents(lives: int, repeats: int) -> None:
    """However often each life is told, by Prometheus or by Alertmanager, there are as many as began."""
    rows, at = [], 0.0
    for life in range(lives):
        for _ in range(repeats):
            rows.append(alert(at := at + 0.1, "delivered", source="prometheus", starts_at=f"t{life}"))
        rows.append(alert(at := at + 0.1, "resolved", source="prometheus", starts_at=f"t{life}"))
    assert len(incidents(rows)) == lives
    assert all(incident.ended is not None for incident in incidents(rows))
