"""What a Compose file becomes for a run: pure data, as the Compose tool has resolved it."""

from __future__ import annotations

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.services.docker.compose.rewrite import facts_of, rewrite

CONFIG = {
    "name": "team",
    "version": "3.8",
    "services": {
        "postgres": {
            "image": "postgres:16",
            "container_name": "shop-db",
            "hostname": "postgres",
            "environment": {"POSTGRES_PASSWORD": "a$$b", "POSTGRES_DB": "shop"},
            "networks": {"back": {"aliases": ["db"], "priority": 5}},
            "ports": [{"target": 5432, "published": "5432", "protocol": "tcp"}, "127.0.0.1:9000-9001:9000-9001/udp"],
            "volumes": ["data:/data:rw"],
            "restart": "always",
        },
        "orders": {
            "build": {"context": "/src"},
            "environment": ["MODE=test", "FROM_SHELL"],
            "depends_on": {"postgres": {"condition": "service_healthy"}, "debugger": {"condition": "service_started"}},
            "links": ["postgres:sql"],
            "volumes_from": ["postgres:ro"],
            "expose": [8001, "8005-8006/tcp"],
            "ports": ["127.0.0.1:80:8001", "[::1]:81:8002"],
            "deploy": {"replicas": 3, "resources": {"limits": {"memory": "1g"}}},
            "labels": ["team=shop"],
        },
        "debugger": {"image": "debugger", "profiles": ["debug"]},
    },
    "networks": {"back": {"internal": True, "name": "team_back"}, "unused": {}},
    "volumes": {"data": {"name": "team_data"}},
    "secrets": {"key": {"file": "/src/key"}},
}
NAMES = ["postgres", "orders"]


@pytest.fixture
def facts():
    """The facts of both services, the database proxied."""
    return facts_of(CONFIG, NAMES, ["postgres"], "built-team")


@pytest.fixture
def result(facts):
    """The rewritten file."""
    return rewrite(
        CONFIG,
        facts,
        project="run-1",
        labels={"chaoskit.run": "1"},
        proxied=["postgres"],
        ports={"postgres": ["10.0.0.1:2000:5432"]},
        environment={"orders": {"PRICE": "5$"}},
    )


def test_facts(facts):
    """Ports (TCP, the published first), what is waited for, names on networks, variables without escapes."""
    assert facts["postgres"].ports == [5432]
    assert facts["orders"].ports == [8001, 8002, 8005, 8006]
    assert facts["orders"].needs == {"postgres": "service_healthy", "debugger": "service_started"}
    assert facts["postgres"].networks == {"back": ["postgres", "shop-db", "db", "sql"]}
    assert facts["orders"].networks == {"default": ["orders"]}
    assert (facts["postgres"].hidden, facts["orders"].hidden) == (True, False)
    assert facts["postgres"].environment["POSTGRES_PASSWORD"] == "a$b"
    assert (facts["orders"].image, facts["orders"].built) == ("built-team-orders", True)


def test_a_proxied_service_gives_its_names_away(result):
    """It is another service for Compose, with none of the names that its proxy takes; others still refer to it."""
    assert set(result["services"]) == {"postgres-direct", "orders"}
    moved = result["services"]["postgres-direct"]
    assert moved["networks"] == {"back": {"aliases": [], "priority": 5}}
    assert moved["container_name"] == "run-1-postgres"
    assert "hostname" not in moved
    orders = result["services"]["orders"]
    assert "depends_on" not in orders  # Compose starts nothing; v1 would wait all the same
    assert orders["volumes_from"] == ["postgres-direct:ro"]
    assert "links" not in orders
    assert orders["networks"] == {"default": {"aliases": ["orders"]}}


def test_nothing_of_the_file_is_bound_or_shared(result):
    """Ports are ours alone, networks and volumes have names and labels of the run, what is not used is not made."""
    assert result["services"]["postgres-direct"]["ports"] == ["10.0.0.1:2000:5432"]
    assert "ports" not in result["services"]["orders"]
    for service in result["services"].values():
        assert "restart" not in service
        assert service["labels"]["chaoskit.run"] == "1"
    assert result["services"]["orders"]["labels"]["team"] == "shop"
    assert result["services"]["orders"]["deploy"] == {"resources": {"limits": {"memory": "1g"}}}
    assert result["networks"] == {
        "back": {"internal": True, "name": "run-1_back", "labels": {"chaoskit.run": "1"}},
        "default": {"name": "run-1_default", "labels": {"chaoskit.run": "1"}},
    }
    assert result["volumes"] == {"data": {"name": "run-1_data", "labels": {"chaoskit.run": "1"}}}
    assert result["secrets"] == CONFIG["secrets"]
    assert not {"version", "name"} & set(result)


def test_variables_are_added(result):
    """Escaped as Compose wants it; those of the file stay as they were, with and without a value."""
    assert result["services"]["orders"]["environment"] == {"MODE": "test", "FROM_SHELL": None, "PRICE": "5$$"}
    assert result["services"]["postgres-direct"]["environment"]["POSTGRES_PASSWORD"] == "a$$b"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"services": {"a": {"network_mode": "host"}}}, "a says network_mode: host"),
        ({"services": {"a": {"network_mode": "none"}}}, "a says network_mode: none: no proxy can take its name"),
        ({"services": {"a": {"external_links": ["x"]}}}, "a says external_links"),
        ({"services": {"a": {}}, "networks": {"n": {"external": True}}}, r"network n is external.*external: false"),
        ({"services": {"a": {}}, "volumes": {"v": {"external": True}}}, r"volume v is external"),
        ({"services": {"b": {}}}, "knows no service a; it found b"),
    ],
)
def test_what_would_touch_more_than_the_run_is_refused(change, says):
    """With the reason, and what to do."""
    with pytest.raises(BrokenError, match=says):
        facts_of(change, ["a"], ["a"], "")
