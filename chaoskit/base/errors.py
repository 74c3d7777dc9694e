"""What can go wrong, in words for the person who reads it.

Every error that chaoskit raises on purpose is a :class:`ChaosError`; its text is complete (what was wrong,
what is legal, what to do) and is shown without a traceback.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_LONGEST_WORD = 200
"""Characters. Nobody means a word of ours by anything longer, and to compare it takes its time."""


class ChaosError(Exception):
    """Base of all errors that chaoskit raises on purpose."""


class BrokenError(ChaosError):
    """The environment or chaoskit itself failed: the rehearsal says nothing about the service."""


class TimeoutExpired(BrokenError):
    """A condition did not come within its limit. The text says what was awaited and what was last seen."""


class NotRestorable(BrokenError):
    """What a service held cannot be brought back in place, only by starting the environment anew. The text says why."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a file a person wrote.

    ``line`` is one-based. ``legal`` lists what may stand there; the nearest of ``legal`` to ``found`` is
    offered as a correction.
    """

    file: Path | str
    line: int
    what: str
    legal: Sequence[str] = ()
    found: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.told}"

    @property
    def told(self) -> str:
        """The mistake without its place, for what stands in no file."""
        text = self.what
        if self.legal:
            text += f"; legal: {', '.join(self.legal)}"
        near = nearest(self.found, self.legal) if self.found is not None else None
        if near is not None:
            text += f"; did you mean {near!r}?"
        return text


class InputError(ChaosError):
    """All mistakes found in one file, one line of text each; of very many the first."""

    MOST = 200

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (str(p.file), p.line))
        if len(self.problems) > self.MOST:
            next_ = self.problems[self.MOST - 1]
            self.problems[self.MOST - 1 :] = [Problem(next_.file, next_.line, "and more mistakes, which are not told")]
        super().__init__("\n".join(map(str, self.problems)))


def described(error: Exception) -> str:
    """An error that nobody raised on purpose, in one line with the place where it was raised: ``... (FILE:LINE)``."""
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f" ({error.filename}:{error.lineno})", error.msg
    else:
        text = str(error)
        if frames := traceback.extract_tb(error.__traceback__):
            place = f" ({frames[-1].filename}:{frames[-1].lineno})"
    return f"{type(error).__name__}: {' '.join(text.split())}{place}"


def nearest(word: str, legal: Iterable[str]) -> str | None:
    """The member of ``legal`` that was probably meant by ``word``, or None."""
    if len(word) > _LONGEST_WORD:
        return None
    found = difflib.get_close_matches(word, list(legal), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(kind: str, word: str, legal: Iterable[str]) -> str:
    """One sentence for an unknown name outside a file (command line, Python API)."""
    names = sorted(legal)
    near = nearest(word, names)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"unknown {kind} {word!r}; legal: {', '.join(names) or 'none'}{hint}"
