"""How much a caller may ask for: counted by key for what is submitted, by tenant for what runs, waits and is stored."""

import time
from typing import Any, cast

import limits
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import RedisError

from shared.access import Caller
from shared.errors import FieldError, LimitReached, Unavailable
from shared.records import Records
from shared.settings import Settings

SOON_SECONDS = 10
"""When to ask again where nobody knows when there will be room."""


class Pace:
    """How often something was done in the last minute, in Redis, so that all processes count together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limiter: MovingWindowRateLimiter | None = None

    def take(self, who: str, per_minute: int) -> float:
        """Counts one; or, if that is one too many, does not, and returns in how many seconds there is room again."""
        limit = limits.RateLimitItemPerMinute(per_minute)
        try:
            if self._limiter is None:
                storage = RedisStorage(
                    self._settings.redis_url,
                    **cast("Any", self._settings.redis_tls),
                    socket_timeout=5,
                    socket_connect_timeout=3,
                )
                self._limiter = MovingWindowRateLimiter(storage)
            if self._limiter.hit(limit, "archetype", who):
                return 0
            return max(1.0, self._limiter.get_window_stats(limit, "archetype", who).reset_time - time.time())
        except RedisError as error:
            raise Unavailable("the queue (Redis) does not answer; try again in a moment") from error


def check_submit(caller: Caller, targets: int, records: Records, pace: Pace) -> None:
    """Raises `LimitReached` where this caller may not submit so many targets now."""
    most = caller.limits
    usage = records.usage(caller.tenant)
    _check("running_jobs", usage.running, most.running_jobs, more=1)
    _check("queued_targets", usage.targets, most.queued_targets, more=targets)
    _check("stored_bytes", usage.stored, most.stored_bytes)
    if most.submits_per_minute is not None and (seconds := pace.take(caller.key or "", most.submits_per_minute)):
        raise _reached("submits_per_minute", most.submits_per_minute, most.submits_per_minute, seconds)


def check_upload(caller: Caller, size: int, records: Records) -> None:
    """Raises `LimitReached` where a file of so many bytes is more than this tenant may store."""
    if caller.limits.stored_bytes is not None:
        _check("stored_bytes", records.usage(caller.tenant).stored, caller.limits.stored_bytes, more=size)


def _check(name: str, used: int, most: int | None, *, more: int = 0) -> None:
    if most is not None and used + more > most:
        raise _reached(name, used, most, SOON_SECONDS)


def _reached(name: str, used: int, most: int, seconds: float) -> LimitReached:
    field = FieldError(field=name, detail="the limit of this key", given=used, allowed=most)
    problem = LimitReached(f"this key may have {most} {name.replace('_', ' ')}, and {used} are there; try again", field)
    problem.retry_after = int(seconds + 0.999)
    return problem
