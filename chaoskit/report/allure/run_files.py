"""What a run adds to the results of its scenarios: categories, the environment, and the CI build."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chaoskit.history.files import make_folder, read_object, write_kept
from chaoskit.report.allure.categories import CATEGORIES
from chaoskit.report.allure.executor import executor
from chaoskit.report.allure.words import clean

SEEDS = 4
"""Seeds named in the environment; each worker of xdist draws its own."""


def write_run_files(results: Path, folders: Iterable[Path], env: Mapping[str, str] | None = None) -> None:
    """Write ``categories.json``, ``environment.properties`` and ``executor.json`` beside the results.

    ``folders`` are those of the scenarios that were run; ``env`` are the variables of the process.
    """
    make_folder(results.resolve())  # which a person has named
    metas = [read_object(folder, "run.json") for folder in folders]
    write_kept(results / "categories.json", json.dumps(CATEGORIES, indent=1) + "\n")
    lines = (f"{_escaped(key, key=True)}={_escaped(value)}" for key, value in _environment(metas).items())
    write_kept(results / "environment.properties", "\n".join(lines) + "\n")
    told = executor(os.environ if env is None else env)
    if told:
        write_kept(results / "executor.json", json.dumps(told, indent=1) + "\n")


def _environment(metas: list[dict[str, Any]]) -> dict[str, str]:
    # Allure 3 shows six before a click. What broke early has not learned the version of its Toxiproxy.
    told = [meta for meta in metas if meta.get("runtime")] or metas
    found: dict[str, str] = {}
    for key, name, source in (
        ("toxiproxy", "Toxiproxy", told),
        ("runtime", "runtime", told),
        ("environment", "environments", metas),
    ):
        found[name] = ", ".join(sorted({str(meta[key]) for meta in source if meta.get(key)}))
    served = {str(meta["alerting"]["served_by"]) for meta in metas if meta.get("alerting")}
    found["alerting"] = "; ".join(sorted(served))
    seeds = sorted({str(meta["seed"]) for meta in metas})
    more = f" and {len(seeds) - SEEDS} more" if len(seeds) > SEEDS else ""
    found["seed"] = ", ".join(seeds[:SEEDS]) + more
    found["started"] = min((str(meta["started"]) for meta in metas), default="")
    for name in ("chaoskit", "pytest", "allure-pytest", "pytest-xdist"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["Python"] = platform.python_version()
    found["system"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {name: value for name, value in found.items() if value}


def _escaped(text: str, *, key: bool = False) -> str:
    """As ``.properties`` files want it: one line of ASCII."""
    text = clean(text).replace("\\", "\\\\").replace("\n", "\\n")
    if key:
        text = text.replace(" ", "\\ ").replace("=", "\\=").replace(":", "\\:")
    units = text.encode("utf-16-be")
    codes = (int.from_bytes(units[index : index + 2], "big") for index in range(0, len(units), 2))
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)
