"""Allure's history between reports. Building one report twice must not count its run twice."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

from chaoskit.history.files import copy_kept, folder_below, make_folder, read_kept, write_kept


class Trend:
    """A folder with the history ``before`` the newest results and ``after`` them, as Allure wrote it.

    ``folder`` belongs to one major version of Allure: their files differ.
    """

    def __init__(self, folder: Path, results: Path) -> None:
        self.folder = folder
        self._fingerprint = _fingerprint(results)
        self._mark = folder / "results"

    def before(self) -> Path:
        """A folder (perhaps empty) with the history of all runs before these results."""
        before, after = (folder_below(self.folder, name) for name in ("before", "after"))
        last = ""
        with suppress(OSError):
            last = read_kept(self.folder, self._mark.name).decode("ascii", "replace")
        if last != self._fingerprint and after.is_dir():
            shutil.rmtree(before, ignore_errors=True)
            after.rename(before)
            self._mark.unlink(missing_ok=True)
        make_folder(before)
        return before

    def keep(self, built: Path) -> None:
        """Keep what Allure has made of it: a folder."""
        after = folder_below(self.folder, "after")
        shutil.rmtree(after, ignore_errors=True)
        if built.is_dir():
            copy_kept(built, after)
        write_kept(self._mark, self._fingerprint)


def _fingerprint(results: Path) -> str:
    """The same for the same results; allure-pytest gives each its own name."""
    names = "\n".join(sorted(file.name for file in results.glob("*-result.json")))
    return hashlib.sha256(names.encode()).hexdigest()
