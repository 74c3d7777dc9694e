"""What names a scenario in Allure: its place in the project, not on the disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaoskit.report.allure.identity import names, place


def made(file: Path) -> Path:
    """An empty file in new folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


@pytest.mark.parametrize("mark", ["pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg", "setup.py", ".git"])
def test_the_nearest_project_counts(tmp_path: Path, mark: str) -> None:
    """Whatever lies above it."""
    made(tmp_path / "pyproject.toml")
    made(tmp_path / "shop" / mark)
    file = made(tmp_path / "shop" / "scenarios" / "pool" / "slow.chaos.yaml")
    assert str(place(file)) == "scenarios/pool/slow"


def test_without_a_project_scenarios_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outermost folder of that name; without one, the file alone."""
    monkeypatch.setattr("chaoskit.report.allure.identity._project", lambda folder: None)
    file = made(tmp_path / "scenarios" / "old" / "scenarios" / "slow.chaos.yaml")
    assert str(place(file)) == "scenarios/old/scenarios/slow"
    assert str(place(made(tmp_path / "elsewhere" / "slow.chaos.yaml"))) == "slow"


def test_links_are_followed(tmp_path: Path) -> None:
    """A checkout that is reached by a link is the same checkout."""
    made(tmp_path / "real" / "pyproject.toml")
    made(tmp_path / "real" / "scenarios" / "slow.chaos.yaml")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert str(place(tmp_path / "link" / "scenarios" / "slow.chaos.yaml")) == "scenarios/slow"


def test_two_projects_with_the_same_scenario(tmp_path: Path) -> None:
    """Run together they have names of their own; one that stands alone keeps the usual one."""

    def scenario(folder: str, slug: str) -> Any:
        made(tmp_path / folder / "pytest.ini")
        return SimpleNamespace(file=made(tmp_path / folder / "scenarios" / "slow.chaos.yaml"), slug=slug)

    found = names([(scenario("shop", "slow"), False), (scenario("till", "slow"), False), (scenario("till", "x"), True)])
    assert list(found.values()) == [
        "shop.scenarios.slow.chaos#slow",
        "till.scenarios.slow.chaos#slow",
        "scenarios.slow.chaos#x--control",
    ]
