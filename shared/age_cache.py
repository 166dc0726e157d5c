"""A cache in the memory of one process whose reader says how old a value may be."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_ENTRIES = 10_000


class AgeCache(Generic[K, V]):
    """Maps keys to values with the time at which each value was stored. It is safe to use from several threads.

    Args:
        clock: A monotonic clock, in seconds.
        max_entries: When the cache is full, the value that was stored first is dropped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._entries: dict[K, tuple[float, V]] = {}

    def get(self, key: K, *, max_age: float) -> V | None:
        """The value of a key if it was stored less than `max_age` seconds ago; otherwise None."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or self._clock() - entry[0] >= max_age:
            return None
        return entry[1]

    def put(self, key: K, value: V) -> None:
        """Stores a value; its age is counted from now."""
        with self._lock:
            self._entries.pop(key, None)
            if len(self._entries) >= self._max_entries:
                self._entries.pop(next(iter(self._entries)))
            self._entries[key] = (self._clock(), value)

    def discard(self, key: K) -> None:
        """Removes the value of a key, if there is one."""
        with self._lock:
            self._entries.pop(key, None)
