"""The keys there are, as the store has them, looked up now and then."""

import threading
import time
from collections.abc import Callable, Iterator

from shared.access import TOKEN, NewKey, StoredKey, issue
from shared.bucket import Bucket
from shared.jobs import now

FRESH_SECONDS = 5.0
"""For so long a look at the store is good enough: a key that is revoked elsewhere is refused after it."""

MOST_KNOWN = 10_000
"""Keys that are remembered at a time."""


class Keyring:
    """Issues keys, knows and revokes them. Every call raises `Unavailable` when the store does not answer."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, StoredKey]] = {}

    def issue(self, new: NewKey) -> tuple[StoredKey, str]:
        """A new key, and what its owner is to send."""
        key, token = issue(new)
        self._bucket.put_document(_place(key.id), key)
        return key, token

    def find(self, token: str) -> StoredKey | None:
        """The key that this opens with, if it is good."""
        parts = TOKEN.fullmatch(token)
        key = self._look_up(parts[1]) if parts else None
        return key if key is not None and parts and key.fits(parts[2]) and key.good else None

    def revoke(self, identity: str) -> StoredKey | None:
        """Ends a key at once here, and within seconds everywhere; None if there is none."""
        key = self._bucket.get_document(_place(identity), StoredKey)
        if key is not None and key.revoked_at is None:
            key = key.model_copy(update={"revoked_at": now()})
            self._bucket.put_document(_place(identity), key)
        with self._lock:
            self._known.pop(identity, None)
        return key

    def __iter__(self) -> Iterator[StoredKey]:
        for place in self._bucket.keys("access/keys/"):
            key = self._bucket.get_document(place, StoredKey)
            if key is not None:
                yield key

    def _look_up(self, identity: str) -> StoredKey | None:
        with self._lock:
            looked, key = self._known.get(identity, (float("-inf"), None))
        if self._clock() - looked < FRESH_SECONDS:
            return key
        found = self._bucket.get_document(_place(identity), StoredKey)
        with self._lock:
            self._known.pop(identity, None)
            if found is not None:
                if len(self._known) >= MOST_KNOWN:
                    self._known.pop(next(iter(self._known)))
                self._known[identity] = (self._clock(), found)
        return found


def _place(identity: str) -> str:
    return f"access/keys/{identity}.json"
