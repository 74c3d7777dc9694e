"""``chaoskit doctor``: real probes of this machine, and of one that lacks things."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chaoskit.cli._doctor.parts import NotThere, Part, look_at


def doctor(*options: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, with a changed environment, in the folder ``cwd``."""
    command = [sys.executable, "-c", "import sys; from chaoskit.cli import main; sys.exit(main())", "doctor", *options]
    if "--limit" not in options:
        command += ["--limit", "40"]  # a machine that is busy with other tests must not change what is found
    environ = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, cwd=cwd)


def parts_of(answer: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The parts in its JSON, by name."""
    return {part["name"]: part for part in json.loads(answer.stdout)["parts"]}


def fake(folder: Path, name: str, script: str) -> None:
    """A program of that name."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_it_tells_of_every_part() -> None:
    """Each line has a mark and its word; what is missing says what for and how to get it."""
    answer = doctor()
    assert answer.stderr == ""
    lines = answer.stdout.splitlines()
    for name in ("Python", "PostgreSQL", "Toxiproxy", "Docker daemon", "Allure", "tc netem", "libfaketime"):
        [line] = [line for line in lines if re.match(rf"  [✓–✗?] (found|missing|unknown) +{name}  ", line)]
        if " missing " in line:
            after = lines[lines.index(line) + 1 :]
            assert after[0].strip().startswith("for: ")
            assert after[1].strip().startswith("get: ")


def test_what_it_finds_is_true() -> None:
    """Compared with what this machine says itself."""
    parts = parts_of(doctor("--json"))
    assert parts["Python"]["seen"].startswith(".".join(map(str, sys.version_info[:3])))
    assert (parts["root"]["state"] == "found") is (os.geteuid() == 0)
    for name, program in (("Node", "node"), ("Toxiproxy", "toxiproxy-server"), ("Prometheus", "prometheus")):
        assert (parts[name]["state"] == "found") is (shutil.which(program) is not None)
    asked = subprocess.run(["docker", "version", "-f", "{{.Server.Version}}"], capture_output=True, text=True)
    if asked.returncode == 0:
        assert parts["Docker daemon"]["seen"].startswith(asked.stdout.strip())


def test_a_path_that_lacks_everything(tmp_path: Path) -> None:
    """Nothing of others on the PATH, no daemon: told, and still 0, as the embedded defaults need none of it."""
    answer = doctor("--json", cwd=tmp_path, PATH=str(tmp_path), DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    parts = parts_of(answer)
    for name in ("Toxiproxy", "Allure", "Prometheus", "Alertmanager", "Docker daemon", "Docker images", "tc netem"):
        assert parts[name]["state"] == "missing", parts[name]
        assert parts[name]["enables"]
        assert parts[name]["install"]
    assert "no Docker daemon answers" in parts["Docker daemon"]["seen"]
    assert answer.returncode == 0
    assert "Toxiproxy" in doctor(PATH=str(tmp_path)).stdout.splitlines()[-1]


def test_a_lack_that_matters_fails(tmp_path: Path) -> None:
    """Without the wheels and without a system server the embedded PostgreSQL does not run: 1, and which it is."""
    if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        hidden = "from pathlib import Path; Path.glob = lambda self, pattern: iter(())\n"
    else:
        hidden = ""
    (tmp_path / "sitecustomize.py").write_text(
        hidden
        + "from importlib import metadata\n"
        + "files = metadata.files\n"
        + "metadata.files = lambda name: [] if 'postgres' in name or 'pgserver' in name else files(name)\n",
        encoding="utf-8",
    )
    empty = tmp_path / "bin"
    empty.mkdir()
    answer = doctor(PATH=str(empty), PYTHONPATH=str(tmp_path))
    assert answer.returncode == 1
    assert re.search(r"✗ missing +PostgreSQL", answer.stdout)
    assert "pip install 'chaoskit[demo]'" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "The embedded defaults do not work here without: PostgreSQL."


def test_versions_are_told(tmp_path: Path) -> None:
    """As the real programs print them."""
    fake(tmp_path, "toxiproxy-server", "echo toxiproxy-server version 2.12.0")
    fake(tmp_path, "prometheus", "echo 'prometheus, version 2.42.0+ds (branch: debian/sid, revision: 1)'")
    fake(tmp_path, "alertmanager", "echo 'alertmanager, version 0.25.0 (branch: HEAD)' >&2")
    fake(tmp_path, "docker-compose", "echo 1.29.2")
    package = tmp_path / "lib/node_modules/allure"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "allure", "version": "3.18.0"}', encoding="utf-8")
    fake(package, "cli.js", "sleep 60")
    (tmp_path / "allure").symlink_to(package / "cli.js")
    fake(tmp_path, "node", "echo v20.1.0")
    parts = parts_of(doctor("--json", cwd=tmp_path, PATH=str(tmp_path)))
    seen = {name: part["seen"] for name, part in parts.items()}
    assert seen["Toxiproxy"] == f"2.12.0 ({tmp_path}/toxiproxy-server)"
    assert seen["Prometheus"] == f"2.42.0+ds ({tmp_path}/prometheus)"
    assert seen["Alertmanager"] == f"0.25.0 ({tmp_path}/alertmanager)"
    assert seen["Docker Compose"] == f"v1: 1.29.2 ({tmp_path}/docker-compose)"
    assert seen["Allure"] == f"3.18.0, runs on Node ({package}/cli.js)"
    assert seen["Node"] == "v20.1.0"


def test_allure_without_its_runtime_is_of_no_use(tmp_path: Path) -> None:
    """Version 2 needs Java."""
    fake(tmp_path, "allure", "echo 2.46.1")
    without_java = {"PATH": str(tmp_path), "JAVA_HOME": ""}
    part = parts_of(doctor("--json", cwd=tmp_path, **without_java))["Allure"]
    assert part["state"] == "missing"
    assert part["seen"] == f"2.46.1 ({tmp_path}/allure), but there is no java to run it"


def test_allure_is_looked_for_where_the_report_does(tmp_path: Path) -> None:
    """In node_modules here and in the folders above, not on the PATH alone; the newest that can run is told."""
    empty, project = tmp_path / "bin", tmp_path / "project"
    empty.mkdir()
    for folder, name, version in ((tmp_path, "allure-commandline", "2.46.1"), (project, "allure", "3.18.0")):
        package = folder / "node_modules" / name
        (package / "bin").mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"name": name, "version": version}), encoding="utf-8")
        fake(package, "cli.js", "sleep 60")
        fake(package / "bin", "allure", "sleep 60")

    def told() -> dict[str, Any]:
        return parts_of(doctor("--json", cwd=project, PATH=str(empty), JAVA_HOME=""))["Allure"]

    part = told()
    assert part["state"] == "missing"
    assert part["seen"] == f"3.18.0 ({project}/node_modules/allure/cli.js), but there is no node to run it"
    assert "npm install allure" in part["install"]
    fake(empty, "java", "echo 17")
    assert told()["seen"] == f"2.46.1, runs on Java ({tmp_path}/node_modules/allure-commandline/bin/allure)"
    fake(empty, "node", "echo v20")
    assert told()["seen"] == f"3.18.0, runs on Node ({project}/node_modules/allure/cli.js)"


def test_a_program_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    """Its version is not told; the rest is, in little more than the limit."""
    sleep = shutil.which("sleep")
    long = f"1000.{os.getpid()}"
    fake(tmp_path, "toxiproxy-server", f"{sleep} {long} & {sleep} {long}")
    before = time.monotonic()
    answer = doctor("--json", "--limit", "4", PATH=str(tmp_path))
    assert time.monotonic() - before < 20
    parts = parts_of(answer)
    assert parts["Toxiproxy"]["seen"] == f"version not told ({tmp_path}/toxiproxy-server)"
    assert parts["Python"]["state"] == "found"
    assert f"sleep {long}" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_looks_run_side_by_side_and_are_bounded() -> None:
    """Ten that take their time take it once; one that never answers is unknown, one that fails hides nothing."""

    def part(name: str, look: Any) -> Part:
        return Part("group", name, look, "all", "somehow")

    def fails() -> str:
        raise ZeroDivisionError("oops")

    def lacks() -> str:
        raise NotThere("no such thing")

    def slow() -> str:
        time.sleep(0.1)
        return "fine"

    def never() -> str:
        time.sleep(20)
        return "too late"

    parts = [part("never", never), part("fails", fails), part("lacks", lacks), *(part(f"{i}", slow) for i in range(10))]
    before = time.monotonic()
    findings = look_at(parts, limit=0.7)
    assert time.monotonic() - before < 5
    assert [finding.part for finding in findings] == parts
    assert [finding.state for finding in findings] == ["unknown", "unknown", "missing"] + ["found"] * 10
    assert findings[0].seen == "did not answer within 0.7 s; --limit gives more time"
    assert "oops" in findings[1].seen


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No file in the folder it is run in, nor in the folder for temporary files."""
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from chaoskit.cli import main; sys.exit(main())",
            "doctor",
            "--limit",
            "40",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert answer.returncode == 0, answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_images_of_providers_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the version that the project's environments say; not one that is built."""
    from chaoskit.cli._doctor.containers import _named

    folder = tmp_path / "scenarios" / "environments"
    folder.mkdir(parents=True)
    (folder / "shop.yaml").write_text(
        "environment: shop\nservices:\n  db: {provider: postgres, args: {version: 13}}\n"
        "  mine: {image: 'mine:1', port: 80}\n  built: {build: {context: .}, port: 81}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert _named() == ["postgres:13", "mine:1"]


def test_a_limit_must_be_a_time() -> None:
    """One line that says what is legal."""
    for wrong in ("0", "-1", "soon", "nan", "601"):
        answer = doctor("--limit", wrong)
        assert answer.returncode == 2
        assert "is not a number of seconds from above 0 to 600" in answer.stderr
