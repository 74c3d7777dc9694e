"""Shared by all tests: pytest's own fixture for testing plugins, and no time limit for single hypothesis examples."""

import os

from hypothesis import settings

pytest_plugins = ["pytester"]

if not os.environ.get("CI"):  # hypothesis has a profile of its own for CI, without time limits and repeatable
    settings.register_profile("unhurried", deadline=None)  # a machine may be busy with other things
    settings.load_profile("unhurried")
