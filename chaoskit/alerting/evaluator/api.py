"""The part of Prometheus' HTTP API that the provider and the observers ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from chaoskit.alerting.receiver import Answer, Call

Ask = Callable[[], Any]
_NEVER = "0001-01-01T00:00:00Z"


def rfc3339(moment: float) -> str:
    """Unix seconds as Prometheus writes them."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z") if moment else _NEVER


class Api:
    """``questions`` by path; each gives the ``data`` of its answer."""

    def __init__(self, questions: Mapping[str, Ask], forget: Callable[[], None]) -> None:
        self._questions = questions
        self._forget = forget

    def answer(self, call: Call) -> Answer:
        """An answer as Prometheus gives it."""
        path = call.path.partition("?")[0]
        if path in ("/-/ready", "/-/healthy"):
            return Answer(200, b"chaoskit evaluator is ready.\n", {"content-type": "text/plain"})
        if path == "/api/v1/admin/tsdb/delete_series" and call.method in ("POST", "PUT"):
            self._forget()
            return Answer(204, b"")
        if path in self._questions and call.method == "GET":
            return Answer(200, json.dumps({"status": "success", "data": self._questions[path]()}).encode())
        return Answer(404, b'{"status": "error", "errorType": "not_found", "error": "not known to the stand-in"}')
