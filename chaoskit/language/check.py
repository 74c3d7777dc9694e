"""Collects the mistakes of one file while it is being typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from chaoskit.base.errors import ChaosError, Problem
from chaoskit.language import pydantic_errors
from chaoskit.language.plugins import registry
from chaoskit.language.source import Source, YamlPath


class Check:
    """The mistakes found so far in ``page``."""

    def __init__(self, page: Source) -> None:
        self.page = page
        self.problems: list[Problem] = []

    def validate(self, model: type[BaseModel], data: Any, path: YamlPath, context: Any = None) -> Any:
        """``data`` as ``model``, or None with the mistakes noted."""
        try:
            return model.model_validate(data, context=context)
        except ValidationError as error:
            self.problems.extend(pydantic_errors.problems_of(error, model, self.page, path))
        return None

    def plugin(self, kind: str, name: str, path: YamlPath) -> Any:
        """The plug-in of a kind (:mod:`chaoskit.language.plugins`) that stands at ``path``, or None with the mistake
        noted: there is none of that name, or it cannot be loaded."""
        known = registry(kind)
        if name not in known:
            self.wrong(path, f"unknown {known.kind} {name!r}", known.names(), name)
            return None
        try:
            return known.get(name)
        except ChaosError as error:
            self.wrong(path, str(error))
            return None

    def wrong(self, path: YamlPath, what: str, legal: Iterable[str] = (), found: str | None = None) -> None:
        """Note a mistake at ``path`` of the file."""
        self.problems.append(self.page.problem(path, what, sorted(legal), found))
