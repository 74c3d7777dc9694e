"""The kinds of failure that Allure groups by. Both major versions take the same rules, each from another place."""

from __future__ import annotations

from typing import Any

from chaoskit.report.summary import NOT_CAUGHT


def _rule(name: str, begins: str, *statuses: str) -> dict[str, Any]:
    # Allure 2 matches the whole message, Allure 3 searches in it; (?s) is not known to JavaScript.
    return {"name": name, "messageRegex": rf"^{begins}[\s\S]*$", "matchedStatuses": list(statuses)}


CATEGORIES = (
    _rule("Violated: the service did not do what was expected", "VIOLATED: ", "failed"),
    _rule("Vacuous: the rehearsal proved nothing", "VACUOUS: ", "failed"),
    _rule("Inconclusive: the machine could have done this", "INCONCLUSIVE: ", "broken"),
    _rule("Control not caught: the scenario cannot fail", f"{NOT_CAUGHT}: ", "failed"),
    _rule("Broken: the environment or chaoskit failed", "BROKEN: ", "broken"),
    _rule("Refused: a fault cannot be injected here", "REFUSED: ", "failed"),
    _rule("Invalid: the scenario file has mistakes", "INVALID: ", "broken"),
    _rule("Not rehearsed here", "", "skipped"),
)
"""Rules in the form of ``categories.json`` (Allure 2) and of ``categories`` in a configuration (Allure 3)."""
