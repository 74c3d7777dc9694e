"""docs/verdicts.md names the figures that the code uses."""

from __future__ import annotations

import re
from pathlib import Path

from chaoskit.engine import run
from chaoskit.expectations import _circuit, _lasting, _samples, breaker, retries
from chaoskit.judge import judging
from chaoskit.language import samples
from chaoskit.language.bounds import Bound
from chaoskit.language.operation_bounds import OperationBounds

TEXT = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")


def needed() -> dict[str, int]:
    """Samples needed by figure, from the page's table."""
    rows = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| `")]
    return {
        name: int(row[1].split()[0])
        for row in rows
        if len(row) == 2 and row[1][:1].isdigit() and "%" not in row[0]
        for name in row[0].replace("`", "").split(", ")
    }


def test_samples_needed_by_operations():
    """The table has every metric of an operation, with the number that the judge asks for."""
    table = needed()
    for metric in OperationBounds.model_fields:
        assert table[metric] == samples.needed(metric, Bound.parse(">= 50%", "ratio")), metric


def test_samples_needed_by_shares():
    """The table by bounds is what the formula gives."""
    rows = re.findall(r"^\| ((?:`[^`|]*%`(?:, )?)+) \| (\d+)", TEXT, re.MULTILINE)
    found = {bound: int(count) for bounds, count in rows for bound in re.findall("`([^`]*)`", bounds)}
    assert len(found) >= 13
    assert {bound: samples.share_needs(Bound.parse(bound, "ratio")) for bound in found} == found


def test_samples_needed_by_the_others():
    """Those of retries, breakers, responses and resources."""
    table = needed()
    assert table["retries: every bound"] == retries.NEEDED
    assert table["breaker.probes_every"] == breaker.PAUSES_NEEDED
    assert table["responses: share"] == samples.share_needs(Bound.parse("= 100%", "ratio"))
    assert table["resources: every rule"] == _samples.NEEDED


def test_limits():
    """The other figures of the page, with the words around them."""
    page = " ".join(TEXT.split())
    for words in (
        f"more than {judging.LAG_LIMIT * 1000:.0f} ms late at its 99th percentile",
        f"At most the last {samples.STEADY_GUARD:g} s is left out",
        f"steady state held for {judging.RECOVERY_WINDOW / 2:g} s, or after {run.WARM_UP:g} s",
        f"every bound of every operation holds over [t, t + {judging.RECOVERY_WINDOW:g} s)",
        f"a later t needs {_lasting.LASTS * judging.RECOVERY_WINDOW:g} s of its own",
        f"began more than {retries.GRACE * 1000:.0f} ms later than the deadline",
        f"at most {_circuit.OPEN_SHARE * 100:.0f} % of `rate` come",
        f"{_circuit.CLOSED_SHARE * 100:.0f} % of `rate` come within {_circuit.CLOSED_SPAN:g} s",
        f"at least {breaker.USUAL_CALLS} calls must usually come in `quiet`",
        f"`{2 * breaker.USUAL_CALLS} / lower limit`",
        f"without `probes_every`: {breaker.RARE_CALLS} / `rate`",
        f"`opens_within` + {breaker.PAUSES_NEEDED + 1} × upper limit",
    ):
        assert words in page
