"""The figure of retries: attempts of each operation, pauses, counts, bounds."""

from __future__ import annotations

from pathlib import Path

from figures_histories import Drawing, Made, drawn, scenarios

EXPECT = "  retries: {on: dep, attempts: '<= 2', backoff: {factor: '1.5..2.5', first: '< 1s'}}"


def retried(attempts: int, folder: Path, operations: int = 40) -> Drawing:
    """Every operation of the fault is tried so often, with pauses of 100 ms, 200 ms, 400 ms ..."""
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0).requests(-3.0, 4.0).closed()
    for number in range(operations):
        at, pause = number / 50, 0.1
        for attempt in range(attempts):
            made.exchange(f"ask-{150 + number}", at, 0.01, status=200 if attempt == attempts - 1 else None)
            at, pause = at + 0.01 + pause, pause * 2
    (scenario,) = scenarios(folder, expect=EXPECT)
    return drawn(scenario, made)["retries"]


def test_attempts_pauses_and_counts(tmp_path: Path) -> None:
    """With the findings beside them."""
    drawing = retried(3, tmp_path)
    assert "attempts at dep" in drawing.texts
    assert "30 of 40 calls tried more than once" in drawing.texts
    assert "pause 1: 100ms · p10–p90 100ms–100ms" in drawing.texts
    assert "pause 2: 200ms · p10–p90 200ms–200ms" in drawing.texts
    assert "✗ attempts ≤ 2 · 3 attempts" in drawing.texts
    assert "✓ backoff.factor 1.5..2.5 · 2×" in drawing.texts
    assert "bound: ≤ 2" in drawing.texts
    assert "40" in drawing.texts  # operations with three attempts


def test_both_ways_an_attempt_ended_are_named(tmp_path: Path) -> None:
    """The legend has what was seen and nothing else."""
    texts = retried(2, tmp_path).texts
    assert {"answered", "no answer"} <= set(texts)
    assert "5xx" not in texts


def test_nothing_was_retried(tmp_path: Path) -> None:
    """No pauses to show, and no panel for them."""
    drawing = retried(1, tmp_path)
    assert "30 of 40 calls seen, none retried" in drawing.texts
    assert "pauses" not in drawing.texts


def test_more_attempts_than_columns(tmp_path: Path) -> None:
    """A retry storm stays one figure of a bounded size."""
    drawing = retried(25, tmp_path, operations=50)
    assert len(drawing.picture.svg) < 300_000
    assert "pause 7: " not in drawing.text


def test_only_where_retries_are_judged(tmp_path: Path) -> None:
    """A second figure that says nothing would be in the way."""
    (scenario,) = scenarios(tmp_path)
    assert list(drawn(scenario, Made())) == ["timeline"]
