"""What Compose makes of a file's text before it means anything: variables filled in, ``env_file`` read.

This is read at load to tell mistakes early; what counts is what the Compose tool itself says when the run starts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaoskit.base.plain_files import read_text

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<how>:?[-+?])(?P<word>(?:[^{}]|\{[^{}]*\})*))?\})"
)


def known(folder: Path) -> dict[str, str]:
    """The variables that Compose fills in for files in ``folder``: of ``.env`` there, and of our environment."""
    return {**env_file(folder / ".env", {}), **os.environ}


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """A JSON-like value with ``$NAME``, ``${NAME:-otherwise}`` and their like filled in, in all its texts."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _one(found, variables), value)
    if isinstance(value, dict):
        return {key: filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, variables) for inner in value]
    return value


def _one(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    value, how = variables.get(found["plain"] or found["braced"], ""), found["how"] or ""
    given = bool(value) if how.startswith(":") else (found["plain"] or found["braced"]) in variables
    word = str(filled(found["word"] or "", variables))
    if how.endswith("+"):
        return word if given else ""
    return word if how.endswith("-") and not given else value


def env_file(file: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of an ``env_file``; none where it cannot be read. A name alone takes its value from ours."""
    try:
        lines = read_text(file).splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not name or name.startswith("#"):
            continue
        if not separator:
            if name in variables:
                found[name] = variables[name]
            continue
        quote = value[:1] if value[:1] in ("'", '"') else ""
        value = value[1:].partition(quote)[0] if quote else re.split(r"\s#", value, maxsplit=1)[0].strip()
        found[name] = value if quote == "'" else str(filled(value, {**variables, **found}))
    return found
