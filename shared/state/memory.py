"""The memory of Redis: how much of it is used, and scripts that may use the rest of it.

A full Redis (`maxmemory`, `noeviction`) refuses every transaction, and every command that may need memory. Of a script
it refuses the first write if that may need memory; after a write that cannot, it refuses none.
"""

import time
from collections.abc import Callable
from typing import cast

import structlog

from shared.age_cache import AgeCache
from shared.errors import Refused
from shared.state.keys import key
from shared.state.redis_client import RedisClient

RUNS_IF_FULL = f"redis.call('DEL', '{key('alone:')}')\n"
"""First line of scripts that also run in a full Redis: those that free memory, or that need little so that other memory
is freed. The key does not exist."""

FRESH_SECONDS = 1.0
"""How long the used share is used from memory."""

SHARE = "share"
"""The only key of the cache."""

log = structlog.get_logger()


class RedisMemory:
    """How much of its memory a Redis uses. Every call raises `Unavailable` if Redis does not answer.

    Args:
        redis_client: The Redis.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, redis_client: RedisClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis_client = redis_client
        self._cache: AgeCache[str, float] = AgeCache(clock)

    def read_share(self) -> float:
        """Used memory divided by `maxmemory`; 0 if Redis has no maximum, or does not tell."""
        share = self._cache.get(SHARE, max_age=FRESH_SECONDS)
        if share is None:
            share = self._read()
            self._cache.put(SHARE, share)
        return share

    def _read(self) -> float:
        try:
            with self._redis_client.connection() as redis:
                facts = cast("dict[str, int]", redis.info("memory"))
        except Refused as problem:  # an earlier ACL does not allow INFO
            log.warning("redis.memory_unknown", error=problem.detail)
            return 0.0
        maximum = facts.get("maxmemory", 0)
        used = facts.get("used_memory", 0) - facts.get("mem_not_counted_for_evict", 0)
        return used / maximum if maximum else 0.0
