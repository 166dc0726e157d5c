"""Registered and accepted releases, read from the store and kept in memory for a short time."""

import math
import threading
import time
from collections.abc import Callable, Sequence

from shared.age_cache import AgeCache
from shared.catalogue.registrations import RegistrationCache
from shared.catalogue.release import Release
from shared.errors import Unavailable
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore

FRESH_SECONDS = 2.0
"""How long the list is used from memory: a newer release of a known name appears after this time."""

FRESH_SECONDS_IF_UNKNOWN = 0.2
"""The same if the caller asks for a name that is not in the list: another process may have just accepted it."""

ALL = "all"
"""The only key of the cache."""


class RegisteredReleases:
    """The registered releases, oldest first.

    Args:
        storage: Store that contains the registrations.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, storage: JobStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._registrations = RegistrationCache(storage)
        self._lock, self._clock = threading.Lock(), clock
        self._failed_at, self._failure = -math.inf, ""
        self._cache: AgeCache[str, list[Registration]] = AgeCache(clock)

    def __call__(self, *, fresh: bool = False) -> Sequence[Release]:
        """All accepted releases. Arguments as for `registrations`."""
        return [each.entry for each in self.registrations(fresh=fresh) if each.state is RegistrationState.ACCEPTED]

    def registrations(self, *, fresh: bool = False) -> Sequence[Registration]:
        """All registrations, whatever the result of their checks.

        Args:
            fresh: Read the store again, unless this was done within `FRESH_SECONDS_IF_UNKNOWN`. Set it if a release
                is not in the list.
        """
        began = self._clock()
        with self._lock:
            registrations = self._cache.get(ALL, max_age=FRESH_SECONDS_IF_UNKNOWN if fresh else FRESH_SECONDS)
            if registrations is None:
                if self._failed_at >= began:  # another thread has tried while this one waited
                    raise Unavailable(self._failure)
                registrations = self._read_store()
                self._cache.put(ALL, registrations)
        return registrations

    def _read_store(self) -> list[Registration]:
        try:
            return self._registrations.read()
        except Unavailable as problem:
            self._failed_at, self._failure = self._clock(), problem.detail
            raise

    def invalidate(self) -> None:
        """Makes the next call read the store."""
        with self._lock:
            self._cache.discard(ALL)
