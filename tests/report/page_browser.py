"""The browser as the tests of our own page need it: every request it makes, no scripts, paper, dark."""

from __future__ import annotations

import base64
import re
import time
import zlib
from pathlib import Path
from typing import Any

from allure_browser import Browser


class PageBrowser(Browser):
    """Notes every address that is asked for, and everything that the browser complains about."""

    def __init__(self, profile: Path) -> None:
        super().__init__(profile)
        self.asked: list[str] = []

    def _note(self, told: dict[str, Any]) -> None:
        super()._note(told)
        params = told.get("params", {})
        if told.get("method") == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.asked.append(params["request"]["url"])
        if told.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        return self._wait(self._call(method, **params))

    def visit(self, page: Path, part: str = "") -> None:
        """Open a page, and wait until it is all there."""
        self.open(page.as_uri() + part)
        for condition in (f"location.href.startsWith({page.as_uri()!r})", "document.readyState == 'complete'"):
            end = time.monotonic() + 30
            while not self.command("Runtime.evaluate", expression=condition)["result"].get("value"):
                assert time.monotonic() < end, f"never true: {condition}"
                time.sleep(0.05)

    def shown(self) -> list[str]:
        """Ids of the scenarios that the filter shows."""
        found: list[str] = self.ask(
            "[...document.querySelectorAll('article.card')].filter(c => !c.hidden).map(c => c.id)"
        )
        return found

    def press(self, key: str) -> None:
        """A key, as if it was typed."""
        text = {"text": key} if len(key) == 1 else {}
        code = {"windowsVirtualKeyCode": 9} if key == "Tab" else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def pdf(self) -> bytes:
        """The page on paper."""
        return base64.b64decode(self.command("Page.printToPDF", printBackground=True)["data"])


def drawn_in(pdf: bytes) -> int:
    """Bytes of what is drawn in a PDF."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    return sum(len(_inflated(stream)) for stream in streams)


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""
