"""Secrets are masked in everything that leaves the run's folder, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.mask import MASK, mask, secrets_in


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://shop:hunter2@127.0.0.1:5432/shop", "postgres://shop:***@127.0.0.1:5432/shop"),
        ("redis://:hunter2@localhost", "redis://:***@localhost"),
        ("amqp+ssl://a:p%40ss@host and http://b:x@c", "amqp+ssl://a:***@host and http://b:***@c"),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("password=hunter2", "password=***"),
        ('{"api_key": "abc", "x": 1}', '{"api_key": "***", "x": 1}'),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
        ("token='abc' next", "token='***' next"),
        ("GET /x?access_token=abc&y=1", "GET /x?access_token=***&y=1"),
        ("client-secret = abc", "client-secret = ***"),
        ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***"),
        (r'{"body": "{\"token\": \"abc\", \"x\": 1}"}', r'{"body": "{\"token\": \"***\", \"x\": 1}"}'),
        (r"password=a\b\\c next", "password=*** next"),
        ("BeArEr abcdefghij, API-Key: abc, \u017fecret: abc", "BeArEr ***, API-Key: ***, \u017fecret: ***"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    """What stands around a secret stays readable."""
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://127.0.0.1:8080/orders",
        "postgres://localhost/shop",
        "fault slow: latency on payments touched 3 connections",
        "the token bucket is empty",
        "basic auth is off",
        "expected < 250ms, seen 812ms",
    ],
)
def test_other_texts_are_left_alone(text: str) -> None:
    """No harm to what is no secret."""
    assert mask(text) == text


@given(secret=st.text("abcdefXYZ0189._~+/-", min_size=8, max_size=30))
def test_no_form_lets_a_secret_through(secret: str) -> None:
    """Whatever the secret is made of; masking again changes nothing."""
    url_part = secret.replace("/", "_")
    text = f"Bearer {secret}\npassword: {secret}\nx://u:{url_part}@h"
    masked = mask(text)
    assert masked == f"Bearer {MASK}\npassword: {MASK}\nx://u:{MASK}@h"
    assert mask(masked) == masked


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("postgres://shop:hunter2@db and password=x1", ["a password in a URL", "a password, token or key"]),
        ("Authorization: Bearer abcdefgh.ijkl", ["credentials of an Authorization header"]),
        ("password=*** token: null secret=<redacted> Bearer authentication", []),
    ],
)
def test_secrets_are_named_by_kind(text: str, kinds: list[str]) -> None:
    """What is masked or missing is none."""
    assert secrets_in(text) == kinds


@given(st.text())
def test_what_is_masked_holds_no_secret(text: str) -> None:
    """Masking takes out whatever would be found."""
    assert secrets_in(mask(text)) == []
