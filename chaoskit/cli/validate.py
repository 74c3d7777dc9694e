"""``chaoskit validate PATH...``: every mistake of every scenario file, without running anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaoskit.language.scenario import Scenario


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("validate", help="check scenario files without running them")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("scenarios")], metavar="PATH")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="HOST", help="a host beyond loopback that scenarios may touch"
    )
    parser.add_argument(
        "--alerting", "--chaos-alerting", metavar="ENGINE",
        help="also check as a run with --chaos-alerting=ENGINE would: auto, prometheus, or embedded, which tells every "
        "rule that our stand-in for Prometheus does not understand",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all files are right, 1 when one has a mistake or there is none."""
    from chaoskit.base.errors import ChaosError, InputError, unknown
    from chaoskit.language.loader import find, load
    from chaoskit.language.named_hosts import allowed_hosts, outside, refuse_outside
    from chaoskit.language.shortages import refuse_too_few
    from chaoskit.services.providers._alerting import ENGINES

    if arguments.alerting not in (None, *ENGINES):
        raise ChaosError("--alerting: " + unknown("way of alerting", arguments.alerting, ENGINES))
    allowed = allowed_hosts(arguments.allow)
    files, scenarios, bad = 0, 0, 0
    told: dict[str, None] = {}
    for file in find(arguments.paths):
        files += 1
        try:
            loaded = load(file)
            scenarios += len(loaded)
            refuse_outside(found for scenario in loaded for found in outside(scenario, allowed))
            refuse_too_few(loaded)
            for scenario in loaded:
                _check_alerting(scenario, arguments.alerting)
        except InputError as error:
            # What is wrong with an environment is told once, and not for each scenario that names it.
            new = dict.fromkeys(text for problem in error.problems if (text := str(problem)) not in told)
            told.update(new)
            bad += 1
            print(*new, sep="\n", end="\n" if new else "")
    if not files:
        print(f"no *.chaos.yaml below {', '.join(map(str, arguments.paths))}", file=sys.stderr)
        return 1
    print(f"{files} files, {scenarios} scenarios, {len(told)} mistakes")
    return 1 if bad else 0


def _check_alerting(scenario: Scenario, option: str | None) -> None:
    """Raises InputError for what is wrong with the rule files of a scenario and of its control.

    With ``option`` (as --chaos-alerting) also for what cannot be had so here.
    """
    from chaoskit.base.errors import InputError
    from chaoskit.engine.alerting import alerting_of
    from chaoskit.language.environments import changed, mistakes_in_files
    from chaoskit.language.refusals import runtime_of

    model = scenario.model
    environment = changed(scenario.environment, model.with_)
    environments = [environment, *([changed(environment, model.control.with_)] if model.control else [])]
    for each in environments:
        if option is not None:
            alerting_of(each, option, runtime_of(each, "auto"))
        elif problems := mistakes_in_files(each):
            raise InputError(problems)
