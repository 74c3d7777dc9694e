"""Redis with a short time limit: a dead Redis may cost a request a tenth of a second, not its deadline."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shop.settings import Settings

# What any command can raise when Redis cannot be used.
REDIS_DOWN = (RedisError, OSError, TimeoutError)


def connect(settings: Settings) -> Redis:
    """A client that connects when first used. It does not retry: its callers have better answers than waiting.

    Its connections are bounded: requests that end together, as they do when payments hang, would each open one more,
    and a Redis that is asked for many at once gives none in time.
    """
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=settings.redis_pool_size,
        timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


async def trouble(redis: Redis) -> str:
    """Empty when Redis answers, else what went wrong (for /readyz)."""
    try:
        await redis.ping()
    except REDIS_DOWN as error:
        return f"{type(error).__name__}: {error}"
    return ""
