"""``chaoskit doctor``: what this machine can do, what a missing part would enable, and how to install it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chaoskit import __version__

if TYPE_CHECKING:
    from chaoskit.cli._doctor.parts import Finding

_MARKS = {"found": "✓", "missing": "–", "unknown": "?"}


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("doctor", help="say what this machine can do, and how to get what is missing")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--limit", type=_seconds, metavar="SECONDS", help="how long to look (default: less than 2 s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look and tell. 1 when the embedded defaults will not work here, else 0."""
    from chaoskit.cli._doctor import containers, defaults, machine, tools
    from chaoskit.cli._doctor.parts import LIMIT, look_at

    parts = [*defaults.PARTS, *tools.PARTS, *containers.PARTS, *machine.PARTS]
    findings = look_at(parts, arguments.limit or LIMIT)
    if arguments.json:
        print(json.dumps(_as_data(findings), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_as_text(findings)))
    return int(any(finding.bad for finding in findings))


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) <= 600:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from above 0 to 600")


def _machine() -> str:
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    return f"{system}, kernel {platform.release()}, {os.cpu_count()} cores"


def _as_data(findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "chaoskit": __version__,
        "machine": _machine(),
        "ok": not any(finding.bad for finding in findings),
        "parts": [
            {
                "group": finding.part.group,
                "name": finding.part.name,
                "state": finding.state,
                "needed": finding.part.needed,
                "seen": finding.seen,
                "enables": finding.part.enables,
                "install": finding.part.install,
            }
            for finding in findings
        ],
    }


def _as_text(findings: Sequence[Finding]) -> Iterator[str]:
    yield f"chaoskit {__version__} on {_machine()}"
    width = max(len(finding.part.name) for finding in findings)
    group = ""
    for finding in findings:
        part = finding.part
        if part.group != group:
            group = part.group
            yield f"\n{group}"
        mark = "✗" if finding.bad else _MARKS[finding.state]
        yield f"  {mark} {finding.state:<7}  {part.name:<{width}}  {finding.seen}"
        if finding.state == "missing":
            indent = " " * (width + 15)
            yield f"{indent}for: {part.enables}"
            yield f"{indent}get: {part.install}"
    yield ""
    bad = [finding.part.name for finding in findings if finding.bad]
    if bad:
        yield f"The embedded defaults do not work here without: {', '.join(bad)}."
        return
    absent = [finding.part.name for finding in findings if finding.state == "missing"]
    rest = f"; missing, and not needed for them: {', '.join(absent)}" if absent else ""
    yield f"The embedded defaults have all they need{rest}."
