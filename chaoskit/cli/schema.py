"""``chaoskit schema``: the JSON Schema of files that people write, of fault reports, and of the gate's answer."""

from __future__ import annotations

import argparse
import json
from typing import Any

KINDS = ("scenario", "environment", "sop", "fault-report", "gate")


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("schema", help="print a JSON Schema: of scenario files, or of another kind of file")
    parser.add_argument("kind", nargs="?", choices=KINDS, default="scenario", help="of what (default: scenario)")
    parser.add_argument("--environment", action="store_true", help="the same as the kind environment")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    from chaoskit.alerting.fault_report import fault_report_schema
    from chaoskit.language.schema import environment_schema, scenario_schema, sop_schema
    from chaoskit.trend.gate.decision import schema as gate_schema

    makers = {
        "scenario": scenario_schema,
        "environment": environment_schema,
        "sop": sop_schema,
        "fault-report": fault_report_schema,
        "gate": gate_schema,
    }
    print(json.dumps(makers["environment" if arguments.environment else arguments.kind](), indent=1))
    return 0
