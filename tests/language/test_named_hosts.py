"""The blast radius: hosts that files name are found where they stand, and refused unless allowed by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.errors import ChaosError, InputError
from chaoskit.language.loader import load
from chaoskit.language.named_hosts import (
    allowed_hosts,
    outside,
    outside_requests,
    refuse_outside,
    unseen,
)

SCENARIO = """\
scenario: Reaches out
environment:
  data: {site: "https://far.example.com/api", hosts: [near.localhost, far.example.com], sku: sku-1}
  services:
    stub:
      provider: noop
    orders:
      command: run --port 1
      env:
        QUIET: "1"
traffic:
  ask:
    request: "GET {{ stub.url }}/"
    rate: 50/s
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{slow: {noop: {}, for: 2s}}]}
"""


def scenario_with(tmp_path: Path, old: str = "", new: str = "") -> Any:
    """The scenario with one text changed."""
    assert old in SCENARIO
    file = tmp_path / "far.chaos.yaml"
    file.write_text(SCENARIO.replace(old, new) if old else SCENARIO, encoding="utf-8")
    (scenario,) = load(file)
    return scenario


REQUEST = "GET {{ stub.url }}/"
QUIET = 'QUIET: "1"'

REFUSED = [
    (REQUEST, "GET http://far.example.com/x", "far.example.com", 13),
    (REQUEST, "GET https://user:word@far.example.com:8443/x?y=http", "far.example.com", 13),
    (REQUEST, "GET http://192.0.2.7:80/", "192.0.2.7", 13),
    (REQUEST, "GET http://[2001:db8::1]:80/", "2001:db8::1", 13),
    (REQUEST, "GET {{ site }}/x", "far.example.com", 13),
    (REQUEST, "GET http://{{ pick(hosts) }}:8080/x", "far.example.com", 13),
    (REQUEST, "GET http://{{ 'far.' + 'example.com' }}/", "example.com", 13),
    (REQUEST, "GET {{ stub.url if seq > 9 else 'http://far.example.com' }}/", "far.example.com", 13),
    (REQUEST, "GET http://{{ faker.domain_name() }}/", "{{ faker.domain_name() }}", 13),
    (QUIET, 'DATABASE_URL: "postgresql://me@far.example.com:5432/shop"', "far.example.com", 10),
    (QUIET, 'DATABASE_URL: "postgresql://me@localhost,far.example.com/shop"', "far.example.com", 10),
    (QUIET, "DB_HOST: far.example.com", "far.example.com", 10),
    (QUIET, 'REDIS_HOST: "127.0.0.1:1,far:2"', "far", 10),
    (QUIET, 'URLS: "{{ stub.url }} http://far.example.com/"', "far.example.com", 10),
    (QUIET, 'URLS: "http://stub:1,http://far.example.com:2"', "far.example.com", 10),
    (QUIET, 'URLS: "http://far:1;http://stub:2"', "far", 10),
    (QUIET, "A_URL: 'http://far.example.com\\@localhost/'", "far.example.com", 10),
    (QUIET, "A_URL: 'http://localhost\\@far.example.com/'", "far.example.com", 10),
    (QUIET, 'A_URL: "http://localhost@far.example.com/"', "far.example.com", 10),
    (QUIET, 'A_URL: "http://[::ffff:192.0.2.7]/"', "::ffff:192.0.2.7", 10),
    (QUIET, "DB_HOST: evillocalhost", "evillocalhost", 10),
    (QUIET, "DB_HOST: far_db", "far_db", 10),
    (REQUEST, "GET http://evillocalhost/", "evillocalhost", 13),
    (REQUEST, "GET http://{% if true %}far.example.com{% else %}{{ stub.host }}{% endif %}/", "far.example.com", 13),
    ("run --port 1", "run --db=redis://far.example.com/0", "far.example.com", 8),
]

FINE = [
    (REQUEST, "GET http://localhost:9/x"),
    (REQUEST, "GET http://127.8.8.8:9/x"),
    (REQUEST, "GET http://[::1]:9/x"),
    (REQUEST, "GET http://{{ stub.host }}:{{ stub.port }}/x"),
    (REQUEST, "GET {{ stub['url'] }}/x"),
    (REQUEST, "GET http://{{ stub['host'] }}/x"),
    (REQUEST, "GET {{ stub.url }}/redirect?to=far.example.com&sku={{ pick(['a', sku]) }}"),
    (REQUEST, "GET http://{{ hosts[0] }}/x"),
    (QUIET, "HOST: 0.0.0.0"),
    (QUIET, 'URLS: "http://stub:1,http://orders:2"'),
    (QUIET, 'LISTENERS: "INSIDE://:9092,OUTSIDE://:9093"'),
    (QUIET, 'ASPNETCORE_URLS: "http://+:80;http://*:8080"'),
    (QUIET, 'RABBITMQ_DEFAULT_VHOST: "/"'),
    (QUIET, "RABBITMQ_DEFAULT_VHOST: shop"),
    (QUIET, "VIRTUAL_HOST: shop.example.com"),
    (QUIET, 'MAIL_HOST: ""'),
    (QUIET, 'PRESERVE_HOST: "true"'),
    (QUIET, "A_URL: http://$WHEREVER:80/"),
    ("run --port 1", "sh -c 'run ${X:-http://localhost}'"),
    (REQUEST, "GET http://shard{{ randint(1, 4) }}.localhost/"),
    (REQUEST, "GET http://{% if true %}localhost{% else %}{{ stub.host }}{% endif %}/"),
    (QUIET, "DB_HOST: stub"),
    (QUIET, 'DATABASE_URL: "postgresql://me@stub:5432/shop"'),
    (QUIET, 'DATABASE_URL: "{{ stub.url }}/far.example.com"'),
    (QUIET, 'GREETING: "hello: far.example.com is a nice place"'),
]


@pytest.mark.parametrize(("old", "new", "host", "line"), REFUSED, ids=[row[1] for row in REFUSED])
def test_hosts_beyond_are_refused(tmp_path: Path, old: str, new: str, host: str, line: int) -> None:
    """With file and line, the host, and how to allow it; allowed by name it is not refused any more."""
    scenario = scenario_with(tmp_path, old, new)
    found = list(outside(scenario))
    assert host in [each.host for each in found]
    with pytest.raises(InputError) as error:
        refuse_outside(found)
    assert f"far.chaos.yaml:{line}: " in str(error.value)
    assert f"leads to {host}" in str(error.value)
    assert f"--chaos-allow {host}" in str(error.value)
    assert not list(outside(scenario, {each.host for each in found}))


@pytest.mark.parametrize(("old", "new"), FINE, ids=[row[1] for row in FINE])
def test_what_stays_here_is_fine(tmp_path: Path, old: str, new: str) -> None:
    """Loopback, own services, listening addresses, and words that are no addresses."""
    new = new.replace("hosts[0]", "near") if "hosts[0]" in new else new
    text = SCENARIO.replace("sku: sku-1", "sku: sku-1, near: near.localhost")
    file = tmp_path / "near.chaos.yaml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    (scenario,) = load(file)
    assert [each.host for each in outside(scenario)] == []


@pytest.mark.parametrize(
    ("url", "open_"),
    [
        ("{{ stub.url }}/x", False),
        ("{{ stub['url'] }}/x?q={{ seq }}", False),
        ("http://{{ stub.host }}:{{ stub.port }}/x{{ seq }}", False),
        ("http://localhost:80/{{ faker.word() }}", False),
        ("{{ site }}/x", False),
        ("http://{{ pick(hosts) }}/", False),
        ("http://{% if true %}localhost{% endif %}/", False),
        ("http://{% if true %}localhost{% else %}{{ stub.host }}{% endif %}/", False),
        ("http://{% if true %}x.{{ stub.host }}{% endif %}/", True),
        ("{{ scheme ~ '://' ~ sku }}/", True),
        ("{{ 'http://' ~ pick(hosts) }}/", True),
        ("{{ sku }}://far.example.com/", True),
        ("http://shard{{ randint(1, 4) }}.localhost/", True),
        ("http://t{{ seq }}.localhost/", True),
        ("http://{{ seq }}/", True),
        ("http://{{ sku }}.localhost/", True),
        ("{% if seq %}{{ stub.url }}{% else %}{{ site }}{% endif %}/", True),
    ],
)
def test_what_cannot_be_looked_at_is_told(tmp_path: Path, url: str, open_: bool) -> None:
    """Where a template makes the host: ``chaoskit plan`` says so, and it is judged when it is connected to."""
    file = tmp_path / "open.chaos.yaml"
    text = SCENARIO.replace("sku: sku-1", "sku: sku-1, scheme: http").replace(REQUEST, f"GET {url}")
    file.write_text(text, encoding="utf-8")
    (scenario,) = load(file)
    assert (f"where the request of ask goes: {url}" in list(unseen(scenario))) is open_


def test_what_a_control_changes_is_looked_at(tmp_path: Path) -> None:
    """``with:`` and ``control:`` change variables too."""
    changes = (
        "\nwith: {orders: {env: {A_URL: http://one.example.com}}}"
        "\ncontrol: {with: {orders: {env: {A_URL: http://two.example.com}}}, violates: [recovery]}"
    )
    scenario = scenario_with(tmp_path, "\ntraffic:", f"{changes}\ntraffic:")
    assert [each.host for each in outside(scenario)] == ["one.example.com", "two.example.com"]


def test_every_mistake_of_a_file_at_once(tmp_path: Path) -> None:
    """Two hosts, two lines of text, each with its own advice."""
    scenario = scenario_with(tmp_path, QUIET, "A_URL: http://one.example.com\n        B_URL: http://two.example.com")
    with pytest.raises(InputError) as error:
        refuse_outside(outside(scenario))
    assert str(error.value).count("\n") == 1
    assert [problem.line for problem in error.value.problems] == [10, 11]


def test_the_shipped_scenarios_stay_inside() -> None:
    """The whole library, with nothing allowed."""
    files = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.chaos.yaml"))
    assert files
    for file in files:
        for scenario in load(file):
            assert not list(outside(scenario)), file


def test_requests_of_a_test_in_python(tmp_path: Path) -> None:
    """By operation, in words."""
    environment = scenario_with(tmp_path).environment
    requests = {"ask": "{{ stub.url }}/", "far": "http://far.example.com/"}
    assert list(outside_requests(requests, environment, ())) == ["the request of far leads to far.example.com"]
    assert not list(outside_requests(requests, environment, ["far.example.com"]))


def test_what_may_be_allowed() -> None:
    """Names and numbers, in any case; anything else is told with an example."""
    assert allowed_hosts(["Far.Example.com.", "192.0.2.7", "[2001:DB8:0::1]", " "]) == {
        "far.example.com",
        "192.0.2.7",
        "2001:db8::1",
    }
    for word in ("http://far.example.com", "far.example.com:80", "*.example.com", "*", "a b"):
        with pytest.raises(ChaosError, match="by its name or number alone"):
            allowed_hosts([word])


def test_an_allowed_host_is_that_host_only() -> None:
    """Neither its subdomains nor what merely looks like it."""
    allowed = allowed_hosts(["example.com", "192.0.2.7"])
    radius = BlastRadius(allowed)
    assert radius.names("EXAMPLE.com.")
    assert radius.names("192.0.2.7")
    for host in ("www.example.com", "example.com.evil.org", "192.0.2.70", "127.0.0.1.example.com", ""):
        assert not radius.names(host)
