"""Any failpoint, in gofail's own words."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from chaoskit.failpoints.terms import TermsError, parse_terms
from chaoskit.faults._failpoint import FailpointFault
from chaoskit.language.types import problem


def _terms(text: str) -> str:
    try:
        parse_terms(text)
    except TermsError as error:
        raise problem(str(error)) from None
    return text


class Failpoint(FailpointFault):
    """Sets a failpoint to terms of gofail's language, for what ``panic``, ``sleep`` and the others cannot say.

    Rehearses what a place in the code offers: ``return("deadlock")`` where the code makes an error of it, chains
    such as ``3*off->1*panic``, ``print`` and ``break``.

    Arguments:

    - ``service``: which one. It needs ``failpoints: true`` in the environment.
    - ``at``: a failpoint's name (``orders/place``), or a function as ``module:Class.method``.
    - ``terms``: ``[PERCENT%][COUNT*]TYPE[(VALUE)]``, several joined by ``->``; checked when the file is loaded.

    Evidence counts ``hits``: terms that acted (``off`` included, as in gofail). Facts as those of ``panic``; but it
    is not set again in a process that was started anew, as nobody knows what is left of its counts. While one with
    counts lasts no other fault may begin at the same place.
    """

    terms: Annotated[str, AfterValidator(_terms)]

    rearmed: ClassVar[bool] = False

    def interrupted(self) -> str:
        """What hangs cannot be kept, and nobody knows what is left of its counts."""
        terms = parse_terms(self.terms)
        if any(symbol == "*" for term in terms for symbol, _ in term.modifiers):
            return f"nobody would know what is left of the counts in {self.terms}"
        return f"what hangs at {self.at} would go on too early" if any(term.kind == "hang" for term in terms) else ""

    def chain(self, used: int = 0) -> str:  # noqa: ARG002  # see rearmed
        """As given."""
        return self.terms
