"""Secrets are masked in everything that leaves the run's folder, and nothing else is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.base.mask import MASK, mask, secrets_in


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
        ("postgres://u:p@ss/WORD@h/db", "postgres://u:***@h/db"),
        ("redis://u:p@h1,redis://u:q@h2", "redis://u:***@h1,redis://u:***@h2"),
        ('password="a b, \\"c" next', 'password="***" next'),
        ("password=b'ab c' x", "password=b'***' x"),
        (r'{"body": "{\"token\": \"abc def\", \"x\": 1}"}', r'{"body": "{\"token\": \"***\", \"x\": 1}"}'),
        ('{"password": {"value": "x", "n": [1]}, "a": 2}', '{"password": "***", "a": 2}'),
        ('"secrets": 1, "secret": ["a", "b"], "c": 1', '"secrets": 1, "secret": "***", "c": 1'),
        ('token: {"cut": "o', 'token: "***"'),
        ('{"Cookie": "sid=abc; x", "a": 1}', '{"Cookie": "***", "a": 1}'),
        ("Set-Cookie: sid=abc; Path=/", "Set-Cookie: ***"),
        ("Pwd=hunter2;Uid=x", "Pwd=***;Uid=x"),
        ("passphrase: abc", "passphrase: ***"),
        ("Authorization: Token abcdef", "Authorization: Token ***"),
        ('Authorization: Digest username="a", response="b"', "Authorization: Digest ***"),
        ("run --db-password hunter2 --x", "run --db-password *** --x"),
        ("ALTER USER x PASSWORD 'a b'", "ALTER USER x PASSWORD '***'"),
        ("password%3Dhunter2&x", "password%3D***&x"),
        ("\x1b[31mpassword\x1b[0m=\x1b[1mhunter2\x1b[0m x", "password=*** x"),
        ('{"token": 5, "pin_token":7}', '{"token": "***", "pin_token":"***"}'),
        (r'{"a": "{\"token\": 5}"}', r'{"a": "{\"token\": \"***\"}"}'),
        ("pass\0word=hunter2", "password=***"),
        ("\u202etoken\u202c: abc", "token: ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\na\nb\n-----END", "-----BEGIN RSA PRIVATE KEY-----***-----END"),
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
        "http://localhost:8080/users/@me",
        "PWD=/app",
        '{"token": null, "secret": false, "password": ""}',
        "password=***",
        "\x1b[31mred\x1b[0m",
        "Unexpected token '<' in JSON",
        'key: [1, 2], "tokens": [3]',
        "run --key-file x --tokens 5",
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
        ("\x1b[31mpassword\x1b[0m=\x1b[1mhunter2", ["a password, token or key"]),
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


PARTS = [
    "a-",
    "--a",
    "-",
    "token",
    "token-",
    "token ",
    "token : ",
    'token="',
    "token='",
    r"token=\"",
    "token:{",
    '"token":[',
    "key",
    "password ",
    "password '",
    "password=\\",
    "--password ",
    "\\",
    r"\"",
    "basic ",
    "cookie:",
    "authorization: token ",
    "-----BEGIN PRIVATE KEY-----",
    "a+",
    "://",
    "a://",
    "://u:",
    "{",
    " ",
    "pwd=",
]


@pytest.mark.parametrize("first", ["", "password=", "token", "basic", "://u:"])
@pytest.mark.parametrize("part", PARTS)
def test_no_text_takes_longer_than_its_length(first: str, part: str) -> None:
    """Services write what they like, and lines are masked while a scenario is measured.

    Eight times the text takes eight times as long, with room for noise, where a square would take 64 times.
    """

    def took(length: int) -> float:
        text = first + part * (length // len(part)) + " token ://"
        times = []
        for _ in range(3):
            began = time.thread_time()
            mask(text)
            secrets_in(text)
            times.append(time.thread_time() - began)
        return min(times)

    long = took(32_000)
    assert long < 0.05 or long < 28 * took(4_000)
