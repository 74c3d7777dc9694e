"""The call to payments: time limits, retries, circuit breaker."""

from __future__ import annotations

import time
from dataclasses import dataclass

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from shop import metrics, spans, trace
from shop.breaker import CLOSED, Breaker, BreakerOpen
from shop.logs import log
from shop.retries import Policy, RetryBudget, policy_for
from shop.settings import Settings

_PASSING = {502, 503, 504}  # statuses worth another attempt


class PaymentFailed(Exception):
    """Not known to be charged: payments could not be reached, answered 5xx or not in time."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


class PaymentRefused(Exception):
    """Payments answered 4xx: a decision, not a failure."""

    def __init__(self, status: int) -> None:
        super().__init__(f"payments answered {status}")
        self.status = status


@dataclass(frozen=True)
class Charge:
    """``amount`` in cents; ``key`` makes repeating it harmless."""

    key: str
    amount: int
    sku: str


class PaymentsClient:
    """Charges orders. Create inside a running event loop, :meth:`close` at the end."""

    def __init__(self, settings: Settings, policy: Policy | None = None) -> None:
        service = settings.service
        self._url = settings.payments_url.rstrip("/")
        self._policy = policy or policy_for(settings)
        self._limited = settings.payment_timeout == "on"
        self._as_moment = settings.deadline == "absolute"
        self._propagates = settings.trace_propagation == "on"
        self._attempt_timeout = settings.payment_attempt_timeout_s
        self._budget = RetryBudget(ratio=settings.retry_budget_ratio, min_per_s=settings.retry_budget_min_per_s)
        self._attempts = metrics.attempts.labels(service)
        self._retries = metrics.retries.labels(service)
        self._rejected = metrics.breaker_rejected.labels(service)
        self._breaker = Breaker(
            # A share above one is never reached: BREAKER=off counts, and never opens.
            ratio=settings.breaker_ratio if settings.breaker == "on" else 2.0,
            min_calls=settings.breaker_min_calls,
            window=settings.breaker_window_s,
            probe_every=settings.breaker_probe_s,
            good_probes=settings.breaker_good_probes,
            on_change=lambda state: _announce(service, state),
        )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))

    async def close(self) -> None:
        await self._session.close()

    async def charge(self, charge: Charge, deadline: float) -> None:
        """Charge, with what retries the policy allows before ``deadline`` (monotonic seconds).

        Raises :class:`PaymentRefused` (4xx), :class:`PaymentFailed` (gave up), :class:`BreakerOpen` (not tried).
        The breaker judges a charge with its retries as one call: what retries can mend is no reason to open.
        """
        self._budget.note_call()
        try:
            with self._breaker.call(PaymentFailed) as probe:
                if probe:
                    await self._attempt("/charges", charge, deadline)
                else:
                    await self._with_retries(charge, deadline)
        except BreakerOpen:
            self._rejected.inc()
            raise

    async def refund(self, key: str, deadline: float) -> None:
        """Give the money of an order back, in one attempt; raises as :meth:`charge` does."""
        with self._breaker.call(PaymentFailed):
            await self._attempt("/refunds", Charge(key, 0, ""), deadline)

    async def _with_retries(self, charge: Charge, deadline: float) -> None:
        policy = self._policy

        def worth_it(error: BaseException) -> bool:
            if isinstance(error, PaymentRefused):
                return policy.also_client_errors
            return isinstance(error, PaymentFailed) and error.passing

        def enough(state: RetryCallState) -> bool:
            late = policy.within_deadline and time.monotonic() + state.upcoming_sleep >= deadline
            if state.attempt_number >= policy.attempts or late or self._breaker.state != CLOSED:
                return True
            return policy.within_budget and not self._budget.spend()

        def count(state: RetryCallState) -> None:
            self._retries.inc()
            here = trace.current()
            if here is not None:
                here.retry_count = state.attempt_number

        retrying = AsyncRetrying(
            retry=retry_if_exception(worth_it),
            stop=enough,
            wait=lambda state: policy.gap(state.attempt_number),
            before_sleep=count,
            reraise=True,
        )
        await retrying(self._attempt, "/charges", charge, deadline)

    async def _attempt(self, path: str, charge: Charge, deadline: float) -> None:
        headers = {"idempotency-key": charge.key, "content-type": "application/json"}
        here = trace.current()
        if here is None:
            await self._send(path, charge, headers, deadline)
            return
        headers |= here.headers()
        with spans.call(here, f"POST {path}") as traceparent:
            if self._propagates:
                headers["traceparent"] = traceparent
            await self._send(path, charge, headers, deadline)

    async def _send(self, path: str, charge: Charge, headers: dict[str, str], deadline: float) -> None:
        timeout = None
        if self._limited:
            timeout = self._attempt_timeout
            if self._policy.within_deadline:
                timeout = max(0.001, min(timeout, deadline - time.monotonic()))
            if self._as_moment:
                headers["x-request-deadline-ms"] = str(round((time.time() + timeout) * 1000))
            else:
                headers["x-request-timeout-ms"] = str(round(timeout * 1000))
        body = msgspec.json.encode({"order_key": charge.key, "amount": charge.amount, "sku": charge.sku})
        self._attempts.inc()
        try:
            async with self._session.post(
                self._url + path, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout)
            ) as response:
                await response.read()
                status = response.status
        except TimeoutError:
            raise PaymentFailed(f"no answer within {timeout:.3f} s", passing=True) from None
        except aiohttp.ClientError as error:
            raise PaymentFailed(f"{type(error).__name__}: {error}", passing=True) from error
        if 400 <= status < 500:
            raise PaymentRefused(status)
        if status >= 500:
            raise PaymentFailed(f"payments answered {status}", passing=status in _PASSING)


def _announce(service: str, state: int) -> None:
    metrics.breaker_state.labels(service).set(state)
    log.warning("breaker changed", state=("closed", "half-open", "open")[state])
