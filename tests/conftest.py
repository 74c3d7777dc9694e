"""Shared by all tests: pytest's own fixture for testing plugins, and no time limit for single hypothesis examples."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["pytester"]

if not os.environ.get("CI"):  # hypothesis has a profile of its own for CI, without time limits and repeatable
    settings.register_profile("unhurried", deadline=None)  # a machine may be busy with other things
    settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _own_journals(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second copies of the journals of these tests do not lie among the user's own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
