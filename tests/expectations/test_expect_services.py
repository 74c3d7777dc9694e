"""A service that ended though nothing in the scenario made it is found; all that was meant is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaoskit.expectations.services import Services, unasked_ends
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.view import View

PHASES = [
    r.Phase(name=name, started=started, ended=ended)
    for name, started, ended in (("steady", 100, 102), ("faults", 102, 106), ("recovery", 106, 108))
]
FAULT = r.Fault(
    name="slow", kind="latency", target="payments", planned_start=102, planned_end=106, started=102, injected=102.1,
    ended=106, touched=3, unit="connections",
)  # fmt: skip
RUN = r.SopRun(
    sop="mend", alert="Slow", fingerprint="f", incident="Slow-1", severity="P1", action_type="restart",
    target_service="orders", priority="high", queued=102.5, started=103,
)  # fmt: skip
DIED = r.Event(service="postgres", at=103.6, what="exited", pid=7, code=-9)
SEEN = "it ended (killed by SIGKILL) at +1.6 s and did not come back"


def event(**more: Any) -> r.Event:
    """Another event of the same process."""
    return msgspec.structs.replace(DIED, **more)


def fault(**more: Any) -> r.Fault:
    """Another fault."""
    return msgspec.structs.replace(FAULT, **more)


def sop(**more: Any) -> r.SopRun:
    """Another run of the SOP."""
    return msgspec.structs.replace(RUN, **more)


def view(*rows: r.Row) -> View:
    """A history whose faults of the kind ``exit`` end their target with the status 3."""
    history = History()
    for row in (*PHASES, *rows):
        history.add(row)
    return View(
        history,
        died_of=lambda fault, end: fault.kind == "exit" and fault.target == end.service and end.code == 3,
    )


def found(*rows: r.Row) -> list[str]:
    """What is said of each end."""
    return [finding.seen for finding in unasked_ends(view(*rows), [])]


@pytest.mark.parametrize(
    "rows",
    [
        [DIED, FAULT],
        [DIED, fault(target="postgres"), fault(target="postgres", kind="exit")],
        [DIED, event(at=104, what="killed", service="orders"), event(at=104, what="killed")],
        [DIED, FAULT, RUN, sop(target_service="postgres", started=105), sop(target_service="postgres", started=None)],
        [DIED, FAULT, sop(target_service="postgres", started=102, ended=102.5)],
        [event(at=101, what="started", code=None), DIED, FAULT, event(at=104, pid=8, what="restarted")],
    ],
    ids=["alone", "on its proxy", "signals to others", "SOPs of others, later, skipped", "an SOP before", "not ready"],
)  # fmt: skip
def test_found(rows: list[r.Row]) -> None:
    """A fault on its proxy is no reason, nor one with another status, nor what came later or was for others."""
    assert found(*rows) == [SEEN] if FAULT in rows else found(*rows)[0].startswith("it ended (killed by SIGKILL) at +")


@pytest.mark.parametrize(
    "rows",
    [
        [event(what="killed", at=103.5), DIED],
        [event(detail=r.ASKED)],
        [event(code=3), fault(kind="exit", target="postgres")],
        [event(code=3, at=106.9), fault(kind="exit", target="postgres")],
        [DIED, sop(target_service="postgres")],
        [DIED, sop(target_service="postgres", ended=103)],
        [DIED, sop(steps=[{"action": "restart", "target": "postgres"}])],
        [DIED, sop(runner="http://127.0.0.1:9", ended=103)],
        [event(what="restarted")],
        [event(what="killed", at=103.5), event(pid=8, code=None)],
        [event(at=103.5, pid=8, code=None, detail=r.ASKED), DIED],
    ],
    ids=[
        "signal", "asked", "fault", "just after", "SOP", "SOP just before", "step", "platform", "no exit",
        "signal to its shell, too", "asked before its shell",
    ],
)  # fmt: skip
def test_not_accused(rows: list[r.Row]) -> None:
    """What a signal, a fault that ends its target, an SOP or an orderly stop has done."""
    assert found(FAULT, *rows) == []


@pytest.mark.parametrize("at", [107.1, 100.5, 109.0])
def test_a_fault_excuses_no_other_time(at: float) -> None:
    """Neither before it nor a second after it was lifted."""
    assert len(found(fault(kind="exit", target="postgres"), event(at=at, code=3))) == 1


def test_what_is_told() -> None:
    """Whether it came back, how often it ended, before the first fault, without any, and what it wrote last."""
    back = [DIED, event(at=103.7, pid=8, what="restarted"), event(at=104.1, pid=8, what="ready")]
    assert found(FAULT, *back) == ["it ended (killed by SIGKILL) at +1.6 s and was back after 500ms"]
    again = [*back, event(at=105, pid=8, code=1)]
    assert found(FAULT, *again) == ["it ended (killed by SIGKILL) at +1.6 s and 1 more time and did not come back"]
    assert found(FAULT, event(at=101.5, code=3)) == ["it ended (exit status 3) at -0.5 s and did not come back"]
    assert found(event(at=101.5)) == ["it ended (killed by SIGKILL) at +1.5 s and did not come back"]
    lines = [r.Log(service=name, at=103 + n / 10, line=f"{name} {n}") for n in range(9) for name in ("postgres", "x")]
    (finding,) = unasked_ends(view(FAULT, DIED, *lines), [])
    assert finding.id == "services.postgres.ends"
    assert finding.rows == tuple(f"postgres {n}" for n in range(2, 7))


def test_what_ends_behind_a_shell() -> None:
    """Nobody knows its status. With the shell it has ended once, with one that took its place twice; and a signal to an
    earlier one is no excuse."""
    end, ready = event(at=103, pid=8, code=None), event(at=103.2, pid=9, what="ready", code=None)
    assert found(FAULT, end, DIED) == ["it ended at +1.0 s and did not come back"]
    assert found(FAULT, end, ready) == ["it ended at +1.0 s and was back after 200ms"]
    assert found(FAULT, end, ready, DIED) == ["it ended at +1.0 s and 1 more time and did not come back"]
    killed = [event(what="killed", at=102.5), end, ready]
    assert found(FAULT, *killed) == []
    assert found(FAULT, *killed, event(at=104, pid=9, code=None)) == ["it ended at +2.0 s and did not come back"]


@pytest.mark.parametrize(("ends", "held"), [("allowed", True), ("<= 1", True), ("= 0", False), (">= 2", False)])
def test_asked_for(ends: str, held: bool) -> None:
    """One end, and what a scenario may say of it; a service that lived is judged, too."""
    expectation = Services.model_validate({"postgres": {"ends": ends}, "redis": {"ends": "= 0"}})
    one, other = expectation.judge(view(FAULT, DIED))
    assert (one.id, one.held, one.samples) == ("services.postgres.ends", held, 1)
    assert (other.id, other.held, other.seen) == ("services.redis.ends", True, "it did not end")
    assert list(unasked_ends(view(FAULT, DIED), ["postgres"])) == []


def test_nothing_but_allowed_or_a_bound() -> None:
    """Anything else is refused with what is legal."""
    with pytest.raises(ValueError, match="is not a bound for a number"):
        Services.model_validate({"postgres": {"ends": "sometimes"}})
