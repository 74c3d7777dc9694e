"""The command: ``python -m chaoskit.toxiproxy.server``."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from time import monotonic

from chaoskit.base.api_guard import Guard
from chaoskit.base.blast_radius import BlastRadius
from chaoskit.toxiproxy.server.address import AddressError, join, lookup
from chaoskit.toxiproxy.server.api import VERSION, Api
from chaoskit.toxiproxy.server.errors import ApiError
from chaoskit.toxiproxy.server.extensions import Extensions
from chaoskit.toxiproxy.server.flags import USAGE, FlagError, Flags, parse
from chaoskit.toxiproxy.server.http import HttpServer
from chaoskit.toxiproxy.server.ledger import Ledger
from chaoskit.toxiproxy.server.log import Log
from chaoskit.toxiproxy.server.metrics import Metrics
from chaoskit.toxiproxy.server.onlink import ON_LINK, OnLink
from chaoskit.toxiproxy.server.proxy import Context
from chaoskit.toxiproxy.server.reactor import READ, Reactor
from chaoskit.toxiproxy.server.state import State

_LOG_DELAY = 0.02  # seconds


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    try:
        flags = parse(sys.argv[1:] if arguments is None else arguments)
    except FlagError as error:
        sys.stderr.write(f"{error}\n{USAGE}" if str(error) else USAGE)
        return 2 if str(error) else 0
    if flags.version:
        sys.stdout.write(f"toxiproxy-server version {VERSION}\n")
        return 0
    log = Log()
    try:
        return _serve(flags, log)
    finally:
        log.flush()


def _serve(flags: Flags, log: Log) -> int:
    reactor = Reactor(lambda error: _report(log, error))
    log.on_first_line = lambda: _soon(reactor, log)
    if not _stop_with_us(reactor, flags.parent):
        return 0
    _prepare_process()
    log.info("Starting Toxiproxy", version=VERSION)
    seed = flags.seed if flags.seed is not None else int.from_bytes(os.urandom(7), "big")
    state = State(Context(reactor, log, Ledger(), seed, _radius(flags.upstreams)))
    if flags.config:
        _populate(state, log, flags.config)
    try:
        listener = _listen(flags.host, flags.port)
    except (OSError, AddressError) as error:
        log.error("Server finished with error", error=str(error))
        state.close()
        return 1
    host, port = listener.getsockname()[:2]
    api = Api(state, Guard(flags.host, host, token=os.environ.get("TOXIPROXY_AUTH_TOKEN", "")))
    api.routes += Extensions(state).routes
    if flags.proxy_metrics or flags.runtime_metrics:
        api.routes.append(Metrics(state, flags.proxy_metrics, flags.runtime_metrics).route)
    server = HttpServer(reactor, api, log, listener)
    start = "Starting Toxiproxy HTTP server"
    log.info(start, msg=start, address=join(host, port), host=host, port=port, seed=seed)
    log.flush()
    gc.collect()
    gc.freeze()  # what exists now stays: never look at it again
    reactor.run()
    log.info("Shutdown started")
    server.close()
    state.close()
    return 0


def _radius(upstreams: str | None) -> BlastRadius | None:
    """Where proxies may lead; None is anywhere."""
    if upstreams is None:
        return None
    if upstreams == ON_LINK:
        return OnLink()
    return BlastRadius(filter(None, upstreams.split(",")))


def _report(log: Log, error: Exception) -> None:
    from traceback import format_exception  # costs start-up time, and should never be needed

    log.error("Unexpected error", error="".join(format_exception(error)))


def _soon(reactor: Reactor, log: Log) -> None:
    reactor.at(monotonic() + _LOG_DELAY, log.flush)


def _listen(host: str, port: int) -> socket.socket:
    family, number, _ = lookup(host, port)[0] if host else (socket.AF_INET6, "::", port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((number, port))
    listener.listen(1024)
    return listener


def _populate(state: State, log: Log, file_name: str) -> None:
    """A file that cannot be read, or is wrong, does not keep the server from starting (as in the original)."""
    try:
        with open(file_name, "rb") as file:  # noqa: PTH123 - pathlib costs start-up time
            body = file.read()
    except OSError as error:
        log.error("Error reading config file", config=file_name, error=str(error))
        return
    try:
        proxies = state.populate(body)
    except ApiError as error:
        log.error("Failed to populate proxies from file", error=error.text)
    else:
        log.info("Populated proxies from file", proxies=len(proxies))


def _stop_with_us(reactor: Reactor, parent: int | None) -> bool:
    """Stop the loop on a signal, or when the parent ends. False when the parent has ended already."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reactor.stop())
    signal.set_wakeup_fd(reactor.wake_fd, warn_on_full_buffer=False)
    if parent is None:
        return True
    # Not PR_SET_PDEATHSIG: that fires when the *thread* ends that started us.
    try:
        watched = os.pidfd_open(parent or os.getppid())
    except ProcessLookupError:
        return False
    reactor.watch(watched, READ, lambda _: reactor.stop())
    return True


def _prepare_process() -> None:
    """As many connections, and timers as exact, as we can have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with open("/proc/self/timerslack_ns", "w") as file:  # noqa: PTH123
            file.write("1")
    except OSError:
        return  # waits may be up to 50 µs longer


if __name__ == "__main__":
    sys.exit(main())
