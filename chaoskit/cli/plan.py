"""``chaoskit plan FILE``: the timeline and everything a scenario will touch, without touching it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("plan", help="print what a scenario will do, and to what")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--runtime", choices=("auto", "process", "docker"), default="auto", help="as --chaos-runtime")
    parser.add_argument("--toxiproxy", metavar="ENGINE", default="auto", help="as --chaos-toxiproxy")
    parser.add_argument("--allow", action="append", default=[], metavar="HOST", help="as --chaos-allow")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plans; 1 when a scenario would be refused."""
    from chaoskit.engine.blast_report import touches
    from chaoskit.engine.plan import describe, plan
    from chaoskit.engine.toxiproxy_server import resolve
    from chaoskit.language.loader import find, load
    from chaoskit.language.named_hosts import allowed_hosts, outside
    from chaoskit.language.refusals import refused, runtime_of
    from chaoskit.language.run_target import Setting
    from chaoskit.language.shortages import refuse_too_few

    allowed = allowed_hosts(arguments.allow)
    toxiproxy, status = resolve(arguments.toxiproxy, allowed), 0
    for file in find(arguments.paths):
        loaded = load(file)
        refuse_too_few(loaded)
        for scenario in loaded:
            setting = Setting(toxiproxy, runtime_of(scenario.environment, arguments.runtime))
            print("\n".join([*describe(plan(scenario)), *touches(scenario, setting, allowed)]))
            for each in refused(scenario, setting):
                print(f"  {'skipped' if each.accepted else 'refused'}      {each}")
                status |= not each.accepted
            status |= any(True for _ in outside(scenario, allowed))
    return int(status)
