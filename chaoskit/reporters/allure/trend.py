"""Allure's history between reports. Building one report twice must not count its run twice."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path


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
        before, after = self.folder / "before", self.folder / "after"
        last = self._mark.read_text(encoding="ascii") if self._mark.exists() else ""
        if last != self._fingerprint and after.is_dir():
            shutil.rmtree(before, ignore_errors=True)
            after.rename(before)
            self._mark.unlink(missing_ok=True)
        before.mkdir(parents=True, exist_ok=True)
        return before

    def keep(self, built: Path) -> None:
        """Keep what Allure has made of it: a folder."""
        after = self.folder / "after"
        shutil.rmtree(after, ignore_errors=True)
        if built.is_dir():
            shutil.copytree(built, after)
        self._mark.write_text(self._fingerprint, encoding="ascii")


def _fingerprint(results: Path) -> str:
    """The same for the same results; allure-pytest gives each its own name."""
    names = "\n".join(sorted(file.name for file in results.glob("*-result.json")))
    return hashlib.sha256(names.encode()).hexdigest()
