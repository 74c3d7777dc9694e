"""``noop``, and what holds for every expectation in the room."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chaoskit.history.store import History
from chaoskit.language.expectation import EXPECTATIONS, Expectation, Outcome
from chaoskit.language.view import View

MINIMAL = {
    "after": {"place-order": {"p99": "< 1s"}},
    "breaker": {"on": "payments", "opens_within": "2s", "probes_every": "1s ± 30%", "closes_within": "3s"},
    "during": {"place-order": {"p99": "< 1s", "requests": ">= 1"}},
    "ledger": {"writes": "place-order", "read": {"sql": "select 1", "on": "postgres"}},
    "noop": {},
    "recovery": {"within": "5s"},
    "resources": {"orders": {"open_files": "returns"}},
    "responses": {"of": "place-order", "count": ">= 1"},
    "retries": {"on": "payments", "attempts": "<= 3", "backoff": {"factor": "2..3"}},
}


def test_held(rehearse, by_id):
    """It holds on any history, and shows its note."""
    run = rehearse()
    run.traffic()
    finding = by_id(EXPECTATIONS.get("noop")(note="to be written"), run.view())["noop"]
    assert (finding.outcome, finding.expected, finding.samples) == (Outcome.HELD, "to be written", 640)


@pytest.mark.parametrize("name", MINIMAL)
def test_every_expectation_is_found_by_its_name(name):
    """The file's name is the name in scenarios, and the class is named after it."""
    model = EXPECTATIONS.get(name)
    assert issubclass(model, Expectation)
    assert model.__name__.lower() == name
    assert model.__doc__


@pytest.mark.parametrize("name", MINIMAL)
def test_nothing_holds_on_an_empty_history(name):
    """A run in which nothing was seen is never a pass (but for noop), and judging it does not crash."""
    findings = list(EXPECTATIONS.get(name).model_validate(MINIMAL[name]).judge(View(History())))
    assert findings
    assert all(finding.held == (name == "noop") for finding in findings)
    assert all(finding.outcome is not Outcome.VIOLATED for finding in findings)


@pytest.mark.parametrize("name", MINIMAL)
def test_judging_is_pure(rehearse, name):
    """Judged twice, a history gives the same findings, and it is not changed."""
    run = rehearse()
    for request in run.traffic():
        run.call(request.sent - run.origin, id=request.id)
    run.samples("process.open_files", lambda at: 10)
    view, expectation = run.view(), EXPECTATIONS.get(name).model_validate(MINIMAL[name])
    before = run.history.counts()
    assert list(expectation.judge(view)) == list(expectation.judge(run.view()))
    assert run.history.counts() == before


def test_loading_needs_nothing_heavy():
    """A thousand scenarios are loaded without the histogram, an HTTP client or a database driver."""
    code = (
        "import sys; from chaoskit.language.expectation import EXPECTATIONS\n"
        f"for name in {sorted(MINIMAL)!r}: EXPECTATIONS.get(name)\n"
        "print([m for m in ('hdrh', 'aiohttp', 'psycopg', 'docker', 'faker', 'jinja2', 'asyncio') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("name", MINIMAL)
def test_every_expectation_has_a_json_schema(name):
    """Editors complete and check what may stand below its key."""
    assert EXPECTATIONS.get(name).model_json_schema()
