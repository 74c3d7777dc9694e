"""One scenario's result, written into the Allure test that is running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaoskit.history.files import read_object
from chaoskit.reporters.allure.attachments import attach_all
from chaoskit.reporters.allure.steps import Steps
from chaoskit.reporters.allure.words import clean, description, message

if TYPE_CHECKING:
    from chaoskit.engine.session import Result


def attach(result: Result, listener: Any) -> None:
    """Write a result into the running Allure test: description, parameters, steps, attachments.

    ``listener`` is allure-pytest's own; call it on the main thread. allure-pytest's public functions know only steps
    that happen now, so its model is filled directly.
    """
    from allure_commons.model2 import Parameter

    meta = read_object(result.folder, "run.json")
    reproduce = clean(meta.get("reproduce", ""))
    steps = Steps(result, meta["wall_clock_minus_monotonic"])
    test = listener.allure_logger.get_test(None)
    test.parameters.extend(Parameter(name=name, value=str(value)) for name, value in result.scenario.matrix.items())
    # Excluded: a parameter that changes would make another history each time.
    test.parameters.append(Parameter(name="seed", value=str(result.seed), excluded=True))
    test.steps.extend(steps.all())
    picture = attach_all(result, reproduce)
    test.descriptionHtml = description(result, reproduce, steps.faults(), picture)


def message_of(result: Result) -> str:
    """The message of a result that did not pass: what failed, when, and under which faults."""
    return message(result, Steps(result, 0.0).faults())
