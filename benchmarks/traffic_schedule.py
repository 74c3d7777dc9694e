"""How exactly, and at what cost, the traffic worker keeps its schedule.

    python benchmarks/traffic_schedule.py [--rate 1000] [--seconds 10] [--faker]

A small server in a process of its own answers at once. Printed: the schedule error (sent minus intended), the
latency the rows report, and the worker's share of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from multiprocessing.connection import Connection

import psutil

from chaoskit.base.clock import now, sleep_until
from chaoskit.history.rows import Request, Row
from chaoskit.traffic.generator import TrafficGenerator
from chaoskit.traffic.spec import Operation, Stream

ANSWER = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + b'{"ok":true}'


class TinyServer(asyncio.Protocol):
    """Answers whatever comes: every request of this benchmark fits into one packet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, _: bytes) -> None:
        """Answer."""
        self.transport.write(ANSWER)


def serve(pipe: Connection) -> None:
    """Serve until killed; tells the port through ``pipe``."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(TinyServer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def main() -> None:
    """Run once and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rate", type=float, default=1000.0)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--faker", action="store_true", help="let Faker make a field of each request")
    given = options.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    rows: list[Row] = []
    user = "{{ faker.user_name() }}" if given.faker else "{{ pick(users, skew=1.2) }}"
    operation = Operation(
        name="order",
        method="POST",
        url="{{ orders.url }}/orders",
        json={"user": user, "quantity": "{{ randint(1, 3) }}"},
        rate=given.rate,
        ok_status=[201],
    )
    variables = {"orders": {"url": f"http://127.0.0.1:{here.recv()}"}, "users": ["ann", "bob", "cyd"]}
    with TrafficGenerator(rows.append) as traffic:
        traffic.begin(1, [operation], variables)
        worker = psutil.Process(traffic.pid)
        start = now() + 0.5
        traffic.stream(Stream(id="main", op="order", start=start, until=start + given.seconds))
        sleep_until(start)
        before = worker.cpu_times()
        sleep_until(start + given.seconds)
        after = worker.cpu_times()
        schedule = traffic.end()
    server.terminate()
    latencies = sorted(row.ended - row.intended for row in rows if isinstance(row, Request))
    failed = sum(isinstance(row, Request) and not row.ok for row in rows)
    cpu = (after.user + after.system - before.user - before.system) / given.seconds
    print(f"{schedule.sent} of {schedule.planned} sent, {failed} failed, at {given.rate:g}/s")
    print(
        f"schedule error  p50 {schedule.lag_p50 * 1e3:.3f} ms   p99 {schedule.lag_p99 * 1e3:.3f} ms   "
        f"max {schedule.lag_max * 1e3:.3f} ms"
    )
    print(
        f"latency         p50 {latencies[len(latencies) // 2] * 1e3:.3f} ms   "
        f"p99 {latencies[int(len(latencies) * 0.99)] * 1e3:.3f} ms"
    )
    print(f"worker          {cpu:.0%} of a core")


if __name__ == "__main__":
    main()
