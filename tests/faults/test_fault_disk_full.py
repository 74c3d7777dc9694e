"""A folder of a service without room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.base.errors import BrokenError
from chaoskit.faults.disk_full import DiskFull
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A folder with a file, in the working folder of a victim."""
    folder = tmp_path / "work" / "up loads"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "kept").write_bytes(b"kept")
    os.chown(folder / "deep" / "kept", 1234, 1234)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 8 MiB."""
    folder = tmp_path / "work" / "disk"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "chaoskit-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def add(context: FaultContext) -> Service:
    (context.folder / "work").mkdir(exist_ok=True)
    return add_process(context, cwd=str(context.folder / "work"))


@needs_root
def test_process_finds_no_room(context: FaultContext, uploads: Path) -> None:
    """ENOSPC inside, what was there can be read; afterwards there is room, and the machine's disk was never touched."""
    victim = add(context)
    free = os.statvfs("/").f_bfree
    with DiskFull(service="victim", path="up loads").inject(context) as evidence:
        assert tell(victim, "write", path=uploads / "new", size=100_000)["error"] == "ENOSPC"
        assert (uploads / "deep" / "kept").read_bytes() == b"kept"
        assert (uploads / "deep" / "kept").stat().st_uid == 1234
        assert tell(victim, "write", path=context.folder / "elsewhere", size=10)["error"] == ""
    assert not uploads.is_mount()
    assert tell(victim, "write", path=uploads / "new", size=100_000)["error"] == ""
    assert sorted(it.name for it in uploads.iterdir()) == ["deep", "new"]
    assert evidence.touched >= 1
    assert evidence.facts["full"] is True
    assert 0 < evidence.facts["bytes"] <= 8 << 20
    assert abs(os.statvfs("/").f_bfree - free) * os.statvfs("/").f_frsize < 500 << 20


@needs_root
def test_a_disk_of_its_own_is_filled(context: FaultContext, small_disk: Path) -> None:
    """Nothing is laid over it, and the file that fills it is gone afterwards."""
    victim = add(context)
    with DiskFull(service="victim", path=str(small_disk)).inject(context) as evidence:
        assert tell(victim, "write", path=small_disk / "new", size=100_000)["error"] == "ENOSPC"
    assert tell(victim, "write", path=small_disk / "new", size=100_000)["error"] == ""
    assert [it.name for it in small_disk.iterdir()] == ["new"]
    assert (8 << 20) - 65536 <= evidence.facts["bytes"] <= 8 << 20
    assert evidence.touched >= 1


@needs_root
def test_nobody_writes(context: FaultContext, uploads: Path) -> None:
    """Full, but nobody noticed: not touched."""
    add(context)
    with DiskFull(service="victim", path="up loads").inject(context) as evidence:
        pass
    assert (evidence.touched, evidence.facts["full"]) == (0, True)


@needs_root
def test_somebody_makes_room(context: FaultContext, small_disk: Path) -> None:
    """It was not full until the end, and the facts say so."""
    add(context)
    with DiskFull(service="victim", path="disk").inject(context) as evidence:
        for filler in small_disk.iterdir():
            filler.unlink()
    assert evidence.facts["full"] is False


@needs_root
@pytest.mark.parametrize("disk", ["uploads", "small_disk"])
def test_undone_from_the_journal_alone(context: FaultContext, disk: str, request: pytest.FixtureRequest) -> None:
    """What a killed run has filled or laid over a folder is gone after the sweep."""
    folder: Path = request.getfixturevalue(disk)
    victim = add(context)
    killed = injected_by_a_killed_run(context, "disk_full", victim, service="victim", path=str(folder))
    assert tell(victim, "write", path=folder / "new", size=100_000)["error"] == "ENOSPC"
    told = [text.split()[0] for text in sweep(killed)]
    assert told == (["filler", "mount"] if disk == "uploads" else ["filler"])
    assert tell(victim, "write", path=folder / "new", size=100_000)["error"] == ""


@needs_root
def test_folders_of_others_are_refused(context: FaultContext, tmp_path: Path) -> None:
    """Neither the machine's folders nor the working folder itself, nor a way out of it by a link."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "out").symlink_to("/var")
    add(context)
    for path in ("/var/log", str(tmp_path / "work"), "out"):
        with pytest.raises(BrokenError, match="is not inside"), DiskFull(service="victim", path=path).inject(context):
            pass
    with pytest.raises(BrokenError, match="no folder"), DiskFull(service="victim", path="missing").inject(context):
        pass


@needs_root
def test_too_much_to_copy(context: FaultContext, uploads: Path) -> None:
    """The limit holds for the copy too, and nothing is mounted."""
    (uploads / "large").write_bytes(b"x" * 200_000)
    add(context)
    fault = DiskFull(service="victim", path="up loads", limit="100KB")
    with pytest.raises(BrokenError, match="see limit"), fault.inject(context):
        pass
    assert not uploads.is_mount()


@needs_root
def test_container_finds_no_room(context: FaultContext, contain: Callable[..., Service]) -> None:
    """On its tmpfs (each container has one for shared memory), up to the limit."""
    victim = contain()
    with DiskFull(service="victim", path="/dev/shm").inject(context) as evidence:
        assert tell(victim, "write", path="/dev/shm/new", size=100_000)["error"] == "ENOSPC"
    assert tell(victim, "write", path="/dev/shm/new", size=100_000)["error"] == ""
    assert (evidence.touched >= 1, evidence.facts["bytes"]) == (True, 64 << 20)
    for path, why in {"/tmp": "the container's own disk", "/dev/shm": "free"}.items():
        fault = DiskFull(service="victim", path=path, limit="10MB")
        with pytest.raises(BrokenError, match=why), fault.inject(context):
            pass


def test_arguments() -> None:
    """A folder, and a limit that is one."""
    assert DiskFull(service="victim", path="data").target == "victim"
    for path in ("/", "", "../other"):
        with pytest.raises(ValidationError, match="is no folder of a service"):
            DiskFull(service="victim", path=path)
    with pytest.raises(ValidationError, match="at most 4GiB"):
        DiskFull(service="victim", path="data", limit="5GiB")


def test_refused_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both runtimes."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    fault = DiskFull(service="victim", path="data")
    assert {fault.refusal(Setting("embedded", runtime)).needs for runtime in ("process", "docker")} == {"root"}
