"""The table of mutants fits the shop as it is now. What runs them is run_mutants.py."""

from __future__ import annotations

import pytest
from mutants import MUTANTS, SHOP, Mutant

from chaoskit.language.loader import load

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.mutant for mutant in MUTANTS])


@each_mutant
def test_it_changes_one_place_of_the_shop(mutant: Mutant) -> None:
    """What it changes stands in the shop exactly once, and Python still takes the file."""
    times = (SHOP / mutant.file).read_text(encoding="utf-8").count(mutant.old)
    assert times == 1, f"{mutant.file} holds it {times} times: {mutant.old}"
    assert mutant.new != mutant.old
    compile(mutant.text(), mutant.file, "exec")


@each_mutant
def test_its_scenario_runs_everywhere(mutant: Mutant) -> None:
    """Its scenario is there, and needs nothing that a machine may lack: skipped, it would find nothing."""
    (scenario,) = load(mutant.path)
    assert not scenario.model.requires
    assert mutant.violates


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    names = [mutant.mutant for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 25
