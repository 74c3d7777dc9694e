"""What a bound needs, what a scenario plans, and that too little is told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.base.errors import InputError
from chaoskit.language.bounds import Bound
from chaoskit.language.loader import find, load
from chaoskit.language.samples import needed, share_needs, steady_guard
from chaoskit.language.shortages import refuse_too_few, shortages

ROOT = Path(__file__).parents[2]

TEXT = """\
scenario: Made up
environment: {services: {stub: {provider: noop}}}
traffic:
  ask: {request: "GET {{ stub.url }}/", rate: 50/s, timeout: 1s}
steady_state:
  ask: {success_rate: ">= 99%"}
timeline:
  steady: 3s
  faults:
    - slow: {noop: {}, at: 0s, for: 2s}
expect:
  during: {ask: {p99: "< 1s"}}
"""


def told(tmp_path: Path, *changes: tuple[str, str]) -> list[str]:
    """The shortages of a scenario that is changed in places, without the file's name."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "a.chaos.yaml"
    file.write_text(text, encoding="utf-8")
    (scenario,) = load(file)
    return [str(problem).split(".chaos.yaml:")[1] for problem in shortages(scenario)]


@pytest.mark.parametrize(
    ("bound", "samples"),
    [(">= 99.9%", 1000), ("> 99%", 100), ("<= 1%", 100), (">= 95%", 20), ("= 100%", 20), ("1%..9%", 100)],
)
def test_what_a_share_needs(bound: str, samples: int) -> None:
    """As many as tell the limit from 100 % or 0 %."""
    assert share_needs(Bound.parse(bound, "ratio")) == samples


@given(st.integers(1, 9999))
def test_with_what_is_needed_one_failure_can_be_afforded(permyriad: int) -> None:
    """And with one sample fewer it cannot: the bound would mean 100 % (unless the floor of 20 is more)."""
    bound = Bound("", "ratio", low=1 - permyriad / 10_000)
    need = share_needs(bound)
    assert bound.holds((need - 1) / need)
    if need > 20 and permyriad <= 5000:
        assert not bound.holds((need - 2) / (need - 1))


def test_what_percentiles_need() -> None:
    """1 / (1 - p)."""
    bound = Bound.parse("< 1s", "duration")
    assert [needed(metric, bound) for metric in ("p50", "p95", "p99", "p999", "max")] == [10, 20, 100, 1000, 10]


def test_just_enough(tmp_path: Path) -> None:
    """50/s for 3 s less the time limit of 1 s, and for 2 s of fault: 100 each."""
    assert told(tmp_path) == []


def test_one_too_few(tmp_path: Path) -> None:
    """Each bound is told with its line, what there is, and what would do."""
    assert told(tmp_path, ("50/s", "49/s")) == [
        "6: success_rate >= 99% needs 100 requests; 49/s in a steady phase of 3s, less 1s for requests that the fault "
        "strikes under way, gives 98; legal: rate: 50/s, steady: 3.1s",
        "12: p99 < 1s needs 100 requests; 49/s in 2s of faults gives 98; legal: rate: 50/s, for: 2.1s",
    ]


@pytest.mark.parametrize("cure", [("rate: 49/s", "rate: 50/s"), ("steady: 3s", "steady: 3.1s")])
def test_what_is_told_is_a_cure(tmp_path: Path, cure: tuple[str, str]) -> None:
    """Whoever does what is told is not told again."""
    fault = ("for: 2s", "for: 2.1s")
    assert len(told(tmp_path, ("50/s", "49/s"), fault)) == 1
    assert told(tmp_path, ("50/s", "49/s"), fault, cure) == []


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        # What answers within 200 ms is not under way for longer.
        ([("50/s", "50/s"), ("steady: 3s", "steady: 2.2s"), (">= 99%\"", ">= 99%\", p95: \"< 200ms\"")], 0),
        ([("steady: 3s", "steady: 2.2s")], 1),
        ([("50/s", "25/s, copies: 2")], 0),
        ([("for: 2s}", "for: 1s}\n    - other: {noop: {}, at: 3s, for: 1s}")], 0),
        # Together they are active for 1.5 s.
        ([("for: 2s}", "for: 1s}\n    - other: {noop: {}, at: 500ms, for: 1s}")], 1),
        ([("for: 2s}", "for: 1s}\n    - more: {burst: {operation: ask, rate: 50/s}, at: 0s, for: 1s}")], 0),
        ([("for: 2s}", "for: 1s}\n    - more: {burst: {operation: ask, count: 50}, at: 0s, for: 1s}")], 0),
        ([("for: 2s}", "for: 1s}\n    - more: {burst: {operation: ask, count: 49}, at: 0s, for: 1s}")], 1),
        ([("50/s", "50/s, arrival: poisson")], 2),
        ([("50/s", "62/s, arrival: poisson")], 0),
        ([("rate: 50/s", "rate: 0/s")], 2),
        ([("steady: 3s", "steady: 0s")], 1),
        ([("during: {ask: {p99", "after: {ask: {p50"), ("steady: 3s", "steady: 3s\n  after: 100ms")], 1),
        ([("during: {ask: {p99: \"< 1s\"}}", "responses: {of: ask, share: \"<= 0.5%\"}")], 1),
        # How long the recovery takes only the run tells.
        ([("during: {ask: {p99: \"< 1s\"}}", "responses: {of: ask, phase: recovery, share: \"<= 0.5%\"}")], 0),
    ],
)  # fmt: skip
def test_planned_samples(tmp_path: Path, change: list[tuple[str, str]], problems: int) -> None:
    """Rate, copies, bursts, and the time that faults are active together."""
    assert len(told(tmp_path, *change)) == problems


def test_a_guard_leaves_half_the_phase() -> None:
    """However short the phase and slow the answers."""
    assert [steady_guard(3.0), steady_guard(1.0), steady_guard(3.0, 0.2), steady_guard(0.0)] == [1.0, 0.5, 0.2, 0.0]


def test_all_are_told_at_once(tmp_path: Path) -> None:
    """And what two scenarios of a matrix have in common once."""
    file = tmp_path / "a.chaos.yaml"
    text = TEXT.replace("50/s", "9/s").replace("at: 0s", "at: '{{ matrix.at }}'") + "matrix: {at: [0s, 1s]}\n"
    file.write_text(text, encoding="utf-8")
    scenarios = load(file)
    assert len(scenarios) == 2
    with pytest.raises(InputError) as caught:
        refuse_too_few(scenarios)
    assert [problem.line for problem in caught.value.problems] == [6, 12]


def test_what_is_shipped_has_enough() -> None:
    """Scenarios and examples of this repository."""
    for file in find([ROOT / "scenarios", ROOT / "examples"]):
        refuse_too_few(load(file))


def test_what_is_relative_needs_the_steady_phase_too(tmp_path: Path) -> None:
    """As many there as under the faults: told with the line of the bound."""
    relative = ('p99: "< 1s"', 'p99: "<= 3x steady"')
    assert told(tmp_path, relative) == []
    assert told(tmp_path, relative, ("steady: 3s", "steady: 2.5s"), (">= 99%", ">= 95%")) == [
        "12: p99 <= 3x steady needs 100 requests; 50/s in a steady phase of 2.5s, less 1s for requests that the fault "
        "strikes under way, gives 75; legal: rate: 67/s, steady: 3s"
    ]
    (few,) = told(tmp_path, relative, ("for: 2s", "for: 1s"))
    assert few.startswith("12: p99 <= 3x steady needs 100 requests; 50/s in 1s of faults gives 50")
