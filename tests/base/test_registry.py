"""Registries: names are file names, modules are imported when asked for, and mistakes say what is legal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import chaoskit.faults
from chaoskit.base.errors import ChaosError
from chaoskit.base.registry import Registry
from chaoskit.language.fault import FAULTS, Fault
from chaoskit.language.loader import load

PLUGIN = '''
from contextlib import contextmanager
from chaoskit.language.fault import Evidence, Fault


class BlackHole(Fault):
    """A fault of a project's own."""

    depth: int = 1

    @property
    def target(self):
        return "nothing"

    @contextmanager
    def inject(self, context):
        yield Evidence(touched=self.depth)
'''


@pytest.fixture
def room() -> Registry[type[Fault]]:
    """A registry of its own, so that tests do not see each other's plug-ins."""
    return Registry("fault", "chaoskit.faults")


def test_names_are_the_files_of_the_package(room: Registry[type[Fault]]) -> None:
    """Sorted; what begins with an underscore is no plug-in."""
    files = {file.stem for file in Path(chaoskit.faults.__file__).parent.glob("[!_]*.py")}
    assert room.names() == sorted(files) == list(room)
    assert "latency" in room
    assert "_fields" not in room


def test_a_name_gives_the_class_named_after_it(room: Registry[type[Fault]]) -> None:
    """``limit_data`` is ``LimitData``; asking twice gives the same."""
    for name in room:
        assert room.get(name).__name__ == "".join(part.capitalize() for part in name.split("_"))
    assert room.get("latency") is room.get("latency") is FAULTS.get("latency")


def test_an_unknown_name_lists_the_legal_ones(room: Registry[type[Fault]]) -> None:
    """With the nearest spelling."""
    with pytest.raises(ChaosError, match=r"unknown fault 'latencyy'; legal: abort, .*; did you mean 'latency'\?"):
        room.get("latencyy")


def test_a_folder_of_ones_own(room: Registry[type[Fault]], tmp_path: Path) -> None:
    """Files of a project's folder are offered under their names; helpers with an underscore are not."""
    (tmp_path / "black_hole.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "_helper.py").touch()
    room.add_folder(tmp_path)
    assert "black_hole" in room
    assert "_helper" not in room
    assert room.get("black_hole").model_validate({"depth": 3}).target == "nothing"
    room.add_folder(tmp_path)  # the same file again is no second plug-in


def test_a_name_that_is_taken(room: Registry[type[Fault]], tmp_path: Path) -> None:
    """Nothing is overwritten silently: both places are named."""
    (tmp_path / "latency.py").write_text(PLUGIN, encoding="utf-8")
    with pytest.raises(
        ChaosError, match=r"two faults are named 'latency': chaoskit\.faults\.latency and .*latency\.py"
    ):
        room.add_folder(tmp_path)


def test_a_file_without_its_class(room: Registry[type[Fault]], tmp_path: Path) -> None:
    """The error says which class is missing in which file."""
    (tmp_path / "white_hole.py").write_text(PLUGIN, encoding="utf-8")
    room.add_folder(tmp_path)
    with pytest.raises(ChaosError, match=r"white_hole\.py: the fault 'white_hole' must be a class named WhiteHole"):
        room.get("white_hole")


def test_names_do_not_import_the_plug_ins() -> None:
    """Listing every fault imports none of them."""
    code = (
        "import sys; from chaoskit.language.fault import FAULTS; FAULTS.names(); "
        "print([name for name in FAULTS if f'chaoskit.faults.{name}' in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_own_fault_in_a_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The language takes it like any other, and checks its arguments with its own model."""
    own: Registry[type[Fault]] = Registry("fault", "chaoskit.faults")
    (tmp_path / "black_hole.py").write_text(PLUGIN, encoding="utf-8")
    own.add_folder(tmp_path)
    for attribute in ("_sources", "_loaded"):
        monkeypatch.setattr(FAULTS, attribute, getattr(own, attribute))
    file = tmp_path / "own.chaos.yaml"
    text = (
        "scenario: x\nenvironment: {services: {a: {provider: noop}}}\n"
        "traffic: {get: {request: 'GET {{ a.url }}', rate: 1/s}}\nsteady_state: {get: {p50: '< 1s'}}\n"
        "timeline: {faults: [{hole: {black_hole: {depth: 2}, for: 1s}}]}\n"
    )
    file.write_text(text, encoding="utf-8")
    (scenario,) = load(file)
    assert scenario.faults[0].kind == "black_hole"
    file.write_text(text.replace("depth: 2", "dept: 2"), encoding="utf-8")
    with pytest.raises(ChaosError, match=r"own\.chaos\.yaml:5: unknown key 'dept'; legal: depth; did you mean 'depth'"):
        load(file)
