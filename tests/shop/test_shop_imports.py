"""Imports are spooled through files of a folder, whose disk may be full."""

from __future__ import annotations

import os
import subprocess

import pytest
import requests


@pytest.fixture
def full_disk(tmp_path):
    """A small file system of its own without room; removing its file ``filler`` makes room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "chaoskit-test", str(folder)], check=True)
    with pytest.raises(OSError, match="No space left"):
        (folder / "filler").write_bytes(b"x" * 65_537)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a file system that can be filled")
def test_an_import_with_a_full_disk(start, full_disk):
    """It goes through memory, marked; without that it is refused; with room again all is well, and nothing is left."""

    def answer(orders):
        got = requests.post(orders.url + "/imports", json={"parts": 3}, timeout=10)
        return got.status_code, got.headers.get("x-degraded"), got.json()

    orders = start("orders", SPOOL_DIR=str(full_disk))
    fragile = start("orders", SPOOL_DIR=str(full_disk), SPOOL_FALLBACK="off")
    whole = {"parts": 3, "bytes": 3 * len("part 0\n")}
    assert answer(orders) == (200, "memory", whole)
    assert orders.metric("fallback_total") == 1
    assert answer(fragile) == (507, None, {"error": "no_space_for_import"})
    (full_disk / "filler").unlink()
    assert answer(orders) == answer(fragile) == (200, None, whole)
    assert list(full_disk.iterdir()) == []


def test_the_spool_folder_is_made(start, tmp_path):
    """It is there from the start, and stays empty."""
    orders = start("orders", SPOOL_DIR=str(tmp_path / "new" / "spool"))
    assert (tmp_path / "new" / "spool").is_dir()
    assert requests.post(orders.url + "/imports", json={"parts": 3}, timeout=10).status_code == 200
    assert list((tmp_path / "new" / "spool").iterdir()) == []
