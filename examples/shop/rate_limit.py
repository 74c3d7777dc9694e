"""So many orders per user and window, counted in Redis by a sliding window, so that all instances agree."""

from __future__ import annotations

import secrets

from redis.asyncio import Redis

from shop import metrics
from shop.errors import Refused, Unavailable
from shop.logs import log
from shop.redis_client import REDIS_DOWN
from shop.settings import Settings

# One script, because check and count must not be torn apart; Redis' own clock, because ours may differ between
# instances. Refused requests are not counted: who keeps trying gets in again as soon as the window allows.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
    return redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] + window - now
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return -1
"""


class RateLimit:
    """``settings.rate_limit_max`` orders per user in any ``settings.rate_limit_window_s`` seconds."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._settings = settings
        self._script = redis.register_script(_SCRIPT)
        self._refused = metrics.rate_limited.labels(settings.service)

    async def admit(self, user: str) -> None:
        """Count one request of ``user``; refused with 429 above the limit.

        Without Redis nobody can count: ``RATE_LIMIT_ON_ERROR`` says whether requests pass (open) or not (closed).
        """
        settings = self._settings
        if settings.rate_limit == "off":
            return
        window = round(settings.rate_limit_window_s * 1_000_000)
        try:
            wait = await self._script(
                keys=[f"rate:{user}"], args=[settings.rate_limit_max, window, secrets.token_hex(8)]
            )
        except REDIS_DOWN as error:
            log.warning("rate limit unavailable", reason=str(error), on_error=settings.rate_limit_on_error)
            if settings.rate_limit_on_error == "closed":
                raise Unavailable("rate_limit_unavailable") from None
            return
        if wait >= 0:
            self._refused.inc()
            raise Refused(429, "rate_limited", retry_after=wait / 1_000_000)
