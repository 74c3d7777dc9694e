"""``chaoskit schema``: the JSON Schema of scenario files, for completion and checking in editors."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("schema", help="print the JSON Schema of scenario files")
    parser.add_argument("--environment", action="store_true", help="of environment files instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    from chaoskit.scenario.schema import environment_schema, scenario_schema

    print(json.dumps(environment_schema() if arguments.environment else scenario_schema(), indent=1))
    return 0
