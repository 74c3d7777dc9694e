"""Results into a report, with Allure 2 or 3: categories, trend, and nothing loaded from elsewhere."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from chaoskit.base.errors import BrokenError
from chaoskit.history.files import copy_kept, folder_below, refuse_planted
from chaoskit.report.allure.categories import CATEGORIES
from chaoskit.report.allure.commandline import Allure
from chaoskit.report.allure.trend import Trend

NAME = "Resilience scenarios"
RUNS = 20
"""Runs in the trend. Allure 2 keeps twenty of its own accord."""

_MARK = ".chaoskit-report"
_ELSEWHERE = re.compile(r"<script[^>]*\bsrc=\"https?://[^>]*>\s*</script>")


def build(allure: Allure, results: Path, out: Path, history: Path) -> None:
    """Build the report of ``results`` in ``out``, which is replaced when it is one of ours.

    ``history`` is the folder of the trends. Raises BrokenError when there are no results, when ``out`` holds something
    else, or when Allure fails.
    """
    if not any(results.glob("*-result.json")):
        raise BrokenError(f"no Allure results in {results}: run pytest --chaos first, or say --reports DIR")
    refuse_planted(results)  # Allure reads them by path
    if out.is_symlink():
        raise BrokenError(f"{out} is a symbolic link, which is not followed: say --out with the folder itself")
    out = out.resolve()
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).exists():
        raise BrokenError(f"{out} holds something else than a report built by chaoskit: say --out with another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder_below(history.parent, history.name, f"allure-{allure.major}")
    trend = Trend(history / f"allure-{allure.major}", results)
    with tempfile.TemporaryDirectory(prefix=".allure-", dir=out.parent) as folder:
        work = Path(folder)
        made = work / "report"
        kept = {2: _version_2, 3: _version_3}[allure.major](allure, results.resolve(), made, trend.before(), work)
        trend.keep(kept)
        for page in made.rglob("index.html"):
            # Both versions tell Google of each reader; version 3 cannot be asked not to.
            page.write_text(_ELSEWHERE.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
        (made / _MARK).write_text(f"Allure {allure.version}\n", encoding="ascii")
        if out.exists():
            out.rename(work / "old")
        made.rename(out)


def _version_2(allure: Allure, results: Path, made: Path, before: Path, work: Path) -> Path:
    extra = work / "extra"
    copy_kept(before, extra / "history")
    if not (results / "categories.json").exists():
        (extra / "categories.json").write_text(json.dumps(CATEGORIES), encoding="utf-8")
    allure.run(["generate", str(results), str(extra), "--output", str(made), "--name", NAME], work)
    return made / "history"


def _version_3(allure: Allure, results: Path, made: Path, before: Path, work: Path) -> Path:
    history = work / "history"
    copy_kept(before, history)
    config = {
        "name": NAME,
        "output": str(made),
        "historyPath": str(history / "history.jsonl"),
        "appendHistory": True,
        "historyLimit": RUNS,
        "categories": {"rules": CATEGORIES},
        "plugins": {
            "awesome": {"options": {"reportName": NAME, "groupBy": ["epic", "feature"], "reportLanguage": "en"}},
        },
    }
    (work / "allurerc.json").write_text(json.dumps(config), encoding="utf-8")
    allure.run(["generate", "--config", str(work / "allurerc.json"), str(results)], work)
    return history
