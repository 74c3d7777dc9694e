"""``--chaos-allow``: a scenario that names a host beyond loopback fails with the reason, unless it is allowed."""

from __future__ import annotations

from typing import Any

FAR = ("GET {{ front.url }}/", "GET http://far.example.com/")


def test_a_host_beyond_is_refused(project: Any) -> None:
    """File and line, and what to do; nothing is started."""
    project.write(own=project.edit(FAR))
    outcome = project.run("--chaos")
    assert outcome.status == 1
    assert "1 failed" in outcome.out
    assert "leads to far.example.com, which is neither on loopback nor a service of the environment" in outcome.out
    assert "--chaos-allow far.example.com" in outcome.out
    assert "Traceback" not in outcome.out
    runs = project.folder / "reports" / "runs"
    assert [file.name for file in runs.rglob("*") if file.is_file()] == ["not_run.json"]


def test_it_is_allowed_by_name(project: Any) -> None:
    """On the command line, or in the project's configuration; then the scenario is collected."""
    project.write(own=project.edit(FAR))
    outcome = project.run(
        "--chaos", "--chaos-allow", "elsewhere.example.com", "--chaos-allow", "far.example.com", "--co"
    )
    assert outcome.status == 0, outcome.out
    assert "--invalid" not in outcome.out
    outcome = project.run("--chaos", "-o", "chaos_allow=far.example.com elsewhere.example.com", "--co")
    assert outcome.status == 0, outcome.out
    assert "--invalid" not in outcome.out


def test_a_host_that_a_template_makes_is_refused_when_it_is_connected_to(project: Any) -> None:
    """No reading of the file finds it: the run is broken, not violated, and names the host."""
    made = "{{ 'http://' ~ pick(places) }}/"
    project.write(
        own=project.edit(
            ("GET {{ front.url }}/", f"GET {made}"), ("traffic:", "data: {places: [192.0.2.77]}\ntraffic:")
        )
    )
    outcome = project.run("--chaos")
    assert outcome.status == 1
    assert "BROKEN" in outcome.out
    assert "192.0.2.77 is neither on loopback nor a service of the environment" in outcome.out
    assert "--chaos-allow 192.0.2.77" in outcome.out
    assert "VIOLATED" not in outcome.out


def test_what_is_no_host_is_refused(project: Any) -> None:
    """One line, no traceback, exit status of a usage error."""
    project.write(own=project.edit())
    outcome = project.run("--chaos", "--chaos-allow", "http://far.example.com")
    assert outcome.status == 4
    assert "a host is allowed by its name or number alone" in outcome.out
    assert "Traceback" not in outcome.out


def test_a_toxiproxy_elsewhere_is_refused(project: Any) -> None:
    """Others may depend on it; allowed by name it is tried."""
    project.write(own=project.edit())
    outcome = project.run("--chaos", "--chaos-toxiproxy", "http://far.example.com:8474")
    assert outcome.status == 4
    assert "--chaos-allow far.example.com" in outcome.out
    outcome = project.run(
        "--chaos", "--chaos-toxiproxy", "http://far.example.com:8474", "--chaos-allow", "far.example.com", "--co"
    )
    assert outcome.status == 0, outcome.out


def test_a_docker_daemon_elsewhere_is_refused(project: Any, monkeypatch: Any) -> None:
    """Where containers are asked for."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example.com:2376")
    project.write(own=project.edit())
    outcome = project.run("--chaos", "--chaos-toxiproxy", "docker", "--co")
    assert outcome.status == 4
    assert "DOCKER_HOST=tcp://build.example.com:2376: only a Docker daemon at a Unix socket" in outcome.out
    assert project.run("--chaos", "--chaos-toxiproxy", "embedded", "--co").status == 0
