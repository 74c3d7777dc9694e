"""What a lane of the timeline consists of; pure data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chaoskit.language.expectation import Finding

FINEST = 200
"""Parts of the axis: what lies closer together cannot be told apart."""


@dataclass(frozen=True)
class Span:
    """Something that lasted. ``look`` names how it is drawn, ``id`` becomes the element's id in the SVG."""

    start: float
    end: float
    look: str
    text: str = ""
    id: str = ""


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    at: float
    look: str
    text: str = ""


@dataclass(frozen=True)
class Note:
    """Words in the right margin; ``outcome`` gives colour and sign, empty for neither."""

    text: str
    outcome: str = ""


@dataclass(frozen=True)
class Lane:
    """One line: a label at the left, what happened, a note at the right."""

    label: str
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    note: Note | None = None


def note_of(finding: Finding, words: str) -> Note:
    """A finding as a note: ``words`` (what was asked), then what was seen."""
    # What stands in brackets is detail, for the table of findings.
    return Note(f"{words} · {finding.seen.partition(' (')[0]}", str(finding.outcome))


def apart(marks: Iterable[Mark], length: float) -> list[Mark]:
    """Marks in order, without those that would lie on the one before: of a crash loop there may be thousands."""
    kept: list[Mark] = []
    for mark in marks:
        if all(mark.at - other.at > length / FINEST for other in kept[-2:] if other.look == mark.look):
            kept.append(mark)
    return kept


def joined(spans: Iterable[Span], length: float) -> list[Span]:
    """Spans in order, those put together that have no gap between them that could be seen."""
    kept: list[Span] = []
    for span in spans:
        if kept and kept[-1].look == span.look and span.start - kept[-1].end < length / FINEST:
            kept[-1] = replace(kept[-1], end=span.end)
        else:
            kept.append(span)
    return kept
