"""Admits submissions one after the other as far as limits are concerned, so that concurrent ones cannot exceed them.

A submission is counted while it is being accepted: after its check, and before its job is in the tenant's usage. One
Lua script counts it and returns what was counted before, so that of two submissions at least one knows the other.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from shared.errors import Unavailable
from shared.state.keys import key
from shared.state.redis_client import RedisClient

HOLD_SECONDS = 60
"""A submission whose process has died is no longer counted after this time."""

SCRIPT = """
local name, now, hold, member = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local others = 0
for _, other in ipairs(redis.call('ZRANGE', name, 0, -1)) do
  if tonumber(redis.call('ZSCORE', name, other)) < now - hold then redis.call('ZREM', name, other)
  else others = others + tonumber(string.match(other, ':(%d+)$')) end
end
redis.call('ZADD', name, now, member)
redis.call('EXPIRE', name, hold)
return others
"""


class Admission:
    """Targets of the submissions that are being accepted. Every call raises `Unavailable` if Redis does not answer.

    Args:
        redis_client: The Redis that all processes share.
        clock: The time in Unix seconds.
    """

    def __init__(self, redis_client: RedisClient, clock: Callable[[], float] = time.time) -> None:
        self._redis_client = redis_client
        self._clock = clock
        with redis_client.connection() as redis:
            self._script = redis.register_script(SCRIPT)

    @contextmanager
    def hold(self, tenant: str, targets: int) -> Iterator[int]:
        """Counts a submission for the length of a `with` block.

        Args:
            tenant: The tenant.
            targets: Number of targets of the submission.

        Yields:
            Number of targets of the submissions that are counted already.
        """
        name, member = key(f"submitting:{tenant}"), f"{secrets.token_hex(8)}:{targets}"
        with self._redis_client.connection():
            others = cast("int", self._script([name], [int(self._clock()), HOLD_SECONDS, member]))
        try:
            yield others
        finally:
            with suppress(Unavailable), self._redis_client.connection() as redis:  # it expires in any case
                redis.zrem(name, member)
