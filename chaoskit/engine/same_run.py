"""Whether a scenario's file is still of what was recorded: a history tells nothing of faults that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaoskit.base.errors import InputError
from chaoskit.language import matrix, source
from chaoskit.language.kept import masked
from chaoskit.language.scenario import Scenario
from chaoskit.language.source import YamlPath

RAN: tuple[tuple[str, ...], ...] = (("environment",), ("with",), ("data",), ("sops",), ("traffic",), ("timeline",))
"""What a run was made of. All else is what is expected of it, or text."""
CONTROL = (("control", "with"), ("control", "without"))
SHOWN = 5


def refuse_another(file: Path, scenario: Scenario, *, control: bool) -> None:
    """Raises InputError, with what differs, when ``scenario`` does not run what ``file``, as recorded, did.

    Of a run of the ``control`` what was off in it must be the same, too.
    """
    # What is recorded is masked, so the other is, too; a secret that differs is none of these.
    recorded, given = (
        matrix.fill(source.read(each.file, masked(each.text)).data, scenario.matrix)
        for each in (source.read(file), scenario.source)
    )
    differing = [
        path
        for part in (*RAN, *(CONTROL if control else ()))
        for path in _differences(_at(recorded, part) or {}, _at(given, part) or {}, part)
    ]
    if differing:
        names = [".".join(map(str, path)) for path in differing[:SHOWN]]
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        what = (
            f"{', '.join(names)}{more}: not as recorded in {source.shown(file.parent)}; only bounds (steady_state, "
            "expect), severity and texts can be judged anew, anything else has to be run"
        )
        raise InputError([scenario.source.problem(differing[0], what)])


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _differences(recorded: Any, given: Any, path: YamlPath) -> Iterator[YamlPath]:
    """The innermost places at which two values differ."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        for key in {**recorded, **given}:
            if key in recorded and key in given:
                yield from _differences(recorded[key], given[key], (*path, key))
            else:
                yield (*path, key)
    elif isinstance(recorded, list) and isinstance(given, list) and len(recorded) == len(given):
        for index, (one, other) in enumerate(zip(recorded, given, strict=True)):
            yield from _differences(one, other, (*path, index))
    elif recorded != given:
        yield path
