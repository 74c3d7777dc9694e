"""An environment that extends another: what is merged, whose lines mistakes have, what a recorded run keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language.environments import load_environment
from chaoskit.language.source import as_yaml

BASE = """environment: base
data: {skus: [a, b], limits: {low: 1, high: 9}}
services:
  web:
    command: python -m web
    metrics: /metrics
    env: {COLOUR: blue, SIZE: small}
  redis: {provider: redis}
"""


@pytest.fixture
def folder(tmp_path):
    """A project with the environment ``base``."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def extended(folder: Path, text: str):
    """The environment ``mine``."""
    file = folder / "mine.yaml"
    file.write_text(text)
    return load_environment(file)


def test_own_keys_win(folder) -> None:
    """Services and data are merged key by key; what is not said stays."""
    text = (
        "environment: mine\nextends: base\ndata: {limits: {low: 2}}\n"
        "services:\n  web: {env: {COLOUR: red}}\n  stub: {provider: noop}\n"
    )
    found = extended(folder, text)
    assert found.name == "mine"
    assert list(found.services) == ["web", "redis", "stub"]
    assert found.services["web"].env == {"COLOUR": "red", "SIZE": "small"}
    assert found.services["web"].metrics == "/metrics"
    assert found.data == {"skus": ["a", "b"], "limits": {"low": 2, "high": 9}}


def test_only_a_name(folder) -> None:
    """Nothing need be added."""
    assert list(extended(folder, "environment: mine\nextends: base\n").services) == ["web", "redis"]


def test_a_copy_stands_alone(folder) -> None:
    """What a run keeps of it says the same without the file it extends."""
    found = extended(folder, "environment: mine\nextends: base\nservices:\n  stub: {provider: noop}\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "environment.yaml").write_text(as_yaml(found.flat))
    copy = load_environment(elsewhere / "environment.yaml")
    assert copy.services == found.services
    assert copy.data == found.data


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("environment: mine\nextends: bse\n", "mine.yaml:2: unknown environment 'bse'.*did you mean 'base'"),
        ("environment: mine\nextends: mine\n", "mine.yaml:2: unknown environment 'mine'"),
        ("environment: mine\nextends: [base]\n", "mine.yaml:2: extends: text is expected"),
        ("environment: mine\nextends: base\nservices:\n  web: {comand: a}\n", "mine.yaml:4: unknown key 'comand'"),
        (
            "environment: mine\nextends: base\nservices:\n  stub:\n    provider: nop\n",
            "mine.yaml:5: .*did you mean 'noop'",
        ),
    ],
)
def test_mistakes_have_the_lines_of_the_file_that_makes_them(folder, text: str, what: str) -> None:
    """One clear error."""
    with pytest.raises(InputError, match=what):
        extended(folder, text)


def test_mistakes_of_the_file_below_have_its_lines(folder) -> None:
    """Not those of the one that extends it."""
    (folder / "base.yaml").write_text(BASE.replace("provider: redis", "provider: rdis"))
    os.utime(folder / "base.yaml", ns=(1, 1))
    with pytest.raises(InputError, match=r"base\.yaml:8: unknown provider 'rdis'"):
        extended(folder, "environment: mine\nextends: base\n")


def test_one_level(folder) -> None:
    """What is extended extends nothing itself."""
    (folder / "middle.yaml").write_text("environment: middle\nextends: base\n")
    with pytest.raises(InputError, match="middle cannot be extended: it extends another one itself"):
        extended(folder, "environment: mine\nextends: middle\n")


def test_arguments_of_providers_name_services(folder) -> None:
    """A service that is not there is a mistake with its line."""
    text = (
        "environment: mine\nextends: base\nservices:\n  prometheus:\n    provider: prometheus\n"
        "    args: {rules: [a.yml], scrape: [wbe]}\n"
    )
    with pytest.raises(InputError, match=r"mine\.yaml:6: .*unknown service 'wbe'.*did you mean 'web'"):
        extended(folder, text)
