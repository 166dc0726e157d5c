"""The public keys of an identity provider: cached, refreshed by one thread, and protected from a provider that fails.

Request threads never talk to the provider. One thread does, and at most `MAX_WAITERS` requests wait for it, each for a
limited time. A failure is remembered for some seconds, in which requests that need the provider are refused at once.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog

from api.adapters.oidc_http import EXCHANGE_SECONDS, ProviderFailed
from shared.errors import Unavailable

log = structlog.get_logger()

KeySet = Sequence[dict[str, Any]]

FRESH_SECONDS = 300.0
"""Keys of this age are refreshed in the background."""

USABLE_SECONDS = 3600.0
"""Keys of this age are no longer used: the provider may have withdrawn them."""

UNKNOWN_KEY_SECONDS = 10.0
"""Tokens that name unknown keys cause at most one refresh in this time."""

FAILURE_SECONDS = 10
"""How long a failure of the provider is remembered."""

WAIT_SECONDS = EXCHANGE_SECONDS + 1
"""How long a request waits for a refresh."""

MAX_WAITERS = 8
"""Requests of one process that wait for the provider at the same time; the others are refused at once."""


class ProviderKeys:
    """The current keys of a provider.

    Args:
        load: Reads the keys from the provider. Raises `ProviderFailed`. It is called by one thread at a time.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, load: Callable[[], KeySet], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._waiters = threading.BoundedSemaphore(MAX_WAITERS)
        self._executor: ThreadPoolExecutor | None = None
        self._keys: KeySet | None = None
        self._loaded_at = 0.0
        self._failure: tuple[float, str] | None = None
        self._pending: Future[KeySet] | None = None
        self._pending_since = 0.0

    def current(self) -> KeySet:
        """Returns the keys. Waits for the provider only if there are none yet, or if they are too old.

        Raises:
            Unavailable: The provider does not return its keys.
        """
        with self._lock:
            age = self._clock() - self._loaded_at
            if self._keys is not None and age < USABLE_SECONDS:
                if age >= FRESH_SECONDS and self._recent_failure() is None:
                    self._start()
                return self._keys
            pending = self._start_unless_failed()
        return self._wait(pending)

    def refreshed(self) -> KeySet:
        """Returns keys that are at most `UNKNOWN_KEY_SECONDS` old, for a token that the current keys do not fit.

        Raises:
            Unavailable: The provider does not return its keys.
        """
        with self._lock:
            is_recent = self._clock() - self._loaded_at < UNKNOWN_KEY_SECONDS
            if self._keys is not None and is_recent and self._pending is None:
                return self._keys
            pending = self._start_unless_failed()
        return self._wait(pending)

    def _start_unless_failed(self) -> "Future[KeySet]":
        failure = self._recent_failure()
        if failure is not None:
            raise _unavailable(failure)
        if self._pending is not None and self._clock() - self._pending_since > WAIT_SECONDS:
            raise _unavailable(f"it has not answered for {WAIT_SECONDS:g} s")
        return self._start()

    def _recent_failure(self) -> str | None:
        if self._failure is None or self._clock() - self._failure[0] >= FAILURE_SECONDS:
            return None
        return self._failure[1]

    def _start(self) -> "Future[KeySet]":
        """Starts a refresh unless one is in progress. The caller holds the lock."""
        if self._pending is None:
            if self._executor is None:  # not before a worker process was forked
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="identity-provider")
            self._pending_since = self._clock()
            self._pending = self._executor.submit(self._refresh)
        return self._pending

    def _refresh(self) -> KeySet:
        keys, failure = None, ""
        try:
            keys = self._load()
        except ProviderFailed as error:
            failure = str(error)
        except Exception as error:
            log.exception("provider.failed")
            failure = f"its answer cannot be used ({type(error).__name__})"
        with self._lock:
            self._pending = None
            if keys is not None:
                self._keys, self._loaded_at, self._failure = keys, self._clock(), None
                return keys
            self._failure = (self._clock(), failure)
        log.warning("provider.failed", error=failure)
        raise _unavailable(failure)

    def _wait(self, pending: "Future[KeySet]") -> KeySet:
        if not self._waiters.acquire(blocking=False):
            raise _unavailable(f"{MAX_WAITERS} requests are waiting for it already")
        try:
            return pending.result(timeout=WAIT_SECONDS)
        except TimeoutError as error:
            raise _unavailable(f"it did not answer within {WAIT_SECONDS:g} s") from error
        finally:
            self._waiters.release()


def _unavailable(reason: str) -> Unavailable:
    problem = Unavailable(f"the identity provider does not return its keys: {reason}; try again, or send an API key")
    problem.retry_after = FAILURE_SECONDS
    return problem
