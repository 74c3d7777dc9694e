"""Chromium without a window, told over the DevTools protocol what to open and asked what a person would see."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import pytest

T = TypeVar("T")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1400,1200",
)
LIMIT = 60.0


class Browser:
    """A browser with one page. Also a context manager."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("needs Chromium (apt install chromium)")
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._profile = profile
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self.complaints: list[str] = []

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(work, LIMIT))

    def __enter__(self) -> Self:
        self._wait(self._connect())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._wait(self._disconnect())
        finally:
            self._loop.close()
            self._process.terminate()
            self._process.wait(10)

    async def _connect(self) -> None:
        port = self._profile / "DevToolsActivePort"
        while not port.exists() or "\n" not in port.read_text(encoding="ascii"):
            assert self._process.poll() is None, "Chromium has ended"
            await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{port.read_text(encoding='ascii').splitlines()[0]}"
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"{base}/json/list") as answer:
            pages = [page for page in await answer.json(content_type=None) if page["type"] == "page"]
        self._socket = await self._session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self._call(f"{domain}.enable")

    async def _disconnect(self) -> None:
        await self._call("Browser.close")
        await self._socket.close()
        await self._session.close()
        await asyncio.sleep(0)

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            told = json.loads((await self._socket.receive()).data)
            if told.get("id") == self._number:
                assert "error" not in told, told
                return dict(told["result"])
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        params = told.get("params", {})
        if told.get("method") == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog opened: {params['message']}")
        elif told.get("method") == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if url.startswith("http") and "//127.0.0.1" not in url:
                self.complaints.append(f"asked for {url}")
        elif told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))

    def open(self, url: str) -> None:
        """Open a page anew (a change of the part after # alone would not load it)."""
        self._wait(self._call("Page.navigate", url="about:blank"))
        self._wait(self._call("Page.navigate", url=url))

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._wait(self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True))
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, limit: float = 30.0) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + limit
        while not (value := self.ask(script)):
            assert time.monotonic() < end, f"never true: {script}\n{self.text()}"
            time.sleep(0.1)
        return value

    def see(self, *words: str) -> str:
        """Wait until all words are on the page; gives its text."""
        for word in words:
            self.until(f"document.body && document.body.innerText.includes({json.dumps(word)})")
        return self.text()

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.ask("document.body ? document.body.innerText : ''"))

    def click(self, text: str) -> None:
        """Click the innermost element whose text begins with ``text``."""
        self.until(
            "(() => { const found = [...document.querySelectorAll('body *')].filter(e => e.children.length < 4 && "
            f"e.innerText && e.innerText.trim().startsWith({json.dumps(text)})); "
            "if (!found.length) return false; found[found.length - 1].click(); return true; })()"
        )

    def screenshot(self, file: Path, height: int = 1200) -> None:
        """A picture of the page, as PNG."""
        self._wait(
            self._call(
                "Emulation.setDeviceMetricsOverride", width=1400, height=height, deviceScaleFactor=1, mobile=False
            )
        )
        time.sleep(0.5)
        picture = self._wait(self._call("Page.captureScreenshot", format="png"))
        file.write_bytes(base64.b64decode(picture["data"]))
