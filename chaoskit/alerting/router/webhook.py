"""Alertmanager's webhook, version 4."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from chaoskit.alerting.router.alerts import Alert, fingerprint
from chaoskit.alerting.router.settings import Route


def post(
    url: str, route: Route, group: Mapping[str, str], alerts: Sequence[Alert], moment: float, limit: float
) -> tuple[str, bool]:
    """Tell ``alerts`` once, within ``limit`` seconds: what went wrong (empty: nothing), and whether to try again."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=limit)
    body = json.dumps(message(route, group, alerts, moment)).encode()
    try:
        connection.request("POST", parts.path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__, True
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return "", False
    return f"unexpected status code {answer.status}", answer.status >= 500


def message(route: Route, group: Mapping[str, str], alerts: Sequence[Alert], moment: float) -> dict[str, Any]:
    """The webhook's body. A group counts as firing while one of its alerts does."""
    grouped = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(group.items()))
    firing = any(not alert.resolved(moment) for alert in alerts)
    return {
        "receiver": route.receiver,
        "status": "firing" if firing else "resolved",
        "alerts": [_alert(alert, moment) for alert in alerts],
        "groupLabels": group,
        "commonLabels": _common([alert.labels for alert in alerts]),
        "commonAnnotations": _common([alert.annotations for alert in alerts]),
        "externalURL": "",
        "version": "4",
        "groupKey": f"{route.key}:{{{grouped}}}",
        "truncatedAlerts": 0,
    }


def _alert(alert: Alert, moment: float) -> dict[str, Any]:
    resolved = alert.resolved(moment)
    return {
        "status": "resolved" if resolved else "firing",
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(alert.ends_at) if resolved else "0001-01-01T00:00:00Z",
        "generatorURL": alert.generator,
        "fingerprint": fingerprint(alert.labels),
    }


def rfc3339(moment: float) -> str:
    """Unix seconds as Alertmanager writes them."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _common(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = labels
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
