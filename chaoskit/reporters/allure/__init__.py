"""Allure: what a scenario writes into its result, what a run adds to them, and the report built from both."""

from __future__ import annotations

from chaoskit.reporters.allure.identity import identify
from chaoskit.reporters.allure.labels import labels
from chaoskit.reporters.allure.result import attach
from chaoskit.reporters.allure.run_files import write_run_files

__all__ = ["attach", "identify", "labels", "write_run_files"]
