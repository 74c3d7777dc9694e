"""What several ask of one piece of state: the fold while they last, what was before with the last."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.system.journal import Journal, lease
from chaoskit.system.layers import State, asked, layer
from chaoskit.system.sweep import read


class Level(State):
    """A number that is the highest of what is asked; ``broken`` ones cannot be set."""

    def __init__(self, journal, held):
        super().__init__(journal)
        self.held = held

    def begin(self):
        self.note("file", path=self.journal.path.with_name("made"))

    def set(self, asked):
        if "broken" in asked:
            raise BrokenError("it cannot be set")
        self.held.append(max(asked))

    def end(self):
        super().end()
        self.held.append(0)


@pytest.fixture
def journal(tmp_path):
    """A journal of this process."""
    made = Journal(tmp_path / "a.journal")
    yield made
    made.close()


def test_in_any_order(journal):
    """Ends need not come in the reverse order of beginnings; the journal has it once."""
    held = []

    def ask(number):
        stack = ExitStack()
        stack.enter_context(layer(journal, "level", number, lambda: Level(journal, held)))
        return stack

    low, high = ask(1), ask(3)
    assert (held, asked(journal, "level"), len(journal.open_entries())) == ([1, 3], [1, 3], 1)
    middle = ask(2)
    low.close()
    high.close()
    assert held[-1] == 2
    middle.close()
    assert (held, asked(journal, "level"), journal.open_entries()) == ([1, 3, 3, 3, 2, 0], [], [])
    ask(5).close()
    assert held[-2:] == [5, 0]


def test_one_that_cannot_be_set_changes_nothing(journal):
    """As the first, as a later one, and when it asks for something else: the others stay as they are."""
    held = []

    def ask(number):
        return layer(journal, "level", number, lambda: Level(journal, held))

    with pytest.raises(BrokenError), ask("broken"):
        raise AssertionError("not reached")
    assert (held, journal.open_entries()) == ([0], [])
    with ask(1) as mine:
        with pytest.raises(BrokenError), ask("broken"):
            raise AssertionError("not reached")
        with pytest.raises(BrokenError):
            mine.change("broken")
        assert (mine.ask, mine.asked(), held[-1]) == (1, [1], 1)
        mine.change(4)
        assert held[-1] == 4
    assert held[-1] == 0


def test_keys_and_journals_are_apart(journal, tmp_path):
    """Another state, and another run, have layers of their own."""
    other, held = Journal(tmp_path / "b.journal"), []
    with layer(journal, "a", 1, lambda: Level(journal, held)), layer(other, "a", 2, lambda: Level(other, held)):
        assert (asked(journal, "a"), asked(other, "a"), asked(journal, "b")) == ([1], [2], [])
    other.close()


class Leased(Level):
    """Its entry has a lease."""

    def begin(self):
        self.note("signal", pid=1, start=1)

    def end(self):
        self.done()


def test_the_lease_is_that_of_the_longest(journal):
    """The guardian must not lift what another fault still asks for; one without a lease has no end."""
    began = time.monotonic()

    def written():
        with journal.path.open("rb") as file:
            return read(file.fileno()).entries

    def told():
        (entry,) = written().values()
        return entry.until

    with ExitStack() as stack:
        for until, longest in ((began + 20, 20), (began + 60, 60), (began + 40, 60), (None, None), (began + 90, None)):
            with lease(until):
                stack.enter_context(layer(journal, "level", 1, lambda: Leased(journal, [])))
            assert told() == (longest and pytest.approx(began + longest))
    assert written() == {}
    assert [json.loads(line).get("prolong") for line in journal.path.read_text().splitlines()].count(1) == 2
