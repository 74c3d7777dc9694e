"""``python -m chaoskit.alerting.router``: takes Alertmanager's flags and configuration, as far as we write them."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time

from chaoskit.alerting.receiver import Answer, Call, Receiver
from chaoskit.alerting.router.alerts import Alerts, fingerprint, read
from chaoskit.alerting.router.groups import Dispatcher
from chaoskit.alerting.router.settings import Settings
from chaoskit.alerting.router.settings import read as settings_of
from chaoskit.alerting.router.webhook import rfc3339


class Router:
    """The part of Alertmanager's HTTP API that Prometheus, the provider and the observers ask."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = Alerts(settings.inhibitions)
        self._dispatcher = Dispatcher(settings, self._known)

    def answer(self, call: Call) -> Answer:
        """An answer as Alertmanager gives it."""
        path = call.path.partition("?")[0]
        if path in ("/-/ready", "/-/healthy"):
            return Answer(200, b"OK", {"content-type": "text/plain"})
        if path != "/api/v2/alerts":
            return Answer(404, b'{"code": 404, "message": "not known to the stand-in"}')
        return self._take(call.body) if call.method == "POST" else self._list()

    def _take(self, body: bytes) -> Answer:
        moment = time.time()
        try:
            alerts = [read(each, moment, self._settings.resolve_timeout) for each in json.loads(body)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Answer(400, json.dumps({"code": 400, "message": f"no list of alerts: {error!r}"}).encode())
        for alert in alerts:
            self._dispatcher.put(alert)
        return Answer(200, b"")

    def _list(self) -> Answer:
        moment = time.time()
        found = [
            {
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": rfc3339(alert.starts_at),
                "endsAt": rfc3339(alert.ends_at),
                "fingerprint": fingerprint(alert.labels),
                "status": {"state": "suppressed" if self._known.inhibited(alert, moment) else "active"},
            }
            for alert in self._known.active(moment)
        ]
        return Answer(200, json.dumps(found).encode())


def main() -> int:
    """Serve until a signal ends the process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = settings_of()
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    receiver = Receiver()
    receiver.take("/", Router(settings).answer)
    receiver.start(settings.host, settings.port)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
