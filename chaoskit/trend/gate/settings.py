"""What the gate asks for: ``[tool.chaoskit.gate]`` of pyproject.toml, a YAML file, and what the command line adds."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from chaoskit.base import units
from chaoskit.base.errors import ChaosError, InputError, Problem, nearest
from chaoskit.base.plain_files import read_text
from chaoskit.language import source
from chaoskit.language.model import Severity
from chaoskit.language.pydantic_errors import problems_of
from chaoskit.language.types import Model, problem

OFF = "off"
_SEVERITIES: tuple[str, ...] = get_args(Severity)
_FORMS = ["50%", "500ms", "50% + 500ms", OFF]
_MEDIAN = re.compile(r"median of (\d+)")


@dataclass(frozen=True)
class Allowance:
    """How much longer than the baseline is allowed: a share of it, plus seconds."""

    text: str
    share: float = inf
    seconds: float = 0.0

    def limit(self, baseline: float) -> float:
        """The longest time that passes, in seconds."""
        return inf if self.share == inf else baseline * (1 + self.share) + self.seconds


def _allowance(value: object) -> Allowance:
    if isinstance(value, Allowance):
        return value
    if value in (OFF, False):  # TOML and YAML 1.1 readers write off as false
        return Allowance(OFF)
    if not isinstance(value, str):
        raise problem(f"{value!r} is no allowed increase", _FORMS)
    share = seconds = 0.0
    for part in value.split("+"):
        try:
            if part.strip().endswith("%"):
                share += units.parse_ratio(part)
            else:
                seconds += units.parse_duration(part)
        except units.UnitError:
            raise problem(f"{value!r} is no allowed increase", _FORMS, value) from None
    if share < 0 or seconds < 0:
        raise problem(f"{value!r}: an increase is not negative", _FORMS)
    return Allowance(value, share, seconds)


def _severities(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()] if value != "none" else []
    if isinstance(value, list):
        for each in value:
            if each not in _SEVERITIES:
                raise problem(f"unknown severity {each!r}", [*_SEVERITIES], str(each))
    return value


def _baseline(value: object) -> object:
    if value is False:
        return OFF
    text = str(value).strip()
    if text.startswith("median"):
        found = _MEDIAN.fullmatch(text)
        if found is None or int(found[1]) < 1:
            raise problem(f"{text!r} is no baseline", ["median of 5", "previous", OFF, "the id of a run"])
    return text


def _drop(value: object) -> object:
    return inf if value in (OFF, False) else value


def _told_drop(value: float) -> float | str:
    return OFF if value == inf else value


Increase = Annotated[Allowance, BeforeValidator(_allowance), PlainSerializer(lambda value: value.text)]


class Settings(Model):
    """The gate's settings; the names in files are these, the flags are these with dashes.

    ``min_score``: 0 to 100. ``block``: severities of which none may fail. ``baseline``: what figures are compared with.
    ``recovery`` and ``p99``: how much longer recovery and the p99 under faults may take than in the baseline.
    ``score_drop``: points that the score may lose against it. ``unstable_runs``: in how many of its own runs
    a scenario's outcomes are looked at for flips. ``inconclusive``: ``block`` (with an answer and an exit
    status of its own where nothing else blocks) or ``ignore``: what stayed inconclusive is left out, and named.
    """

    min_score: float = Field(80.0, ge=0, le=100)
    block: Annotated[list[Severity], BeforeValidator(_severities)] = ["blocker", "critical", "normal"]
    baseline: Annotated[str, BeforeValidator(_baseline)] = "median of 5"
    recovery: Increase = Allowance("100% + 2s", 1.0, 2.0)
    p99: Increase = Allowance("100% + 250ms", 1.0, 0.25)
    score_drop: Annotated[float, Field(ge=0), BeforeValidator(_drop), PlainSerializer(_told_drop)] = 10.0
    unstable_runs: int = Field(10, ge=2)
    inconclusive: Literal["block", "ignore"] = "block"

    @property
    def median_of(self) -> int | None:
        """Over how many runs the baseline is the median; None where it is one run, or off."""
        found = _MEDIAN.fullmatch(self.baseline)
        return int(found[1]) if found else None

    def told(self) -> str:
        """One line."""
        return (
            f"min_score {self.min_score:g}; block {', '.join(self.block) or 'none'}; baseline {self.baseline}; "
            f"recovery {self.recovery.text}; p99 {self.p99.text}; score_drop {_told_drop(self.score_drop)}; "
            f"inconclusive {self.inconclusive}"
        )


def load_settings(root: Path, file: Path | None = None, overrides: Mapping[str, str] | None = None) -> Settings:
    """The settings of the project in ``root``; of ``file`` (YAML, or TOML like pyproject) if given; ``overrides`` last.

    Raises InputError with every mistake, its place, and what was probably meant.
    """
    if file is None:
        pyproject = root / "pyproject.toml"
        page, base = (_toml(pyproject), "tool.chaoskit.gate") if pyproject.is_file() else (_empty(pyproject), "")
    elif file.suffix in (".yaml", ".yml"):
        page, base = _yaml(file), ""
    elif file.suffix == ".toml":
        page, base = _toml(file), "tool.chaoskit.gate"
    else:
        raise ChaosError(f"{file}: settings of the gate are YAML (.yaml, .yml) or TOML (.toml)")
    found = _validated(page, f"[{base}] " if base else "")
    return _overridden(found, overrides or {})


def _overridden(found: Settings, overrides: Mapping[str, str]) -> Settings:
    legal = list(Settings.model_fields)
    problems = [
        Problem("command line", 0, f"unknown setting {name!r}", legal, name) for name in overrides if name not in legal
    ]
    if problems:
        raise ChaosError("\n".join(_without_place(each) for each in problems))
    page = source.Source(Path("command line"), "", {name: _plain(text) for name, text in overrides.items()})
    try:
        changed = Settings.model_validate(page.data)
    except ValidationError as error:
        told = [_without_place(each) for each in problems_of(error, Settings, page)]
        raise ChaosError("\n".join(told)) from None
    return found.model_copy(update={name: getattr(changed, name) for name in overrides})


def _plain(text: str) -> str | float:
    """Text of a command line as a file would hold it."""
    try:
        return float(text) if not text.strip().isdecimal() else int(text)
    except ValueError:
        return text


def _without_place(each: Problem) -> str:
    near = nearest(each.found, each.legal) if each.found is not None else None
    legal = f"; legal: {', '.join(each.legal)}" if each.legal else ""
    return f"gate: {each.what}{legal}" + (f"; did you mean {near!r}?" if near else "")


def _validated(page: source.Source, prefix: str) -> Settings:
    data = page.data if page.data is not None else {}
    if not isinstance(data, dict):
        raise InputError([Problem(page.file, 1, f"{prefix}a mapping of settings is expected")])
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise InputError(
            Problem(each.file, _line(page, each, prefix), prefix + each.what, each.legal, each.found)
            for each in problems_of(error, Settings, page)
        ) from None


def _line(page: source.Source, each: Problem, prefix: str) -> int:
    """TOML's parser keeps no lines: the first line of the table that names the key, else the table's own."""
    if not prefix:
        return each.line
    lines = page.text.splitlines()
    start = next((number for number, line in enumerate(lines, 1) if line.strip() == prefix.strip()), 1)
    words = re.findall(r"\w+", each.what)
    for number, line in enumerate(lines[start:], start + 1):
        if line.lstrip().startswith("["):
            break
        key = line.partition("=")[0].strip()
        if key and key in words:
            return number
    return start


def _empty(file: Path) -> source.Source:
    return source.Source(file, "", {})


def _yaml(file: Path) -> source.Source:
    return source.read(file, _text(file))


def _toml(file: Path) -> source.Source:
    text = _text(file)
    try:
        data: Any = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # some numbers are not told as TOML's own error
        raise ChaosError(f"{file}: {error}") from None
    for name in ("tool", "chaoskit", "gate"):
        data = data.get(name, {}) if isinstance(data, dict) else {}
    return _Toml(file, text, data)


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except OSError as error:
        raise ChaosError(f"settings of the gate: {file}: {error.strerror}") from None


class _Toml(source.Source):
    """TOML with the same questions as YAML; the lines are found later."""

    def line(self, path: Sequence[str | int]) -> int:  # noqa: ARG002
        """Unknown."""
        return 1
