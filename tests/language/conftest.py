"""A valid scenario with its environment, to be broken in one place at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.base.errors import InputError, Problem
from chaoskit.language.loader import load
from chaoskit.language.scenario import Scenario

ENVIRONMENT = """\
environment: shop
data:
  regions: [north, south]
services:
  db:
    provider: redis
  orders:
    command: python -m shop.orders
    protocol: http
    ready: {http: /healthz, within: 20s}
    restart: always
    env:
      DB_URL: "{{ db.url }}"
"""

SCENARIO = """\
scenario: Orders survive a slow database
case: B1
severity: critical
owner: orders
tags: [pool]
environment: shop
isolation: shared
with:
  orders: {env: {LOG: debug}}
control:
  with:
    orders: {env: {POOL: none}}
  violates: [during.place.p99]
data:
  skus: [a, b]
traffic:
  place:
    request: POST {{ orders.url }}/orders
    headers: {x-request-id: "{{ uuid() }}"}
    json: {sku: "{{ pick(skus) }}", region: "{{ pick(regions) }}"}
    rate: 40/s
    arrival: constant
    timeout: 2s
    ok: {status: 201}
    fallback: {header: {x-degraded: cache}}
steady_state:
  place: {success_rate: ">= 99%", p95: "< 250ms"}
timeline:
  steady: 3s
  faults:
    - slow-db: {latency: {on: db, delay: 800ms, jitter: 100ms}, at: 0s, for: 6s}
    - hung:
        pause: {service: orders}
        at: 2s
        for: 1s
  recovery: 15s
expect:
  during:
    place: {success_rate: ">= 99%", p99: "< 1s"}
  recovery: {within: 5s}
"""


class Desk:
    """A folder with a scenario file that can be rewritten and loaded."""

    scenario = SCENARIO
    environment = ENVIRONMENT

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "orders.chaos.yaml"
        self.environment_file = folder / "environments" / "shop.yaml"
        self.environment_file.parent.mkdir()
        self.environment_file.write_text(ENVIRONMENT, encoding="utf-8")
        # The search for environments ends here.
        (folder / "pyproject.toml").touch()

    def load(self, text: str = SCENARIO) -> list[Scenario]:
        """The scenarios of a file with this text."""
        self.file.write_text(text, encoding="utf-8")
        return load(self.file)

    def problems(self, text: str = SCENARIO) -> list[Problem]:
        """The mistakes of a file with this text; none fails the test."""
        with pytest.raises(InputError) as caught:
            self.load(text)
        return caught.value.problems

    def edit(self, old: str, new: str, text: str = SCENARIO) -> str:
        """``text`` with one piece, which must stand in it once, replaced."""
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the text"
        return text.replace(old, new)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A folder of its own, which is also the working directory: files are shown relative to it."""
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)
