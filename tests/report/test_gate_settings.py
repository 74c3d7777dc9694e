"""The gate's settings: pyproject.toml, a YAML file, the command line; and every kind of mistake in them."""

from __future__ import annotations

from math import inf

import pytest

from chaoskit.base.errors import ChaosError
from chaoskit.trend.gate import Settings, load_settings

HEAD = "[project]\nname = 'x'\n\n[tool.chaoskit.gate]\n"


def toml(folder, text: str) -> None:
    """The project's settings."""
    (folder / "pyproject.toml").write_text(HEAD + text, encoding="utf-8")


def test_defaults(tmp_path):
    """No pyproject.toml, none with a table for us, and an empty table."""
    assert load_settings(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load_settings(tmp_path) == Settings()
    toml(tmp_path, "")
    assert load_settings(tmp_path) == Settings()


def test_all_of_them(tmp_path):
    """From TOML and from YAML the same."""
    toml(
        tmp_path,
        "min_score = 95\nblock = ['blocker', 'critical']\nbaseline = 'previous'\nrecovery = '50% + 1s'\n"
        "p99 = '30%'\nscore_drop = 2.5\nunstable_runs = 20\n",
    )
    settings = load_settings(tmp_path)
    assert (settings.min_score, settings.block, settings.baseline) == (95, ["blocker", "critical"], "previous")
    assert settings.recovery.limit(2.0) == 4.0
    assert settings.p99.limit(1.0) == pytest.approx(1.3)
    assert (settings.score_drop, settings.unstable_runs) == (2.5, 20)
    yaml = tmp_path / "gate.yaml"
    yaml.write_text(
        "min_score: 95\nblock: [blocker, critical]\nbaseline: previous\nrecovery: 50% + 1s\np99: 30%\n"
        "score_drop: 2.5\nunstable_runs: 20\n"
    )
    assert load_settings(tmp_path, yaml) == settings


def test_off(tmp_path):
    """What is off allows anything."""
    yaml = tmp_path / "gate.yml"
    yaml.write_text("recovery: off\np99: off\nscore_drop: off\nbaseline: off\nblock: []\n")
    settings = load_settings(tmp_path, yaml)
    assert (settings.recovery.limit(1), settings.p99.limit(1), settings.score_drop) == (inf, inf, inf)
    assert (settings.baseline, settings.block) == ("off", [])
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings


def test_the_command_line_comes_last(tmp_path):
    """Only what it names is changed."""
    toml(tmp_path, "min_score = 95\np99 = 'off'\n")
    settings = load_settings(
        tmp_path, None, {"min_score": "50.5", "block": "blocker, critical", "baseline": "20260101-1"}
    )
    assert (settings.min_score, settings.block, settings.baseline) == (50.5, ["blocker", "critical"], "20260101-1")
    assert settings.p99.text == "off"
    assert load_settings(tmp_path, None, {"block": "none"}).block == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "min_scor = 90\n",
            5,
            "unknown key 'min_scor'; legal: baseline, block, inconclusive, min_score, .* did you mean 'min_score'",
        ),
        ("p99 = '30%'\nblock = ['critcal']\n", 6, "unknown severity 'critcal'; legal: blocker, .* mean 'critical'"),
        ("min_score = 101\n", 5, "min_score: .*less than or equal to 100"),
        ("p99 = 30\n", 5, "p99: 30 is no allowed increase; legal: 50%, 500ms, 50% \\+ 500ms, off"),
        ("recovery = '30 seconds'\n", 5, "recovery: '30 seconds' is no allowed increase"),
        ("recovery = '-30%'\n", 5, "recovery: '-30%': an increase is not negative"),
        ("baseline = 'median of 0'\n", 5, "baseline: 'median of 0' is no baseline; legal: median of 5, previous"),
        ("unstable_runs = 1\n", 5, "unstable_runs: .*greater than or equal to 2"),
    ],
)
def test_mistakes_in_pyproject(tmp_path, text, line, words):
    """File, line, what is legal, what was meant."""
    toml(tmp_path, text)
    with pytest.raises(ChaosError, match=words) as caught:
        load_settings(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'pyproject.toml'}:{line}: [tool.chaoskit.gate] ")


def test_mistakes_in_yaml(tmp_path):
    """All of them at once, each with its line."""
    yaml = tmp_path / "gate.yaml"
    yaml.write_text("min_score: high\n\nblok: [minor]\n")
    with pytest.raises(ChaosError) as caught:
        load_settings(tmp_path, yaml)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{yaml}:1: min_score: a number is expected, found 'high'")
    assert second.startswith(f"{yaml}:3: unknown key 'blok'")
    assert second.endswith("did you mean 'block'?")


def test_mistakes_on_the_command_line(tmp_path):
    """In the same words, without a file."""
    with pytest.raises(ChaosError, match=r"gate: unknown setting 'min_scor'; legal: .*did you mean 'min_score'\?"):
        load_settings(tmp_path, None, {"min_scor": "1"})
    with pytest.raises(ChaosError, match=r"gate: block: unknown severity 'hard'; legal: blocker"):
        load_settings(tmp_path, None, {"block": "hard"})
    with pytest.raises(ChaosError, match=r"gate: min_score: a number is expected, found 'lots'"):
        load_settings(tmp_path, None, {"min_score": "lots"})
    with pytest.raises(ChaosError, match="min_score"):
        load_settings(tmp_path, None, {"min_score": "nan"})


def test_files_that_cannot_be_read(tmp_path):
    """Missing, of another kind, no TOML, no mapping."""
    with pytest.raises(ChaosError, match=r"gate\.yaml: No such file"):
        load_settings(tmp_path, tmp_path / "gate.yaml")
    with pytest.raises(ChaosError, match="settings of the gate are YAML"):
        load_settings(tmp_path, tmp_path / "gate.json")
    (tmp_path / "pyproject.toml").write_text("[tool\n")
    with pytest.raises(ChaosError, match=r"pyproject\.toml: "):
        load_settings(tmp_path)
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ChaosError, match="a mapping is expected"):
        load_settings(tmp_path, tmp_path / "list.yaml")
    (tmp_path / "pyproject.toml").write_text("[tool.chaoskit]\ngate = 3\n")
    with pytest.raises(ChaosError, match="a mapping of settings is expected"):
        load_settings(tmp_path)
