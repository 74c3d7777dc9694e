"""Mutants of the reference service: the shop with one protection subtly wrong. The table is ``mutants.toml``."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"
SCENARIOS = ROOT / "scenarios"


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In ``file`` of the shop, ``old`` (which stands there once) becomes ``new``: what the text of ``mutant`` says.

    ``scenario`` (``folder/name`` below scenarios/) must then be violated in each finding of ``violates``; a name covers
    all below it, as in a control.
    """

    mutant: str
    file: str
    old: str
    new: str
    scenario: str
    violates: list[str]

    @property
    def path(self) -> Path:
        """The scenario's file."""
        return SCENARIOS / f"{self.scenario}.chaos.yaml"

    def text(self) -> str:
        """The mutated file, whole."""
        return (SHOP / self.file).read_text(encoding="utf-8").replace(self.old, self.new)

    def write(self, folder: Path) -> Path:
        """Copies of the shop and of the scenarios, beside each other as they are here; gives the scenario's file."""
        unwanted = shutil.ignore_patterns("__pycache__", "reports")
        shutil.copytree(SHOP, folder / "examples" / "shop", ignore=unwanted)
        shutil.copytree(SCENARIOS, folder / "scenarios", ignore=unwanted)
        (folder / "examples" / "shop" / self.file).write_text(self.text(), encoding="utf-8")
        return folder / self.path.relative_to(ROOT)


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
MUTANTS = msgspec.convert(_TABLE["mutants"], list[Mutant])
