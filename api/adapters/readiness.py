"""Tests whether Redis and the object store can be written and read, for all callers at the same time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Lock

from shared.errors import Problem
from shared.process.guarded_calls import Deadline, GuardedCalls
from shared.state.redis_client import RedisClient
from shared.storage.s3 import Bucket

CHECK_SECONDS = 2.0
FRESH_SECONDS = 1.0
"""How long a result answers further callers."""

MAX_WAITING = 4
"""Callers that wait for a check; further ones get the last result."""


class Readiness:
    """The state of the parts of the service on which the API depends."""

    def __init__(self, redis_client: RedisClient, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis_client, self._bucket, self._clock = redis_client, bucket, clock
        self._redis_calls = GuardedCalls("the queue (Redis)", running=MAX_WAITING, waiting=0)
        self._waiting, self._lock = BoundedSemaphore(MAX_WAITING), Lock()
        self._parts: dict[str, str] = {"redis": "not checked yet", "object store": "not checked yet"}
        self._checked: float | None = None

    def check(self) -> dict[str, str]:
        """Returns `ok`, or the cause of its failure, for each part."""
        if not self._waiting.acquire(blocking=False):
            return self._parts
        try:
            with self._lock:
                if self._checked is None or self._clock() - self._checked > FRESH_SECONDS:
                    self._parts = self._check()
                    self._checked = self._clock()
            return self._parts
        finally:
            self._waiting.release()

    def is_ready(self) -> bool:
        """Returns whether every part can be used."""
        return all(status == "ok" for status in self.check().values())

    def _check(self) -> dict[str, str]:
        with ThreadPoolExecutor(1) as other:
            store = other.submit(_describe, lambda: self._bucket.check(CHECK_SECONDS))
            return {"redis": _describe(self._check_redis), "object store": store.result()}

    def _check_redis(self) -> None:
        self._redis_calls.run(self._redis_client.check, Deadline(CHECK_SECONDS, 1))


def _describe(check: Callable[[], None]) -> str:
    try:
        check()
    except Problem as problem:
        return problem.detail
    return "ok"
