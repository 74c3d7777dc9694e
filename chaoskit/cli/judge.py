"""``chaoskit judge RUN``: judge recorded runs again, with other bounds if wanted, without running anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Judge recorded runs again without running anything, with other bounds if wanted: in FILE only what is expected
(steady_state, expect, what the control violates), the severity and texts may differ from what was recorded.

exit status: 0 all held (controls: were caught), 1 some did not, 2 nothing was judged, as the input is bad,
4 those that did not are inconclusive
"""

_UNKNOWN = tuple(f"unknown {kind} " for kind in ("fault", "expectation", "provider", "action"))
_MARKS = {"held": "+", "violated": "-", "vacuous": "?", "inconclusive": "~", "broken": "!"}


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser(
        "judge",
        help="judge a recorded run again",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="an id (or its start), latest, previous; or the folder of a run or of one scenario in it",
    )  # fmt: skip
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="DIR", help="as --chaos-reports")
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="judge by this file instead of the recorded one")
    parser.add_argument(
        "--plugins", type=Path, metavar="PROJECT",
        help="the project whose own plug-ins (PROJECT/plugins) are meant; none is taken from where a recording lies",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all held (controls: were caught), 1 when some did not (4 when all of those are inconclusive), 2 when there
    is nothing to judge."""
    from chaoskit.base.errors import ChaosError, InputError
    from chaoskit.base.units import format_duration
    from chaoskit.engine.run_folder import read_meta, recordings, rejudge
    from chaoskit.language.expectation import Outcome
    from chaoskit.language.plugins import load_plugins
    from chaoskit.language.source import shown
    from chaoskit.report.sources import place as place_of
    from chaoskit.trend.gate.decision import BLOCKED, EXIT, INCONCLUSIVE, PASSED
    from chaoskit.trend.history_db import FILE
    from chaoskit.trend.history_db import folders as folders_of

    if arguments.plugins is not None:
        load_plugins(arguments.plugins)
    places = [place for word in arguments.runs for place in folders_of(arguments.reports / FILE, word)]
    folders = [folder for place in places for folder in recordings(place)]
    if not folders:
        print(f"no recorded scenario in {', '.join(map(str, places))}", file=sys.stderr)
        return 2
    if arguments.scenario is not None:
        folders = _of(folders, arguments.scenario)
    failed = set()
    for folder in folders:
        try:
            scenario, verdict, control = rejudge(folder, arguments.scenario)
        except InputError as error:
            if arguments.plugins is None and any(problem.what.startswith(_UNKNOWN) for problem in error.problems):
                raise ChaosError(f"{error}\nis it a plug-in of your project? say whose: --plugins PROJECT") from None
            raise
        passed = control.caught if control else verdict.outcome is Outcome.HELD
        outcome = control.outcome if control else str(verdict.outcome)
        if not passed:
            failed.add(outcome)
        print(f"{folder.name}: {outcome}: {control.reason if control else verdict.reason}")
        meta = read_meta(folder)
        file = "" if arguments.scenario else place_of(folder, meta.file or "", meta.nodeid or "")
        for judged in (*verdict.failed(), *(each for each in verdict.findings if each.finding.held)):
            finding = judged.finding
            mark = _MARKS[str(finding.outcome)]
            line = f"{file or shown(scenario.file)}:{judged.line}"
            print(f"  {mark} {finding.id}: expected {finding.expected}, seen {finding.seen} ({finding.samples}) {line}")
        if verdict.recovery is not None:
            print(f"  recovery {format_duration(verdict.recovery)}")
    print(f"({', '.join(f'{mark} {outcome}' for outcome, mark in _MARKS.items())}; in brackets: samples)")
    return EXIT[BLOCKED if failed - {INCONCLUSIVE} else INCONCLUSIVE if failed else PASSED]


def _of(folders: list[Path], file: Path) -> list[Path]:
    """The recordings of the scenarios in ``file``. Raises BrokenError when it is of none of them."""
    from chaoskit.base.errors import BrokenError
    from chaoskit.engine.run_folder import read_meta
    from chaoskit.language.loader import names as names_in

    names = names_in(file)  # only read: what it refers to lies beside each recording
    recorded = {folder: read_meta(folder).scenario for folder in folders}
    found = [folder for folder, name in recorded.items() if not names or name is None or name in names]
    if not found:
        raise BrokenError(
            f"{file} is of {', '.join(sorted(names))!r}; recorded is {', '.join(sorted(map(str, recorded.values())))!r}"
        )
    return found
