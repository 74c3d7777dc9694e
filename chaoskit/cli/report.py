"""``chaoskit report``: the Allure report of the latest results, and the HTML page of the latest run."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaoskit.report.runs import Recorded

NO_ALLURE = 3
"""Exit code when there is something to report, and Allure's command line is not here."""


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser(
        "report",
        help="build the Allure report and the HTML page",
        description="Build the Allure report of the latest results, and the HTML page of the latest run.",
        epilog="Exit codes: 0 built; 2 nothing to report, or Allure failed; 3 Allure is not here (the HTML page is).",
    )
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the runs (default: reports)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="Allure results (default: REPORTS/allure-results)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the report (default: REPORTS/allure-report)")
    parser.add_argument(
        "--allure",
        choices=("auto", "2", "3", "none"),
        default="auto",
        help="which major version builds it (auto: the newest there is; none: the HTML page alone)",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--serve", action="store_true", help="serve it on 127.0.0.1 until Ctrl-C")
    shown.add_argument("--open", action="store_true", help="the same, and open it in the browser")
    parser.add_argument("--port", type=int, default=0, help="port to serve on (default: any that is free)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build what there is; then show it if asked to."""
    from chaoskit.report.allure.build import build
    from chaoskit.report.allure.commandline import HOW_TO_GET, find

    reports: Path = arguments.reports
    results = arguments.results or reports / "allure-results"
    out: Path = arguments.out or reports / "allure-report"
    page = _page(reports)
    if page is not None:
        print(f"HTML page: {page}")
    status = 0
    allure = None
    if arguments.allure != "none":
        allure = find(None if arguments.allure == "auto" else int(arguments.allure), Path.cwd())
    if page is None and (arguments.allure == "none" or (allure is None and not results.is_dir())):
        print(f"no runs below {reports}: run pytest --chaos first, or say --reports DIR", file=sys.stderr)
        return 2
    if allure is None and arguments.allure != "none":
        wanted = "" if arguments.allure == "auto" else f" (version {arguments.allure} was asked for)"
        print(f"{HOW_TO_GET}{wanted}", file=sys.stderr)
        status = NO_ALLURE
    if allure is not None:
        build(allure, results, out, reports / "allure-history")
        print(f"Allure report: {out} (Allure {allure.version})")
    if arguments.serve or arguments.open:
        if allure is not None:
            _serve(out, arguments)
        elif page is not None:
            print("the HTML page needs no server")
            if arguments.open:
                webbrowser.open(page.resolve().as_uri())
    return status


def _page(reports: Path) -> Path | None:
    """Write the HTML page of the latest run; None when there is no run."""
    from chaoskit.report.html import NAME, write_page

    recorded, trend = _latest(reports)
    if not recorded:
        return None
    page = reports / NAME
    write_page(recorded, page, trend=trend, reports=reports)
    return page


def _latest(reports: Path) -> tuple[list[Recorded], list[tuple[str, float]]]:
    """What the latest run recorded, and the scores up to it. Without a history: the newest folder of a run."""
    from chaoskit.engine.run_folder import recordings
    from chaoskit.report.runs import read_run
    from chaoskit.trend.history_db import FILE, Database

    trend: list[tuple[str, float]] = []
    recorded: list[Recorded] = []
    folders: Sequence[Path] | None = None
    if (reports / FILE).exists():
        with Database(reports / FILE) as database:
            if entries := database.runs(1):
                trend = database.trend()
                found = [database.folder(folder.name) for folder in entries[0].folders]
                folders = [folder for folder in found if folder.is_dir()]  # it may have been cleared away since
                recorded = [each for each in database.scenarios(entries[0].id) if each.folder is None]
    for folder in _newest(reports) if folders is None else folders:
        if recordings(folder):
            known = {each.key for each in recorded}  # what was not run may stand in both
            recorded = [*(each for each in read_run(folder) if each.key not in known), *recorded]
    return recorded, trend


def _newest(reports: Path) -> list[Path]:
    """The folder of the run that was recorded last, if there is one."""
    from chaoskit.engine.run_folder import META, recordings
    from chaoskit.history.files import folder_below, folders_in

    runs = folder_below(reports, "runs")
    found = [(each / META, run) for run in (folders_in(runs) if runs.is_dir() else ()) for each in recordings(run)]
    return [run for _, run in sorted((meta.lstat().st_mtime, run) for meta, run in found)][-1:]


def _serve(folder: Path, arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    from chaoskit.report.allure.serve import ReportServer

    with ReportServer(folder, arguments.port) as server:
        print(f"serving {server.url} (Ctrl-C ends)", flush=True)
        if arguments.open:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
