"""One scenario's result, written into the Allure test that is running; its pictures there, or into its file later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaoskit.base.errors import BrokenError
from chaoskit.history.files import read_object, write_kept
from chaoskit.report.allure.attachments import attach_all, attach_later, draw, timeline
from chaoskit.report.allure.steps import Steps
from chaoskit.report.allure.words import clean, description, message
from chaoskit.system.priority import nothing_measured

if TYPE_CHECKING:
    from chaoskit.engine.session import Result


def attach(result: Result, listener: Any, *, pictures: bool = True) -> str:
    """Write a result into the running Allure test: description, parameters, steps, attachments. Returns its uuid.

    ``listener`` is allure-pytest's own; call it on the main thread. allure-pytest's public functions know only steps
    that happen now, so its model is filled directly. Without ``pictures`` these are left to :func:`add_pictures`.
    """
    from allure_commons.model2 import Parameter

    meta = read_object(result.folder, "run.json")
    steps = Steps(result, meta["wall_clock_minus_monotonic"])
    test = listener.allure_logger.get_test(None)
    test.parameters.extend(Parameter(name=name, value=str(value)) for name, value in result.scenario.matrix.items())
    # Excluded: a parameter that changes would make another history each time.
    test.parameters.append(Parameter(name="seed", value=str(result.seed), excluded=True))
    test.steps.extend(steps.all())
    drawn = draw(result) if pictures else []
    attach_all(result, _reproduce(meta), drawn)
    test.descriptionHtml = description(result, _reproduce(meta), steps.faults(), timeline(drawn))
    return str(test.uuid)


def add_pictures(results: Path, drawn_for: Mapping[str, Result], runs: Path) -> None:
    """Draw the pictures of scenarios whose results (by their tests' uuid) lie in a folder already, and add them.

    Never while a scenario is measured: ``runs`` is the folder that :func:`~chaoskit.system.priority.measuring` is told.
    """
    for file in sorted(results.glob("*-result.json")):
        try:
            test = read_object(results, file.name)
        except BrokenError:
            continue  # another's
        result = drawn_for.get(str(test.get("uuid")))
        if result is None:
            continue
        with nothing_measured(runs):
            drawn = draw(result)
        reproduce = _reproduce(read_object(result.folder, "run.json"))
        test["attachments"] = attach_later(results, test.get("attachments", []), drawn)
        test["descriptionHtml"] = description(result, reproduce, Steps(result, 0.0).faults(), timeline(drawn))
        write_kept(file, json.dumps(test, ensure_ascii=False))


def message_of(result: Result) -> str:
    """The message of a result that did not pass: what failed, when, and under which faults."""
    return message(result, Steps(result, 0.0).faults())


def _reproduce(meta: dict[str, Any]) -> str:
    return clean(meta.get("reproduce", ""))
