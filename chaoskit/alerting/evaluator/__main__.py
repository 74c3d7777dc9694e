"""``python -m chaoskit.alerting.evaluator``: takes Prometheus' flags and configuration, as far as we write them."""

from __future__ import annotations

import logging
import sys

from chaoskit.alerting.evaluator.server import Evaluator
from chaoskit.alerting.evaluator.settings import read
from chaoskit.alerting.receiver import Receiver
from chaoskit.base.errors import ChaosError


def main() -> int:
    """Serve until a signal ends the process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = read()
    except (ChaosError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    evaluator = Evaluator(settings)
    receiver = Receiver()
    receiver.take("/", evaluator.api.answer)
    receiver.start(settings.host, settings.port)
    try:
        evaluator.run()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
