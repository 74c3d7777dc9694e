"""README and docs name only what exists: commands, options, files, headings; and their YAML is YAML."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from chaoskit.language import source
from chaoskit.language.compose import ComposedSpec
from chaoskit.language.model import Control
from chaoskit.language.plugins import registry
from chaoskit.language.service import ServiceSpec

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("reports/*.md")]
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND = re.compile(r"\bchaoskit ([a-z]\w*)([^\n|;&]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
CHAOS_OPTION = re.compile(r"(?<![\w-])--chaos[a-z-]*")
SHELL = ("sh", "bash", "console")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def fences(page: Path) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks of a page."""
    return [(language, text) for _, language, text in FENCE.findall(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def code(page: Path) -> list[str]:
    """What a reader would type: code spans, and blocks of shell (prose may say that chaoskit does something)."""
    return [*SPAN.findall(prose(page)), *(text for language, text in fences(page) if language in SHELL)]


@cache
def help_of(*command: str) -> str | None:
    """What ``--help`` prints below a command; None when there is no such command."""
    start = "import sys; from chaoskit.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", start, *command, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr if done.returncode == 0 else None


@cache
def pytest_help() -> str:
    """What ``pytest --help`` prints with the plugin loaded."""
    command = [sys.executable, "-m", "pytest", "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    slugs = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in HEADING.findall(prose(page))]
    earlier = [slugs[:index].count(slug) for index, slug in enumerate(slugs)]
    return {f"{slug}-{count}" if count else slug for slug, count in zip(slugs, earlier, strict=True)}


@pages
def test_commands_exist(page):
    """Every ``chaoskit COMMAND`` is a subcommand and has the options that stand behind it."""
    for text in code(page):
        for command, rest in COMMAND.findall(text):
            told = help_of(command)
            assert told is not None, f"chaoskit {command} (in {text!r}): no such command"
            for option in OPTION.findall(rest):
                assert re.search(rf"{option}\b", told), f"chaoskit {command} has no option {option}"


@pages
def test_pytest_options_exist(page):
    """Every ``--chaos...`` is an option that the plugin adds."""
    for option in CHAOS_OPTION.findall(page.read_text(encoding="utf-8")):
        assert re.search(rf"{option}(?![\w-])", pytest_help()), f"pytest has no option {option}"


@pages
def test_links_lead_somewhere(page):
    """Every relative link names a file of the project and, with an anchor, a heading in it."""
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{target}: {file.name} has no such heading"


@pages
def test_yaml_parses(page):
    """Every YAML block is YAML, read as chaoskit reads its files."""
    for language, text in fences(page):
        if language in ("yaml", "yml"):
            source.read(page, text)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "plug-ins.md"], ids=lambda page: page.stem)
def test_fragments_are_right(page):
    """What stands in a fragment below services, timeline.faults, expect and control satisfies its model.

    The page about plug-ins has words of its own: test_plug_ins.py follows it.
    """
    for language, text in fences(page):
        if language not in ("yaml", "yml"):
            continue
        data = source.read(page, text).data
        if not isinstance(data, dict):
            continue
        services = data.get("services", {})
        for spec in services.values():
            (ComposedSpec if "compose" in data else ServiceSpec).model_validate(spec)
            if "provider" in spec:
                registry("providers").get(spec["provider"]).Args.model_validate(spec.get("args", {}))
        for fault in data.get("timeline", {}).get("faults", []):
            ((_, body),) = fault.items()
            ((kind, arguments),) = ((key, value) for key, value in body.items() if key not in ("at", "for"))
            registry("faults").get(kind).model_validate(arguments or {})
        for kind, blocks in data.get("expect", {}).items():
            for block in blocks if isinstance(blocks, list) else [blocks]:
                registry("expectations").get(kind).model_validate(block)
        if "control" in data:
            Control.model_validate(data["control"])


def test_the_checks_find_something():
    """A change of style must not leave the checks with nothing to check."""
    texts = [text for page in PAGES for text in code(page)]
    assert len([command for text in texts for command in COMMAND.findall(text)]) > 10
    assert len([link for page in PAGES for link in LINK.findall(prose(page))]) > 30
    assert len([1 for page in PAGES for language, _ in fences(page) if language == "yaml"]) > 30
