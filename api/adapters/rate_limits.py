"""Limits of callers: running, queued and stored work is counted by tenant, submissions per minute by `rate_key`.

The limits are those of the caller's key. Users of an identity provider have no keys: they share the limits of their
tenant (`tenant_limits`), also for submissions.
"""

import time

import limits
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from archetype.contract.problem import FieldError
from shared.errors import LimitReached
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.redis_client import QUICK, read_connection_options, translated
from shared.storage.api_keys import Caller

RETRY_SECONDS = 10
"""`Retry-After` of the limits that depend on when jobs end, which is not known."""


class SubmitRateLimiter:
    """Counts submissions in a moving window of one minute, in Redis, so that all processes share the count."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limiter: MovingWindowRateLimiter | None = None

    def count_submit(self, key_id: str, per_minute: int, jobs: int = 1) -> float:
        """Counts the jobs of a submission, all or none, unless the limit is reached.

        Args:
            key_id: `Caller.rate_key`.
            per_minute: The limit.
            jobs: Number of jobs. More than the limit count as the limit: they take the whole minute.

        Returns:
            0 if the submission was counted, else the seconds until the next one is possible, at least 1.
        """
        limit = limits.RateLimitItemPerMinute(per_minute)
        with translated():
            limiter = self._connect()
            if limiter.hit(limit, "archetype", key_id, cost=min(jobs, per_minute)):
                return 0
            return max(1.0, limiter.get_window_stats(limit, "archetype", key_id).reset_time - time.time())

    def _connect(self) -> MovingWindowRateLimiter:
        """Returns the limiter. It loads its scripts into Redis when it is built, so it is built on first use."""
        if self._limiter is None:
            storage = RedisStorage(self._settings.redis_url, **read_connection_options(self._settings, QUICK))
            self._limiter = MovingWindowRateLimiter(storage)
        return self._limiter


def check_submit(
    caller: Caller, targets: int, job_index: JobIndex, submit_limiter: SubmitRateLimiter, *, jobs: int = 1
) -> None:
    """Raises `LimitReached` if the caller may not submit this many jobs with this many targets now.

    Targets are results: classes times seeds, or pairs of image and class, also for the images of an archive.
    """
    allowed = caller.limits
    usage = job_index.usage(caller.tenant)
    check_limit("running_jobs", usage.running, allowed.running_jobs, added=1)
    check_limit("queued_targets", usage.targets, allowed.queued_targets, added=targets)
    check_limit("stored_bytes", usage.stored, allowed.stored_bytes)
    per_minute = allowed.submits_per_minute
    if per_minute is not None and (seconds := submit_limiter.count_submit(caller.rate_key, per_minute, jobs)):
        raise make_limit_problem("submits_per_minute", per_minute, per_minute, seconds)


def check_upload(caller: Caller, size: int, job_index: JobIndex) -> None:
    """Raises `LimitReached` if the caller's tenant may not store this many more bytes."""
    if caller.limits.stored_bytes is not None:
        check_limit("stored_bytes", job_index.usage(caller.tenant).stored, caller.limits.stored_bytes, added=size)


def check_limit(name: str, used: int, limit: int | None, *, added: int = 0) -> None:
    """Raises `LimitReached` if what is used and what is added together exceed a limit; None is no limit."""
    if limit is not None and used + added > limit:
        raise make_limit_problem(name, used, limit, RETRY_SECONDS)


def make_limit_problem(name: str, used: int, limit: int, seconds: float) -> LimitReached:
    """Returns the problem of a limit that is reached, with the seconds to wait, rounded up."""
    field = FieldError(field=name, detail="the limit of this key", given=used, allowed=limit)
    label = name.replace("_", " ")
    problem = LimitReached(f"this key has reached its limit of {limit} {label} ({used} in use); try again later", field)
    problem.retry_after = int(seconds + 0.999)
    return problem
