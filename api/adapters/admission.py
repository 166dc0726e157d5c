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
from shared.state.memory import RUNS_IF_FULL
from shared.state.redis_client import RedisClient

HOLD_SECONDS = 60
"""A submission whose process has died is no longer counted after this time."""

TOTAL = """
local name, total = KEYS[1], KEYS[2]

local function remove(member)
  if redis.call('ZREM', name, member) == 1 then redis.call('DECRBY', total, string.match(member, ':(%d+)$')) end
end

"""
"""The targets of all counted submissions are kept as a sum, because a flood of them would make each one dearer."""

HOLD = """
local now, hold, member = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
for _, other in ipairs(redis.call('ZRANGEBYSCORE', name, '-inf', '(' .. now - hold)) do remove(other) end
if redis.call('EXISTS', name) == 0 then redis.call('DEL', total) end
local others = tonumber(redis.call('GET', total) or 0)
redis.call('ZADD', name, now, member)
redis.call('INCRBY', total, string.match(member, ':(%d+)$'))
for _, each in ipairs(KEYS) do redis.call('EXPIRE', each, hold) end
return others
"""

RELEASE = "remove(ARGV[1])"


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
            self._hold = redis.register_script(TOTAL + HOLD)
            self._release = redis.register_script(RUNS_IF_FULL + TOTAL + RELEASE)

    @contextmanager
    def hold(self, tenant: str, targets: int) -> Iterator[int]:
        """Counts a submission for the length of a `with` block.

        Args:
            tenant: The tenant.
            targets: Number of targets of the submission.

        Yields:
            Number of targets of the submissions that are counted already.
        """
        keys = [key(f"submitting:{tenant}"), key(f"submitting:{tenant}:total")]
        member = f"{secrets.token_hex(8)}:{targets}"
        with self._redis_client.connection():
            others = cast("int", self._hold(keys, [int(self._clock()), HOLD_SECONDS, member]))
        try:
            yield others
        finally:
            with suppress(Unavailable), self._redis_client.connection():  # it expires in any case
                self._release(keys, [member])
