"""What names a scenario in Allure, the same on every machine, serial and with xdist: its place in the project.

allure-pytest takes pytest's node id, which counts from pytest's root folder, and that depends on the working folder
and the arguments. Trends would break where somebody runs one folder alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from chaoskit.language.loader import SUFFIX

if TYPE_CHECKING:
    from chaoskit.language.scenario import Scenario

_MARKS = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg", "setup.py", ".git")
"""What lies in the top folder of a project."""


@cache
def _project(folder: Path) -> Path | None:
    return next((each for each in (folder, *folder.parents) if any((each / mark).exists() for mark in _MARKS)), None)


def place(file: Path) -> PurePosixPath:
    """A scenario file's place in its project, without its suffix: ``scenarios/pool/slow-database``.

    The project is the nearest folder above that has one of the usual files (``pyproject.toml``, ``.git`` ...). Without
    such a folder it is what holds the outermost ``scenarios/``; without that, the file's name alone is left.
    """
    file = file.resolve()
    project = _project(file.parent)
    if project is None:
        held = [folder for folder in file.parents if folder.name == "scenarios"]
        project = held[-1].parent if held else file.parent
    path = PurePosixPath(file.relative_to(project).as_posix())
    return path.with_name(path.name.removesuffix(SUFFIX))


def full_name(scenario: Scenario, control: bool) -> str:
    """As allure-pytest writes it when pytest's root is the project, so that test plans and old histories fit."""
    path = place(scenario.file)
    package = ".".join((*path.parent.parts, f"{path.name}.chaos"))
    return f"{package}#{scenario.slug}{'--control' if control else ''}"


def names(scenarios: Iterable[tuple[Scenario, bool]]) -> dict[tuple[Path, str, bool], str]:
    """Full names by file, slug and whether it is the control. Allure takes two of one name for a retry, and hides one.

    So where two projects that run together have the same scenario, the folders of the projects are part of its name.
    """
    found = {(each.file, each.slug, control): full_name(each, control) for each, control in scenarios}
    counts = Counter(found.values())
    for key, name in found.items():
        if counts[name] > 1:
            project = _project(key[0].resolve().parent) or key[0].resolve().parent
            found[key] = f"{project.name}.{name}"
    return found


def title(scenario: Scenario, control: bool, outcome: str = "") -> str:
    """A scenario's line in Allure's lists. Violated, vacuous and not caught have one colour there, so it says which."""
    kind = ("control" if control else "", "" if outcome in ("held", "caught") else outcome)
    return ": ".join(filter(None, (" ".join(filter(None, kind)), scenario.name)))


def identify(
    test: Any, scenario: Scenario, control: bool, patterns: Mapping[str, str], *, name: str = "", outcome: str = ""
) -> None:
    """Give an Allure result its title, its names and its links. ``test`` is allure-pytest's own ``TestResult``.

    ``name`` is its full name if that is not :func:`full_name`, ``outcome`` what it came to. ``patterns`` are
    allure-pytest's ``--allure-link-pattern``: with one for ``tms`` the case is a link. The history id is made from
    these names by allure-pytest afterwards, so call it before the item's teardown has ended.
    """
    from allure_commons.model2 import Link

    path = place(scenario.file)
    test.name = title(scenario, control, outcome)
    test.fullName = name or full_name(scenario, control)
    test.testCaseId = hashlib.md5(test.fullName.encode(), usedforsecurity=False).hexdigest()
    test.titlePath = list(path.parts)
    known = {link.url for link in test.links}
    links = [("link", url, url) for url in scenario.model.links]
    if scenario.model.case and "tms" in patterns:
        links.append(("tms", patterns["tms"].format(scenario.model.case), scenario.model.case))
    test.links.extend(Link(kind, url, name) for kind, url, name in links if url not in known)
