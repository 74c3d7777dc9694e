"""Finding Allure, building without losing anything, the trend, and the server; a script takes Allure's place."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.report.allure.build import build
from chaoskit.report.allure.commandline import Allure, find
from chaoskit.report.allure.serve import ReportServer


def script(file: Path, text: str) -> Path:
    """An executable shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A project with both packages in its node_modules."""
    for name, place, version in (
        ("allure", "cli.js", "3.18.0"),
        ("allure-commandline", "bin/allure", "2.46.1"),
    ):
        package = tmp_path / "node_modules" / name
        script(package / place, "exit 9")
        (package / "package.json").write_text(json.dumps({"name": name, "version": version}), encoding="utf-8")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    return tmp_path


def path_with(folder: Path, *programs: str) -> dict[str, str]:
    """Variables with a PATH that holds these programs alone."""
    for program in programs:
        script(folder / "bin" / program, "exit 0")
    return {"PATH": str(folder / "bin")}


def test_found_above(modules: Path) -> None:
    """In node_modules of a folder above; the newest unless a version is asked for."""
    env = path_with(modules, "java", "node")
    start = modules / "deep" / "er"
    found = {wanted: find(wanted, start, env) for wanted in (None, 2, 3)}
    package = modules / "node_modules"
    three = Allure((f"{modules}/bin/node", f"{package}/allure/cli.js"), "3.18.0")
    assert found == {None: three, 2: Allure((f"{package}/allure-commandline/bin/allure",), "2.46.1"), 3: three}


def test_one_that_cannot_run_is_none(modules: Path) -> None:
    """Version 2 needs Java, version 3 Node."""
    assert find(None, modules, path_with(modules)) is None
    java = find(None, modules, path_with(modules, "java"))
    assert java is not None
    assert java.major == 2


def test_found_on_the_path(tmp_path: Path) -> None:
    """One that is no npm package tells its version itself; another program of that name is none."""
    env = path_with(tmp_path, "java")
    assert find(None, tmp_path, env) is None
    script(tmp_path / "bin" / "allure", "echo 2.30.0")
    assert find(2, tmp_path, env) == Allure((f"{tmp_path}/bin/allure",), "2.30.0")
    assert find(3, tmp_path, env) is None
    script(tmp_path / "bin" / "allure", "echo an accounting tool 9.1.0")
    assert find(None, tmp_path, env) is None


TWO = """\
mkdir -p "$5/history"
cat "$3"/history/runs > "$5/history/runs" 2>/dev/null
echo run >> "$5/history/runs"
echo '<script async src="https://www.example.org/tag.js"></script><p>report' > "$5/index.html"
"""


@pytest.fixture
def two(tmp_path: Path) -> Allure:
    """Takes the place of Allure 2: counts the runs in its history."""
    return Allure((str(script(tmp_path / "allure", TWO)),), "2.46.1")


def results(folder: Path, *names: str) -> Path:
    """A folder of results."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}-result.json").write_text("{}", encoding="utf-8")
    return folder


def test_the_trend_counts_a_run_once(tmp_path: Path, two: Allure) -> None:
    """Built twice it is one run; new results are another."""
    first, second = results(tmp_path / "one", "a", "b"), results(tmp_path / "two", "c")
    lengths = []
    for each in (first, first, second, second, second):
        build(two, each, tmp_path / "out", tmp_path / "kept")
        lengths.append(len((tmp_path / "out" / "history" / "runs").read_text(encoding="utf-8").split()))
    assert lengths == [1, 1, 2, 2, 2]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["allure", "kept", "one", "out", "two"]


def test_nothing_from_elsewhere(tmp_path: Path, two: Allure) -> None:
    """A script of another machine is taken out of the page."""
    build(two, results(tmp_path / "one", "a"), tmp_path / "out", tmp_path / "kept")
    assert (tmp_path / "out" / "index.html").read_text(encoding="utf-8") == "<p>report\n"


def test_no_other_folder_is_replaced(tmp_path: Path, two: Allure) -> None:
    """``--out`` with something else in it is refused, and left as it is."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(BrokenError, match="holds something else than a report"):
        build(two, results(tmp_path / "one", "a"), tmp_path / "out", tmp_path / "kept")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_no_results(tmp_path: Path, two: Allure) -> None:
    """Told, and how to get some."""
    with pytest.raises(BrokenError, match=r"no Allure results in .*: run pytest --chaos first"):
        build(two, tmp_path, tmp_path / "out", tmp_path / "kept")


def test_allure_that_fails(tmp_path: Path, two: Allure) -> None:
    """Its last lines are told, and the report before it stays."""
    one = results(tmp_path / "one", "a")
    build(two, one, tmp_path / "out", tmp_path / "kept")
    script(tmp_path / "allure", "echo out of memory >&2; exit 4")
    with pytest.raises(BrokenError, match=r"ended with exit status 4\n  out of memory"):
        build(two, one, tmp_path / "out", tmp_path / "kept")
    assert (tmp_path / "out" / "index.html").exists()
    assert not list(tmp_path.glob(".allure-*"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    """A report that is served."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("hello", encoding="utf-8")
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    with ReportServer(tmp_path / "report") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(server: ReportServer, path: str, **headers: str) -> http.client.HTTPResponse:
    """An answer, its body read."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_served_to_this_machine_alone(server: ReportServer) -> None:
    """On loopback, under its own names; a stranger's name that points here gets nothing."""
    assert server.server_address[0] == "127.0.0.1"
    port = server.server_port
    assert get(server, "/").status == 200
    assert get(server, "/", Host=f"localhost:{port}").status == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert get(server, "/", Host=host).status == 403, host
    assert get(server, "/../secret").status == 404
    assert get(server, "/%2e%2e/secret").status == 404


def test_served_with_a_policy(server: ReportServer) -> None:
    """Nothing is loaded from or sent elsewhere."""
    assert str(get(server, "/").getheader("Content-Security-Policy")).startswith("default-src 'self'")


def test_a_port_that_is_taken(server: ReportServer, tmp_path: Path) -> None:
    """Told."""
    with pytest.raises(BrokenError, match=f"port {server.server_port} of 127.0.0.1 cannot be had"):
        ReportServer(tmp_path, server.server_port)
