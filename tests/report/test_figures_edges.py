"""Figures of histories that are short, strange or hostile."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures_histories import Made, drawn, scenarios, usual

from chaoskit.history import rows as r
from chaoskit.report.figures import style, text

RETRIES = "  retries: {on: dep, attempts: '<= 3', backoff: {factor: '1.5..2.5', first: '< 1s'}}"


def test_an_empty_history(tmp_path: Path) -> None:
    """Says so, says why, and shows the faults where they were planned."""
    (scenario,) = scenarios(tmp_path, faults=2, expect=RETRIES)
    pictures = drawn(scenario, Made())
    assert "! BROKEN" in pictures["timeline"].text
    assert "nothing was recorded" in pictures["timeline"].texts
    assert pictures["timeline"].texts.count("! never injected") == 2
    assert pictures["timeline"].ids("fault-") == ["fault-1", "fault-2"]
    assert "no call was seen" in pictures["retries"].texts


def test_one_request(tmp_path: Path) -> None:
    """A single point makes no axis of no length."""
    (scenario,) = scenarios(tmp_path)
    assert "answered 1" in drawn(scenario, Made().requests(-3.0, -2.99))["timeline"].texts


def test_no_fault_was_injected(tmp_path: Path) -> None:
    """The run broke off in the steady phase: the plan is drawn dashed, nothing is shaded."""
    (scenario,) = scenarios(tmp_path)
    drawing = drawn(scenario, Made().phases(0.0).requests(-3.0, 0.0))["timeline"]
    assert "! never injected" in drawing.texts
    assert drawing.ids("fault-") == ["fault-1"]
    assert drawing.ids("latency-ask-shade-") == []


def test_a_fault_that_failed(tmp_path: Path) -> None:
    """Its error stands in the margin, cut to what fits."""
    (scenario,) = scenarios(tmp_path)
    made = Made().phases(0.0, 1.0).fault(0, 0.0, 1.0, error="no such port " * 50).requests(-3.0, 1.0)
    (note,) = [words for words in drawn(scenario, made)["timeline"].texts if words.startswith("! failed: ")]
    assert note.startswith("! failed: no such port")
    assert note.endswith("…")


@pytest.mark.parametrize("seconds", [1e-9, 0.0, 4000.0, 1e6])
def test_latency_beyond_all_scales(tmp_path: Path, seconds: float) -> None:
    """From nothing to days."""
    (scenario,) = scenarios(tmp_path)
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 4.0, seconds=lambda at: seconds if at > 0 else 0.05)
    assert "ask" in drawn(scenario, made)["timeline"].texts


def test_all_at_one_moment(tmp_path: Path) -> None:
    """Phases, faults and samples without any length."""
    (scenario,) = scenarios(tmp_path, expect="  resources: {stub: {threads: returns}}")
    made = Made().phases(-3.0, -3.0, -3.0).fault(0, -3.0, -3.0).requests(-3.0, -2.99).closed()
    made.history.add(r.Sample(service="stub", name="process.threads", at=1000.0, value=0.0))
    assert drawn(scenario, made)["timeline"].ids("fault-") == ["fault-1"]


def test_more_faults_than_lanes(tmp_path: Path) -> None:
    """Each still has its bar and its shade."""
    (scenario,) = scenarios(tmp_path, faults=20)
    drawing = drawn(scenario, usual(20))["timeline"]
    assert len(drawing.ids("fault-")) == 20
    assert len(drawing.ids("latency-ask-shade-")) == 20
    assert "8 more faults" in drawing.texts


def test_more_operations_than_panels_are_named(tmp_path: Path) -> None:
    """What is not drawn is not hidden."""
    (scenario,) = scenarios(tmp_path, operations=5)
    made = usual()
    for number in range(5):
        made.requests(-3.0, 4.0, op=f"op-{number}", rate=5)
    texts = drawn(scenario, made)["timeline"].texts
    assert {"ask", "op-0", "op-1"} <= set(texts)
    assert any("not drawn: op-2, op-3, op-4" in words for words in texts)


def test_text_from_outside_is_escaped_masked_and_never_mathematics(tmp_path: Path) -> None:
    """Markup, formulas, control characters, other scripts, turned writing, half a surrogate, a password."""
    (scenario,) = scenarios(tmp_path, name="'<script>alert(1)</script> $x$ 支付 отказ 🔥 & ]]>'")
    error = "\x00\x1b[31m<b>\n$\\frac{1}{2}$ \u202e \udcff password=hunter2"
    made = Made().phases(0.0, 1.0).fault(0, 0.0, 1.0, error=error).requests(-3.0, 1.0)
    made.event("<o&>\x07支付", 0.5, '"><img src=x>')
    drawing = drawn(scenario, made, note="token=abcdef <i>")["timeline"]
    assert "<script>alert(1)</script> $x$ 支付 отказ 🔥 & ]]>" in drawing.texts
    assert "token=*** <i>" in drawing.texts
    assert "process <o&>\N{REPLACEMENT CHARACTER}支付" in drawing.texts
    assert r"$\frac{1}{2}$" in drawing.text
    for hidden in (b"hunter2", b"abcdef", b"<script", b"<img", b"\x1b", "\u202e".encode()):
        assert hidden not in drawing.picture.svg


def test_each_combination_of_a_matrix_has_a_figure_of_its_own(tmp_path: Path) -> None:
    """Its values stand in the title."""
    found = scenarios(tmp_path, more="matrix: {delay: [200ms, '<&>']}\ndescription: '{{ matrix.delay }}'")
    titles = [drawn(scenario, usual())["timeline"].text for scenario in found]
    assert "delay=200ms" in titles[0]
    assert "delay=<&>" in titles[1]


def test_a_cut_text_is_as_wide_as_it_may_be() -> None:
    """Measured, not counted: capitals take more room than points."""
    with style.applied():
        for words in ("W" * 300, "." * 300, "支" * 300):
            cut = text.fit(words, 2.0)
            assert cut.endswith("…")
            assert 1.7 < text.width(cut) <= 2.0
        assert text.fit("short", 2.0) == "short"
        assert text.fit("", 2.0) == ""


def test_a_long_reason_goes_over_two_lines() -> None:
    """Broken between words; the rest is cut."""
    with style.applied():
        lines = text.wrap("one two three " * 60, 4.0, 2)
        assert text.wrap("one two", 4.0, 2) == ["one two"]
    assert len(lines) == 2
    assert lines[0].split()[-1] in ("one", "two", "three")
    assert lines[1].endswith("…")
