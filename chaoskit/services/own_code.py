"""Our own package as files, for containers that run a part of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import chaoskit

FOLDER = "/opt/chaoskit"
"""Where it lies in a container."""

PYTHON_IMAGE = "python:3.11-slim"
"""Runs the parts that need the standard library only; any image with Python 3.11 or newer would do."""

ENVIRONMENT = {"PYTHONPATH": FOLDER, "PYTHONDONTWRITEBYTECODE": "1"}
"""Variables that let Python find it there."""


@functools.cache
def own_code(*parts: str) -> Mapping[str, bytes]:
    """Modules (``services/stub.py``) or packages (``toxiproxy/server``), with the packages that they lie in."""
    root = Path(chaoskit.__file__).parent
    files = {root / "__init__.py"}
    for part in parts:
        path = root / part
        files |= {folder / "__init__.py" for folder in path.parents if folder.is_relative_to(root)}
        files |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return {f"{FOLDER}/chaoskit/{path.relative_to(root)}": path.read_bytes() for path in sorted(files)}
