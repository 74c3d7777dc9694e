"""Times of a timeline in which a breaker could never be judged are told at load."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.language.loader import load

DEFAULT = "{on: db, opens_within: 2s, probes_every: 1s ± 30%, closes_within: 3s}"


def written(desk: Any, faults: str, breaker: str = DEFAULT) -> str:
    """The scenario with these faults, as ``kind at for``, and a breaker, which HTTP is read for."""
    environment = desk.edit("provider: redis", "command: serve\n    protocol: http", desk.environment)
    desk.environment_file.write_text(environment, encoding="utf-8")
    old = desk.scenario[desk.scenario.index("    - slow-db") : desk.scenario.index("  recovery: 15s\nexpect")]
    lines = []
    for number, fault in enumerate(faults.split(", ")):
        on, at, length = fault.split()
        kind = f"latency: {{on: {on}, delay: 1s}}" if on == "db" else f"pause: {{service: {on}}}"
        lines.append(f"    - f{number}:\n        {kind}\n        at: {at}\n        for: {length}\n")
    text = desk.edit(old, "".join(lines))
    return desk.edit("  recovery: {within: 5s}\n", f"  recovery: {{within: 5s}}\n  breaker: {breaker}\n", text)


@pytest.mark.parametrize(
    ("faults", "breaker", "line", "says"),
    [
        ("db 0s 5s", DEFAULT, "for: 5s", ("5s of fault are too short to judge the breaker on db: it may open after 2s "
            "and 3 probes, 1s ± 30%, may take 3.9s; legal: for: 5.9s or longer",)),
        ("db 0s 6s, db 20s 4s", DEFAULT, "for: 4s", ("4s of fault are too short",)),
        ("db 0s 3s, db 2s 3s", DEFAULT, "for: 3s", ("5s of fault are too short", "legal: for: 3.9s or longer")),
        ("orders 0s 5s", DEFAULT, "for: 5s", ("5s of fault are too short",)),
        ("db 0s 4s", "{on: db, opens_within: 2s, probes_every: 60s ± 20%}", "for: 4s", ("218s or longer",)),
        ("db 0s 4s", "{on: db, opens_within: 5s}", "for: 4s", ("it may open after 5s; legal: for: 5s or longer",)),
        ("db 0s 4s", "{on: db, probes_every: '>= 10s'}", "for: 4s", ("5s without a call tell that it has opened",)),
        ("db 0s 6s, db 9s 6s", DEFAULT, "at: 9s", ("3s after the fault before are too short to judge whether the "
            "breaker on db closes within 3s; legal: at: 10s or later",)),
    ],
)  # fmt: skip
def test_refused_with_the_line_and_what_would_do(
    desk: Any, faults: str, breaker: str, line: str, says: tuple[str, ...]
) -> None:
    """Each message names the fault's own line."""
    text = written(desk, faults, breaker)
    (problem,) = desk.problems(text)
    assert text.splitlines()[problem.line - 1].strip() == line
    for words in says:
        assert words in str(problem)


@pytest.mark.parametrize(
    ("faults", "breaker"),
    [
        ("db 0s 5900ms", DEFAULT),
        ("db 0s 6s, db 10s 6s", DEFAULT),
        ("db 0s 3s, db 3s 3s", DEFAULT),
        ("db 0s 6s, orders 7s 1s", DEFAULT),
        ("db 0s 6s, db 7s 6s", "{on: db, opens_within: 2s, probes_every: 1s ± 30%}"),
        ("db 0s 1s", "{on: db, closes_within: 3s}"),
        ("db 0s 5s", "{on: db, probes_every: '>= 10s'}"),
    ],
)
def test_long_enough(desk: Any, faults: str, breaker: str) -> None:
    """Just enough, faults of others, and bounds that need no time."""
    assert desk.load(written(desk, faults, breaker))


def test_what_has_run_is_judged_as_far_as_it_goes(desk: Any) -> None:
    """A recorded scenario from before this rule can still be read."""
    desk.file.write_text(written(desk, "db 0s 5s"), encoding="utf-8")
    (desk.folder / "environment.yaml").write_text(desk.environment, encoding="utf-8")
    assert load(desk.file, recorded=desk.folder)
