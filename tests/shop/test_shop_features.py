"""E4: a feature that is no part of an order is switched off while orders runs, by operators alone."""

from __future__ import annotations

import socket

import pytest
import requests

from chaoskit.base.clock import wait_for

FEATURE = "/admin/features/recommendations"


def put(orders, document, path=FEATURE):
    """The answer to a switch."""
    return requests.put(orders.url + path, json=document, timeout=5)


def test_a_panic_in_recommendations_ends_with_the_switch(start, payments):
    """Orders fail while the feature does, and no more as soon as it is off; the metric tells, and so does the log."""
    orders = start("orders", PAYMENTS_URL=payments.url, RECOMMENDATIONS="on")
    assert orders.order().json()["also_bought"] == []
    assert orders.metric("feature_enabled") == 1
    orders.fail("orders/recommend", 'panic("boom")')
    assert orders.order().status_code == 500
    answer = put(orders, {"enabled": False})
    assert (answer.status_code, answer.json()) == (200, {"enabled": False})
    assert orders.order().status_code == 201
    assert "also_bought" not in orders.order().json()
    assert orders.metric("feature_enabled") == 0
    [line] = orders.lines("feature switched")
    assert (line["feature"], line["enabled"]) == ("recommendations", False)


def test_it_is_off_unless_asked_for(start, payments):
    """Answers are as they always were; what it gives when on was learned from earlier orders."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    assert set(orders.order().json()) == {"order_id", "status", "request_id"}
    assert requests.get(orders.url + FEATURE, timeout=5).json() == {"enabled": False}
    put(orders, {"enabled": True})
    for sku in ("sku-01", "sku-02"):
        orders.order(user="ann", sku=sku)
    wait_for(lambda: orders.order(user="bob", sku="sku-01").json()["also_bought"] == ["sku-02"], what="it", limit=5)


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/admin/features/other", {"enabled": False}, 404),
        (FEATURE, {"enabled": "no"}, 400),
        (FEATURE, {"enabled": False, "more": 1}, 400),
        (FEATURE, [], 400),
    ],
)
def test_what_makes_no_sense_is_refused(start, path, document, status):
    """And changes nothing."""
    orders = start("orders", RECOMMENDATIONS="on")
    assert put(orders, document, path).status_code == status
    assert requests.get(orders.url + FEATURE, timeout=5).json() == {"enabled": True}


def own_address() -> str:
    """An address of this machine beyond loopback; empty when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def test_strangers_do_not_switch_whatever_they_say_of_themselves(start):
    """Only the connection's peer counts; ADMIN_ALLOW lets its networks in."""
    address = own_address()
    if not address or address.startswith("127."):
        pytest.skip("this machine has no address beyond loopback")
    for allow, status in (("", 403), ("203.0.113.0/24", 403), (f"203.0.113.0/24, {address}/32", 200)):
        orders = start("orders", HOST="0.0.0.0", RECOMMENDATIONS="on", ADMIN_ALLOW=allow)
        port = orders.url.rpartition(":")[2]
        answer = requests.put(
            f"http://{address}:{port}{FEATURE}",
            json={"enabled": False},
            timeout=5,
            headers={"x-forwarded-for": "127.0.0.1"},
        )
        assert answer.status_code == status, answer.text


def test_an_admin_allow_that_is_none_ends_the_start():
    """Status 2 and one clear line."""
    from shop.settings import SettingsError, read

    with pytest.raises(SettingsError, match=r"ADMIN_ALLOW='everyone': networks such as"):
        read("orders", {"ADMIN_ALLOW": "everyone"})
