"""Files of a team as they are kept beside a run: without secrets, and still to be judged by."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.language import source
from chaoskit.language.kept import masked

TEXT = """\
scenario: ünsafe  # password=hunter2 in a comment
description: |
  The password=hunter2
  of two lines.
environment: shop
with: {url: "redis://:hunter2@h/0",
  x: "a
    token=hunter2 b"}
traffic:
  get-token:
    request: GET {{ shop.url }}/r?token=hunter2&user={{ faker.user_name() }}
    headers: {Authorization: "Bearer {{ data.token }}", X-Api-Key: hunter2, Accept: text/html}
    rate: 80/s
steady_state: {get-token: {success_rate: ">= 99%"}}
expect:
  logs:
    - {service: shop, no_secret: true, secrets: ["hunter3"], text: "token=abc"}
services:
  db: {env: {PGPASSWORD: hunter2, NAME: x, TOKEN: "${TOKEN}"}, command: [run, --url, "pg://u:hunter2@h"]}
"""


def test_no_secret_is_kept_and_all_else_is() -> None:
    """Each in its place and type, in the lines where it was; what is expected of answers and logs stays whole."""
    kept = masked(TEXT)
    assert "hunter2" not in kept
    before, after = source.read(Path("x"), TEXT), source.read(Path("x"), kept)
    assert after.data["expect"] == before.data["expect"]
    assert after.data["traffic"]["get-token"] == {
        "request": "GET {{ shop.url }}/r?token=masked&user={{ faker.user_name() }}",
        "headers": {"Authorization": "Bearer {{ data.token }}", "X-Api-Key": "masked", "Accept": "text/html"},
        "rate": "80/s",
    }
    assert after.data["with"] == {"url": "redis://:masked@h/0", "x": "a token=masked b"}
    assert after.data["services"]["db"]["env"] == {"PGPASSWORD": "masked", "NAME": "x", "TOKEN": "${TOKEN}"}
    for path in (("traffic",), ("traffic", "get-token", "rate"), ("expect", "logs", 0), ("services",)):
        assert after.line(path) == before.line(path)
    assert masked(kept) == kept


@pytest.mark.parametrize("text", ["", "a: 1\n", "a: &x {password: 5}\nb: *x\n", "no_secret: true\n# end"])
def test_what_holds_none_is_kept_as_it_is(text: str) -> None:
    """Byte for byte."""
    assert masked(text) == text


def test_the_files_here_are_kept_as_they_are() -> None:
    """They hold none: nothing in them is taken for one, so that all of them can be judged by."""
    root = Path(__file__).parents[2]
    files = [file for place in ("scenarios", "examples") for file in (root / place).rglob("*.yaml")]
    assert len(files) > 20
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert masked(text) == text, file
