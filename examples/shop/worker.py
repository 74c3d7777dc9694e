"""worker: settles deferred payments and notifies, from the outbox; and runs a periodic job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from aiohttp import web

from chaoskit.failpoints import afailpoint, register
from shop import metrics, spans, trace
from shop.breaker import BreakerOpen
from shop.database import Database
from shop.errors import Unavailable
from shop.logs import log
from shop.outbox import Item, Outbox
from shop.payments_client import Charge, PaymentFailed, PaymentRefused, PaymentsClient
from shop.retries import Policy
from shop.settings import Settings, read_or_exit
from shop.web import application, die_of, run

for _name in ("worker/task", "worker/job"):
    register(_name)

# One attempt: the outbox itself is the retry, with its own back-off.
_ONE_ATTEMPT = Policy(attempts=1, gap=lambda _: 0.0)
_EXPECTED = (Unavailable, PaymentFailed, BreakerOpen, TimeoutError)


class Worker:
    """Background work that outlives every single failure in it."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._outbox = Outbox(settings, db)
        self._payments = PaymentsClient(settings, _ONE_ATTEMPT)
        self._stopping = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._done = metrics.outbox_done.labels(settings.service)
        self._task_errors = metrics.task_errors.labels(settings.service)
        self._job_runs = metrics.job_runs.labels(settings.service)
        self._job_errors = metrics.job_errors.labels(settings.service)
        self._running = asyncio.create_task(self._run(db))

    async def stop(self) -> None:
        """Let the work under way finish, within ``shutdown_s``; what is cut off comes due again by its lease."""
        self._stopping.set()
        await asyncio.wait([self._running], timeout=self._settings.shutdown_s)
        for task in (self._running, *self._jobs):
            task.cancel()
        await self._payments.close()

    async def _run(self, db: Database) -> None:
        await db.prepared.wait()
        await asyncio.gather(self._tick(), *(self._poll() for _ in range(self._settings.worker_tasks)))

    async def _poll(self) -> None:
        """One of the concurrent loops over the outbox."""
        while not self._stopping.is_set():
            found = 0
            try:
                found = await self._batch()
            except Unavailable as error:
                log.warning("outbox out of reach", reason=error.code)
            except Exception as error:
                self._failed(error)
            if found < self._settings.worker_batch:
                await self._pause(self._settings.worker_poll_s)

    async def _batch(self) -> int:
        """Work on the rows that are due, at the same time; each may fail on its own."""
        items = await self._outbox.claim()
        if not items:
            return 0
        outcomes = await asyncio.gather(*(self._work_on(item) for item in items))
        done = [item.id for item, good in zip(items, outcomes, strict=True) if good]
        later = [item.id for item, good in zip(items, outcomes, strict=True) if not good]
        if done:
            await self._outbox.done(done)
            self._done.inc(len(done))
        if later:
            await self._outbox.later(later)
        return len(items)

    async def _work_on(self, item: Item) -> bool:
        """Whether the row can be closed. Runs in a task, and so in a trace, of its own."""
        here = trace.begin(item.traceparent, item.request_id)
        with spans.unit(here, f"settle {item.kind}", "consumer") as attributes:
            attributes["settled"] = settled = await self._try(item)
        return settled

    async def _try(self, item: Item) -> bool:
        try:
            # Not longer than the claim is good for: past that another worker has it anyway.
            async with asyncio.timeout(self._settings.worker_lease_s):
                await afailpoint("worker/task")
                await self._settle(item)
        except _EXPECTED as error:
            log.warning("put off", order_id=item.order_id, reason=str(error) or type(error).__name__)
            return False
        except Exception as error:
            self._failed(error, order_id=item.order_id)
            return False
        log.info("settled", kind=item.kind, order_id=item.order_id, request_id=item.request_id)
        return True

    async def _settle(self, item: Item) -> None:
        """Bring the money where it belongs; harmless when repeated, because the key is the order's."""
        deadline = time.monotonic() + self._settings.order_deadline_s
        if item.kind == "refund":
            await self._payments.refund(item.order_key, deadline)
        elif item.status == "payment_pending" and item.sku is not None and item.amount is not None:
            try:
                await self._payments.charge(Charge(item.order_key, item.amount, item.sku), deadline)
            except PaymentRefused as error:
                log.warning("deferred payment refused", order_id=item.order_id, reason=str(error))
                await self._outbox.declined(item.id)

    async def _tick(self) -> None:
        """Start the job each period, never while its last run is still going, and end it at its limit."""
        period = self._settings.worker_job_period_s
        while not self._stopping.is_set():
            started = time.monotonic()
            if self._settings.worker_job == "overlapping":
                task = asyncio.create_task(self._run_job(limit=None))
                self._jobs.add(task)
                task.add_done_callback(self._jobs.discard)
            else:
                await self._run_job(limit=self._settings.worker_job_limit_s)
            await self._pause(max(0.0, period - (time.monotonic() - started)))

    async def _run_job(self, limit: float | None) -> None:
        trace.begin(None, None)
        self._job_runs.inc()
        try:
            async with asyncio.timeout(limit):
                await self._job()
        except (Unavailable, TimeoutError) as error:
            self._job_errors.inc()
            log.warning("job given up", reason=str(error) or "time limit")
        except Exception as error:
            self._job_errors.inc()
            self._failed(error)

    async def _job(self) -> None:
        """Measure the backlog of the outbox."""
        await afailpoint("worker/job")
        count, age = await self._outbox.backlog()
        metrics.outbox_pending.labels(self._settings.service).set(count)
        metrics.outbox_oldest.labels(self._settings.service).set(age)

    def _failed(self, error: Exception, **details: str) -> None:
        """A panic in background work: no request's recovery is there to catch it."""
        if self._settings.worker_recovery == "off":
            die_of(error, "panic in task")
        self._task_errors.inc()
        log.error("task panic recovered", exc_info=error, **details)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until :meth:`stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def build(settings: Settings) -> web.Application:
    """The worker with its small HTTP server for health and metrics, not yet started."""
    db = Database(settings)
    app = application(settings, {"database": db.trouble})

    async def resources(_: web.Application) -> AsyncIterator[None]:
        await db.open()
        worker = Worker(settings, db)
        yield
        await worker.stop()
        await db.close()

    app.cleanup_ctx.append(resources)
    return app


if __name__ == "__main__":
    settings = read_or_exit("worker")
    run(build(settings), settings)
