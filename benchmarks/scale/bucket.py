"""A bucket in memory that counts calls, and lets the time of each pass on the simulated clock."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

from benchmarks.scale.clock import SimulatedClock
from shared.storage import layout
from shared.storage.deletion import BATCH
from shared.storage.s3 import Bucket, Missing, Stored

SECONDS = {"PUT": 0.025, "GET": 0.015, "LIST": 0.025, "DELETE": 0.015}
"""Time of a call to an S3 store in the same region; assumed, near the median of small objects of AWS S3."""

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
OPEN = layout.OPEN_JOBS
ARTIFACTS = "/attempts/"
"""Part of the keys of artifacts, which are counted and not kept, because no worker reads them."""


class SimulatedBucket(Bucket):
    """The objects of the service, without those that are not read again.

    Attributes:
        calls: Number of calls since the last `reset`, by kind.
        artifacts: Number of artifacts among the calls.
    """

    def __init__(self, clock: SimulatedClock) -> None:  # no store to connect to
        self._clock = clock
        self._folders: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self.calls: Counter[str] = Counter()
        self.artifacts = 0

    def reset(self) -> None:
        """Forgets what was counted."""
        self.calls.clear()
        self.artifacts = 0

    def put(self, key: str, data: bytes, *, media_type: str) -> None:  # noqa: ARG002
        """Stores an object."""
        self._count("PUT")
        if ARTIFACTS in key:
            self.artifacts += 1
        else:
            self._folders[_name_folder(key)][key] = data

    def get(self, key: str) -> bytes:
        """The whole object. Raises `Missing`."""
        self._count("GET")
        try:
            return self._folders.get(_name_folder(key), {})[key]
        except KeyError as error:
            raise Missing(key) from error

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """All objects whose keys begin with `prefix` and follow `after`, in lexicographic order of their keys."""
        is_whole = prefix == layout.JOBS
        folders = self._folders.values() if is_whole else [self._folders.get(_name_folder(prefix), {})]
        keys = sorted(key for key in chain.from_iterable(folders) if key.startswith(prefix) and key > after)
        for start in range(0, max(1, len(keys)), BATCH):
            self._count("LIST")
            yield from (Stored(key, 0, MODIFIED) for key in keys[start : start + BATCH])

    def delete(self, key: str) -> None:
        """Removes an object. A job that is no longer open has ended, and its objects are not read again."""
        self._count("DELETE")
        self._forget(key)
        if key.startswith(OPEN):
            self._folders.pop(layout.job_folder(key.removeprefix(OPEN)).removesuffix("/"), None)

    def delete_all(self, keys: Sequence[str]) -> None:
        """Removes objects, a thousand with each call."""
        for _ in range(0, len(keys), BATCH):
            self._count("DELETE")
        for key in keys:
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._folders.get(_name_folder(key), {}).pop(key, None)

    def _count(self, kind: str) -> None:
        self.calls[kind] += 1
        self._clock.sleep(SECONDS[kind])


def _name_folder(key: str) -> str:
    """The first two parts of a key: `jobs/{id}`; for others their first part."""
    first, _, rest = key.partition("/")
    return f"{first}/{rest.partition('/')[0]}" if first == "jobs" else first
