"""The timeline figure: what stands in it, by its structure and words, not by its pixels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest
from figures_histories import FAULT, SVG, Drawing, Made, drawn, scenarios, usual

from chaoskit.history import rows as r
from chaoskit.report.figures import Picture, draw, gauges, lanes
from chaoskit.report.figures.bounds import lines
from chaoskit.report.figures.facts import Facts


def timeline(folder: Path, made: Made, **scenario: object) -> Drawing:
    """The timeline of a made-up history."""
    (loaded,) = scenarios(folder, **scenario)  # type: ignore[arg-type]  # passed on
    return drawn(loaded, made)["timeline"]


def test_outcome_name_and_circumstances_stand_above(tmp_path: Path) -> None:
    """Who sees only the picture knows what it is of."""
    text = timeline(tmp_path, usual()).text
    assert "✓ HELD" in text
    assert "Made up" in text
    assert "case C1 · critical · environment inline · 350 requests" in text


@pytest.mark.parametrize("faults", [1, 2, 5])
def test_a_bar_for_each_fault_and_its_shade_in_each_panel(tmp_path: Path, faults: int) -> None:
    """As many fault windows as planned."""
    drawing = timeline(tmp_path, usual(faults), faults=faults)
    numbers = [str(number) for number in range(1, faults + 1)]
    assert drawing.ids("fault-") == [f"fault-{number}" for number in numbers]
    assert drawing.ids("latency-ask-shade-") == [f"latency-ask-shade-{number}" for number in numbers]
    for number in range(faults):
        assert f"fault-{number}" in drawing.texts
    assert drawing.text.count("touched 3 connections") == faults


def test_shades_lie_where_the_faults_were(tmp_path: Path) -> None:
    """A second fault of the same length begins one length right of the first."""
    drawing = timeline(tmp_path, usual(2), faults=2)
    edges = []
    for name in drawing.ids("latency-ask-shade-"):
        (path,) = [
            found for group in drawing.root.iter() if group.get("id") == name for found in group if found.get("d")
        ]
        across = [float(part.split()[0]) for part in path.get("d", "").replace("M", "L").split("L")[1:]]
        edges.append((min(across), max(across)))
    (first, first_end), (second, second_end) = edges
    assert first_end == pytest.approx(second, abs=0.1)
    assert second_end - second == pytest.approx(first_end - first, abs=0.1)


def test_requests_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    """Answered, fallback and failed, each with its number."""
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 4.0, ok=lambda at: not 0.5 <= at < 1.0, fallback=lambda at: 0 <= at < 0.5)
    text = timeline(tmp_path, made).text
    assert {"answered 300", "fallback 25", "failed 25", "p50", "p99"} <= set(text.splitlines())


def test_bounds_stand_at_the_right_with_what_was_seen(tmp_path: Path) -> None:
    """Bound, sign and figure."""
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 4.0, rate=200, seconds=lambda at: 2.0 if 0 <= at < 1 else 0.05)
    text = timeline(tmp_path, made).text
    assert "✗ VIOLATED" in text
    assert "✓ steady p95 < 400ms · 50ms" in text
    assert "✗ during p95 < 1s · 2s" in text
    assert "✓ during success ≥ 90% · 100%" in text


def test_a_bound_of_the_steady_state_stands_at_its_limit(tmp_path: Path) -> None:
    """A line at the milliseconds that it came to, and both beside it."""
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 4.0, rate=200, seconds=lambda at: 0.2 if 0 <= at < 1 else 0.05)
    (scenario,) = scenarios(tmp_path, during="<= 3x steady")
    (line,) = [
        each
        for each in lines(Facts(scenario, made.history, made.judged(scenario)), "ask", {"p95"})
        if each.note.text.startswith("during")
    ]
    assert line.levels == pytest.approx([0.15], rel=0.002)
    words = " ".join(drawn(scenario, made)["timeline"].text.split())
    assert "✗ during p95 ≤ 3x steady (= 150ms) · 200ms" in words


def test_every_finding_that_failed_is_named(tmp_path: Path) -> None:
    """The reason names one; the others stand below it, also those that have no line in the picture."""
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 4.0, seconds=lambda at: 2.0 if 0 <= at < 1 else 0.05)
    text = timeline(tmp_path, made, expect="  resources: {stub: {pid: unchanged}}").text
    assert "during.ask.p95: expected < 1s, seen 2s" in text
    assert "also not held: resources.stub.pid" in text


def test_recovery_is_measured_out(tmp_path: Path) -> None:
    """The time from the last cure to steady state, beside its arrow and in the margin."""
    made = Made().phases(0.0, 1.0, 6.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 6.0, ok=lambda at: not 0 <= at < 2.5)
    drawing = timeline(tmp_path, made)
    assert "1.5s" in drawing.texts
    assert "✓ within 4s · after 1.5s" in drawing.texts
    assert "at once" not in drawing.texts


def test_no_recovery_is_told(tmp_path: Path) -> None:
    """A steady state that never came back is no empty lane."""
    made = Made().phases(0.0, 1.0, 10.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 10.0, ok=lambda at: at < 0)
    text = timeline(tmp_path, made).text
    assert "steady state did not come back" in text
    assert "✗ within 4s · not within" in text


def test_recovery_at_once(tmp_path: Path) -> None:
    """Nothing to measure: a mark instead of an arrow."""
    assert "at once" in timeline(tmp_path, usual()).texts


def test_a_fault_that_touched_nothing_is_told(tmp_path: Path) -> None:
    """It is why the scenario is vacuous."""
    made = Made().phases(0.0, 1.0, 4.0).fault(0, 0.0, 1.0, touched=0).requests(-3.0, 4.0).closed()
    text = timeline(tmp_path, made).text
    assert "? VACUOUS" in text
    assert "? touched nothing (0 connections)" in text


def test_processes_that_were_killed_and_restarted(tmp_path: Path) -> None:
    """A lane for each, with what happened and how long it was down; the end of a killed process counts once."""
    made = usual().event("orders", 0.1, "killed", detail="SIGKILL").event("orders", 0.2, "exited", code=-9)
    made.event("orders", 0.5, "restarted").event("orders", 0.9, "ready").event("late", 50.0, "killed")
    drawing = timeline(tmp_path, made)
    assert "process orders" in drawing.texts
    assert "killed SIGKILL" in drawing.texts
    assert "killed, restarted · down 800ms" in drawing.texts
    assert "process late" not in drawing.texts


def test_a_process_id_that_is_judged_stands_in_its_lane(tmp_path: Path) -> None:
    """That the process had to stay the same is said where it did not."""
    made = usual().event("stub", 0.1, "exited", code=2)
    for step in range(-12, 16):
        made.history.add(r.Sample(service="stub", name="process.pid", at=FAULT + step / 4, value=7.0 + (step > 0)))
    drawing = timeline(tmp_path, made, expect="  resources: {stub: {pid: unchanged}}")
    assert any(text.startswith("✗ pid unchanged · exited") for text in drawing.texts)


def test_a_process_that_dies_again_and_again_stays_one_lane(tmp_path: Path) -> None:
    """A crash loop is counted; its words do not pile up."""
    made = usual()
    for number in range(20):
        made.event("orders", number * 0.05, "exited", code=2).event("orders", number * 0.05 + 0.03, "restarted")
    drawing = timeline(tmp_path, made)
    assert sum(text.startswith("exited 20×, restarted 20×") for text in drawing.texts) == 1
    assert sum(text == "exit 2" for text in drawing.texts) <= 2


def test_calls_to_the_dependency_and_the_circuit(tmp_path: Path) -> None:
    """Where a breaker is judged its proxy's calls are drawn, and when it was open."""
    expect = '  breaker: {on: dep, opens_within: 2s, probes_every: "1s ± 30%", closes_within: 3s}'
    made = Made().phases(0.0, 6.0, 9.0).fault(0, 0.0, 6.0).requests(-3.0, 9.0).closed()
    calls = [number / 50 for number in range(-150, 450) if not 25 < number < 310] + [1.5, 2.5, 3.5, 4.5, 5.5]
    for number, at in enumerate(sorted(calls)):
        made.exchange(f"ask-{number}", at, 0.005, status=503 if 0 <= at < 6 else 200)
    text = timeline(tmp_path, made, length=6, expect=expect).text
    assert "calls to dep" in text
    assert "circuit open 5.7s, 5 probes" in text
    assert "✓ opens within 2s · after 505ms" in text
    assert "50/s in the steady phase" in text
    assert "5xx 31" in text


def test_the_circuit_in_each_fault(tmp_path: Path) -> None:
    """Two faults, two times that it was open, and closed between them."""
    expect = '  breaker: {on: dep, opens_within: 2s, probes_every: "1s ± 30%", closes_within: 3s}'
    made = Made().phases(0.0, 16.0, 20.0).fault(0, 0.0, 6.0).fault(1, 10.0, 16.0).requests(-3.0, 20.0).closed()
    opened = [range(26, 310), range(526, 830)]
    calls = [number / 50 for number in range(-150, 1000) if not any(number in one for one in opened)]
    calls += [at + 0.5 for start in (0, 10) for at in range(start + 1, start + 6)]
    for number, at in enumerate(sorted(calls)):
        made.exchange(f"ask-{number}", at, 0.005, status=503 if at % 10 < 6 else 200)
    text = timeline(tmp_path, made, faults=2, every=10, length=6, expect=expect).text
    assert "circuit open 5.7s, 5 probes" in text
    assert "circuit open 6.1s, 5 probes" in text
    assert text.count("circuit closed") == 1


def test_connections_cut_at_a_dependency_that_a_fault_acts_on(tmp_path: Path) -> None:
    """Without HTTP the connections are what is seen."""
    made = usual()
    for number in range(30):
        made.history.add(
            r.Connection(
                proxy="nothing", conn=number, client="a:1", opened=FAULT - 1, ended=FAULT + number / 40, sent=1,
                received=1, end="toxic" if number % 3 else "client",
            )
        )  # fmt: skip
    text = timeline(tmp_path, made).text
    assert "connections to nothing" in text
    assert "cut 20" in text
    assert "closed by client or server 10" in text


def test_gauges_that_are_judged(tmp_path: Path) -> None:
    """With the limit and the finding; a process id is no gauge."""
    made = usual()
    for step in range(-12, 16):
        pool = 8.0 if 0 <= step < 4 else 1.0
        for name, value in (("db_pool_in_use", pool), ("process.pid", 7.0), ("other", 3.0)):
            made.history.add(r.Sample(service="stub", name=name, at=FAULT + step / 4, value=value))
    text = timeline(tmp_path, made, expect="  resources: {stub: {db_pool_in_use: returns, pid: unchanged}}").text
    assert "stub db_pool_in_use" in text
    assert "✓ returns to at most 2.1 · 1" in text
    assert "stub pid" not in text
    assert "stub other" not in text


def test_a_gauge_with_bounds_by_time(tmp_path: Path) -> None:
    """They are no one level, and the picture is drawn without one."""
    made = usual()
    for step in range(-12, 16):
        made.history.add(r.Sample(service="stub", name="panics_total", at=FAULT + step / 4, value=max(0.0, step)))
    text = timeline(tmp_path, made, expect='  resources: {stub: {panics_total: {increase: ">= 1"}}}').text
    assert "stub panics_total" in text


@pytest.mark.parametrize("infinite", [range(-12, 0), range(16)])
def test_a_gauge_that_becomes_infinite(tmp_path: Path, infinite: range) -> None:
    """It is drawn as far as there is room for it."""
    made = usual()
    for step in range(-12, 16):
        value = inf if step in infinite else 2.0
        made.history.add(r.Sample(service="stub", name="queue", at=FAULT + step / 4, value=value))
    text = timeline(tmp_path, made, expect="  resources: {stub: {queue: returns}}").text
    assert "stub queue" in text
    assert "+Inf" in text


def test_long_series_are_thinned_and_keep_their_peak(tmp_path: Path) -> None:
    """Hours of samples are still a small file, and the one sample that went wrong is still seen."""
    made = usual()
    for step in range(40_000):
        value = 90.0 if step == 21_111 else float(step % 2)
        made.history.add(r.Sample(service="stub", name="pool", at=FAULT - 3 + step * 7 / 40_000, value=value))
    drawing = timeline(tmp_path, made, expect="  resources: {stub: {pool: returns}}")
    assert len(drawing.picture.svg) < 300_000
    rows = [r.Sample(service="s", name="n", at=float(at), value=90.0 if at == 21 else 0.0) for at in range(5000)]
    kept = gauges.thinned(rows)
    assert len(kept) <= gauges.MOST_SAMPLES
    assert rows[21] in kept
    assert kept == sorted(kept, key=lambda row: row.at)


def test_a_crash_loop_of_thousands_stays_small(tmp_path: Path) -> None:
    """Marks that would lie on each other are drawn once; the count is of all."""
    made = usual()
    for number in range(2000):
        at = number / 1000
        made.event("orders", at, "exited", code=2).event("orders", at + 0.0005, "restarted")
    drawing = timeline(tmp_path, made)
    assert len(drawing.picture.svg) < 300_000
    assert any(text.startswith("exited 2000×, restarted 2000×") for text in drawing.texts)


def test_what_others_took_of_the_machine_is_a_lane(tmp_path: Path) -> None:
    """With how much and when; where it was calm there is none."""
    assert "machine" not in timeline(tmp_path, usual()).texts
    made = usual()
    for index in range(4):
        at = FAULT + 0.5 + 0.25 * index
        made.history.add(
            r.Host(at=at, seconds=0.25, cores=2, late=0.006, own=0.4, foreign=1.5, waited=0.8, busiest=0.3)
        )
    texts = timeline(tmp_path, made).texts
    assert {"machine", "others took 1.5 of 2 processors", "disturbed 21% of the time"} <= set(texts)


def test_what_else_is_marked_is_one_more_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts, say: a lane with a span, a mark and a note, in looks that need not be known."""

    def alerts(_: Facts) -> Iterator[lanes.Lane]:
        span = lanes.Span(0.5, 1.5, "alert", "firing", "alert-1")
        yield lanes.Lane("alert Slow", [span], [lanes.Mark(2.0, "delivered", "delivered")], lanes.Note("P2", "held"))

    monkeypatch.setattr(lanes, "SOURCES", (*lanes.SOURCES, alerts))
    drawing = timeline(tmp_path, usual())
    assert {"alert Slow", "firing", "delivered", "✓ P2"} <= set(drawing.texts)
    assert drawing.ids("alert-") == ["alert-1"]


def test_the_note_stands_under_the_title(tmp_path: Path) -> None:
    """A control says that it is one."""
    (scenario,) = scenarios(tmp_path)
    assert "control: caught" in drawn(scenario, usual(), note="control: caught")["timeline"].texts


def test_nothing_is_set_smaller_than_eight_points(tmp_path: Path) -> None:
    """Readable when printed."""
    sizes = timeline(tmp_path, usual(5), faults=5).sizes
    assert sizes
    assert min(sizes) >= 8


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    """No date, no chance, no version of anything; another history gives others."""
    (scenario,) = scenarios(tmp_path)

    def once(made: Made) -> list[Picture]:
        return list(draw(scenario, made.history, made.judged(scenario)))

    assert once(usual()) == once(usual())
    assert once(usual()) != once(usual().event("orders", 0.1, "killed"))


def test_a_figure_is_drawn_quickly(tmp_path: Path) -> None:
    """Reports of forty scenarios must not keep anyone waiting: seconds of processor time, on a slow machine."""
    (scenario,) = scenarios(tmp_path, faults=5)
    made = usual(5)
    verdict = made.judged(scenario)
    list(draw(scenario, made.history, verdict))  # the first one imports matplotlib and reads its fonts
    began = time.process_time()
    list(draw(scenario, made.history, verdict))
    assert time.process_time() - began < 3


def test_many_points_stay_a_small_file(tmp_path: Path) -> None:
    """The points become a picture inside the SVG; the words stay words."""
    made = Made().phases(0.0, 60.0, 120.0).fault(0, 0.0, 60.0).closed()
    made.requests(
        -3.0, 120.0, rate=400, seconds=lambda at: 0.01 + (at * 7919) % 1, ok=lambda at: (at * 104729) % 1 > 0.1
    )
    drawing = timeline(tmp_path, made)
    assert len(drawing.picture.svg) < 300_000
    assert len(drawing.picture.png) < 1_000_000
    assert len(list(drawing.root.iter(f"{SVG}image"))) == 1
    assert "p99" in drawing.texts


def test_points_up_to_the_limit_stay_a_small_file(tmp_path: Path) -> None:
    """Just as many as are still drawn as shapes, and those the largest ones."""
    made = Made().phases(0.0, 1.0, 9.0).fault(0, 0.0, 1.0).closed()
    made.requests(-3.0, 9.0, rate=100, seconds=lambda at: 0.01 + (at * 7919) % 1, ok=lambda at: at < 0)
    drawing = timeline(tmp_path, made)
    assert list(drawing.root.iter(f"{SVG}image")) == []
    assert len(drawing.picture.svg) < 300_000
