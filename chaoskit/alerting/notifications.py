"""What a notification of an alert says, in the three ways in which one is sent.

* Alertmanager's webhook, version 4: ``{version, status, receiver, alerts: [...], ...}``;
* Prometheus' own, to ``/api/v2/alerts``: a list of alerts, resolved ones with an end in the past;
* plain JSON of an application: one object or a list of them.

Each becomes rows of state ``delivered`` or ``resolved``. What cannot be understood is refused as a whole, with a
:class:`NotificationError` that says where and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chaoskit.base.errors import ChaosError, nearest
from chaoskit.history.alerts import fingerprint, unix_time
from chaoskit.history.rows import Alert

FIRING = ("firing", "alerting", "triggered", "active", "open")
RESOLVED = ("resolved", "ok", "inactive", "closed")
"""How senders call the two states of a notification."""

MOST = 10_000
"""Alerts in one notification: more is a mistake of the sender."""

_TEXTS = ("summary", "description", "message", "runbook", "runbook_url")
"""What of an application's notification is an annotation; other plain values beside its name are labels."""
_OWN = ("name", "alertname", "state", "status", "labels", "annotations", "fingerprint")
_STARTS, _ENDS = ("startsAt", "starts_at"), ("endsAt", "ends_at")


class NotificationError(ChaosError):
    """A body that is no notification. The text says what is wrong with it."""


def webhook(body: bytes, at: float, receiver: str = "") -> list[Alert]:
    """The alerts of Alertmanager's webhook; ``receiver`` is used where the body names none."""
    data = _document(body)
    if not isinstance(data, dict) or not isinstance(data.get("alerts"), list):
        raise NotificationError("Alertmanager's webhook is an object with a list of alerts: {version, alerts: [...]}")
    version = str(data.get("version", "4"))
    if version != "4":
        raise NotificationError(f"Alertmanager's webhook of version {version} is not understood; legal: 4")
    name = data.get("receiver") if isinstance(data.get("receiver"), str) else ""
    return [
        _alert(item, where, at, "alertmanager", state=_state(item, where, "firing"), receiver=name or receiver)
        for item, where in _items(data["alerts"])
    ]


def prometheus(body: bytes, at: float, wall: float) -> list[Alert]:
    """The alerts that Prometheus sends. Those whose end is before ``wall`` (Unix seconds) are resolved."""
    data = _document(body)
    if not isinstance(data, list):
        raise NotificationError("Prometheus sends a list of alerts: [{labels, annotations, startsAt, endsAt}, ...]")
    return [
        _alert(item, where, at, "prometheus", state="resolved" if _over(item, where, wall) else "delivered")
        for item, where in _items(data)
    ]


def application(body: bytes, at: float) -> list[Alert]:
    """The alerts of an application: ``{name, state, severity, labels, annotations, ...}`` or a list of such."""
    data = _document(body)
    return [_plain(item, where, at) for item, where in _items(data if isinstance(data, list) else [data])]


def _plain(item: Mapping[str, Any], where: str, at: float) -> Alert:
    known = {*_OWN, *_TEXTS, *_STARTS, *_ENDS}
    labels, notes = _texts(item, "labels", where), _texts(item, "annotations", where)
    name = item.get("name", item.get("alertname", labels.get("alertname")))
    if not isinstance(name, str) or not name:
        raise NotificationError(f"{where}: 'name' is missing (or 'alertname')")
    more = {key: _text(value) for key, value in item.items() if key not in known and _is_plain(value)}
    told = {key: _text(item[key]) for key in _TEXTS if _is_plain(item.get(key))}
    whole = {**item, "labels": {**more, **labels, "alertname": name}, "annotations": {**told, **notes}}
    return _alert(whole, where, at, "application", state=_state(item, where, "firing"))


def _alert(item: Mapping[str, Any], where: str, at: float, source: str, *, state: str, receiver: str = "") -> Alert:
    labels, given = _texts(item, "labels", where), item.get("fingerprint")
    if not labels.get("alertname"):
        raise NotificationError(f"{where}.labels: 'alertname' is missing")
    return Alert(
        name=labels["alertname"],
        state="resolved" if state == "resolved" else "delivered",
        at=at,
        source=source,
        fingerprint=given if isinstance(given, str) and given else fingerprint(labels),
        labels=labels,
        annotations=_texts(item, "annotations", where),
        starts_at=_time(item, where, _STARTS),
        ends_at=_time(item, where, _ENDS),
        receiver=receiver,
    )


# Reading


def _document(body: bytes) -> Any:
    try:
        data = json.loads(body)
        if b"\\u" in body:
            json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair is no text that can be written down
    except RecursionError:
        raise NotificationError("the body is no JSON that can be read: nested too deeply") from None
    except ValueError as error:  # no UTF-8 either
        raise NotificationError(f"the body is no JSON: {error}") from None
    return data


def _items(data: list[Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    if len(data) > MOST:
        raise NotificationError(f"{len(data)} alerts in one notification; at most {MOST} are taken")
    for number, item in enumerate(data):
        if not isinstance(item, dict):
            raise NotificationError(f"alerts[{number}]: an object is expected, found {type(item).__name__}")
        yield item, f"alerts[{number}]"


def _texts(item: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    value = item.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NotificationError(f"{where}.{key}: an object is expected, found {type(value).__name__}")
    for name, text in value.items():
        if not _is_plain(text):
            raise NotificationError(f"{where}.{key}.{name}: text is expected, found {type(text).__name__}")
    return {name: _text(text) for name, text in value.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _state(item: Mapping[str, Any], where: str, otherwise: str) -> str:
    value = item.get("state", item.get("status", otherwise))
    if isinstance(value, str) and value.lower() in FIRING:
        return "delivered"
    if isinstance(value, str) and value.lower() in RESOLVED:
        return "resolved"
    near = nearest(str(value), (*FIRING, *RESOLVED))
    hint = f"; did you mean {near!r}?" if near else ""
    raise NotificationError(f"{where}: the state {value!r} is unknown; legal: {', '.join((*FIRING, *RESOLVED))}{hint}")


def _time(item: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> str:
    value = next((item[key] for key in keys if item.get(key) is not None), "")
    if not isinstance(value, str):
        raise NotificationError(f"{where}.{keys[0]}: a time as text (RFC 3339) is expected")
    return value


def _over(item: Mapping[str, Any], where: str, wall: float) -> bool:
    text = _time(item, where, _ENDS)
    if not text:
        return False
    end = unix_time(text)
    if end is None:
        raise NotificationError(f"{where}.endsAt: {text!r} is no time (RFC 3339)")
    return 0 < end <= wall  # Go's zero time means: no end
