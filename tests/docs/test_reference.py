"""docs/reference.md is what the code says now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.language.plugins import registry

ROOT = Path(__file__).parents[2]
GENERATE = ROOT / "docs" / "generate.py"


def generate(*arguments: str, seed: str = "0", root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the generator, with a hash seed of its own."""
    return subprocess.run(
        [sys.executable, root / "docs" / "generate.py", *arguments],
        env={"PYTHONHASHSEED": seed}, cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def copied(tmp_path: Path) -> Path:
    """A project with the generator and one scenario, whose reference may be spoilt."""
    for part in ("docs/generate.py", "docs/reference.md", "docs/_generator", "scenarios"):
        target = tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            target.mkdir()
            for file in (file for file in (ROOT / part).rglob("*") if file.is_file() and file.suffix != ".pyc"):
                (target / file.relative_to(ROOT / part)).parent.mkdir(parents=True, exist_ok=True)
                (target / file.relative_to(ROOT / part)).write_bytes(file.read_bytes())
        else:
            target.write_bytes((ROOT / part).read_bytes())
    return tmp_path


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_the_reference_is_up_to_date(seed):
    """Whoever changes a model or docstring runs docs/generate.py; the order of sets and hashes does not matter."""
    done = generate("--check", seed=seed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_reference_is_told_and_written_anew(tmp_path):
    """--check exits with 1 and writes nothing; without it the reference is as it should be."""
    project = copied(tmp_path)
    reference = project / "docs" / "reference.md"
    right = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    reference.write_text("stale", encoding="utf-8")
    done = generate("--check", root=project)
    assert done.returncode == 1
    assert "run python docs/generate.py" in done.stderr
    assert reference.read_text(encoding="utf-8") == "stale"
    assert generate(root=project).returncode == 0
    assert reference.read_text(encoding="utf-8") == right


def test_a_key_without_a_meaning_stops_the_generator(tmp_path):
    """A new key needs a sentence: the message names it."""
    project = copied(tmp_path)
    meanings = project / "docs" / "_generator" / "meanings.yaml"
    text = meanings.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("    copies:"))
    meanings.write_text(text.replace(line, "    copied: gone"), encoding="utf-8")
    done = generate("--check", root=project)
    assert done.returncode == 1
    assert "Operation: copies is missing" in done.stderr


@pytest.mark.parametrize("kind", ["faults", "expectations", "providers"])
def test_everything_has_its_section(kind):
    """Each fault, expectation and provider has a heading and an example below it."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    chapter = text.partition(f"\n## {kind.capitalize()}\n")[2].partition("\n## ")[0]
    for name in registry(kind):
        section = chapter.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert "```yaml" in section, f"{kind}: {name} has no section with an example"


def test_no_restructured_text_is_left():
    """Roles and double backticks became Markdown."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert ":class:" not in text
    assert ":func:" not in text
    assert ":mod:" not in text
    assert "``" not in text.replace("```", "")
