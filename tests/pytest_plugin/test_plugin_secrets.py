"""Nothing secret that a service gives away stands in anything that a run leaves: searched for as planted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLANTED = (
    "pl4nted-in-the-log",
    "pl4nted-in-a-body",
    "pl4nted-in-a-header",
    "pl4nted-in-an-error",
    "pl4nted-in-the-url",
    "pl4nted-in-a-token",
)

SERVER = """\
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        print('{"event": "request", "token": "pl4nted-in-the-log"}', flush=True)
        print("db: postgres://shop:pl4nted-in-an-error@db/shop refused", file=sys.stderr, flush=True)
        body = b'{"error": "no", "password": "pl4nted-in-a-body"}'
        self.send_response(500)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-api-key", "pl4nted-in-a-header")
        self.send_header("x-auth-token", "pl4nted-in-a-token")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def files_with(text: str, folder: Path) -> list[str]:
    """Every file below a folder that holds the text."""
    needle = text.encode()
    return [
        str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and needle in file.read_bytes()
    ]


@pytest.fixture(scope="module")
def left(new_project: Any) -> Any:
    """A run in which everything fails, so that everything is told."""
    project = new_project("secrets")
    (project.folder / "server.py").write_text(SERVER, encoding="utf-8")
    environment = project.scenarios / "environments" / "small.yaml"
    environment.write_text(environment.read_text().replace("ready: {http: /}", "ready: {tcp: true}"), encoding="utf-8")
    scenario = project.edit(
        ("[during.get.p90]", "[during.get.success_rate]"),
        ('"GET {{ front.url }}/"', '"GET {{ front.url }}/?token=pl4nted-in-the-url"'),
        (
            '    get: {p90: "< 2s"}\n',
            '    get: {success_rate: ">= 95%"}\n  responses: {of: get, status: 200, header: {x-auth-token: ^z}}\n',
        ),
    )
    project.write(tells=scenario)
    return project.run("--chaos", "--alluredir=reports/allure-results", "--junitxml=reports/junit.xml", "scenarios")


def test_it_was_all_seen(left: Any) -> None:
    """The service did answer so: otherwise there is nothing to be kept secret."""
    assert left.status == 1
    histories = left.folder / "reports" / "runs"
    assert files_with("chaoskit.masked", histories), "what was given away is marked in the history"
    assert list((left.folder / "reports" / "allure-results").glob("*-result.json"))
    assert (left.folder / "reports" / "chaoskit.html").exists()


@pytest.mark.parametrize("secret", PLANTED)
def test_no_file_and_no_line_tells_it(left: Any, secret: str) -> None:
    """Not the terminal, not JUnit, Allure, the page, the database, nor the history itself."""
    assert files_with(secret, left.folder / "reports") == []
    assert secret not in left.out


@pytest.mark.parametrize("others", [[], ["--scenario", "scenarios/tells.chaos.yaml"]])
def test_it_is_judged_again_from_what_is_kept(left: Any, others: list[str]) -> None:
    """By its own copies, and by the file that holds the secret."""
    code = "from chaoskit.cli import main; raise SystemExit(main())"
    words = [sys.executable, "-c", code, "judge", "latest", *others]
    again = subprocess.run(words, cwd=left.folder, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stderr) == (1, "")
    assert "- during.get.success_rate" in again.stdout
    assert "? responses.get.header.x-auth-token" in again.stdout, "which was masked"
