"""Manifests that were asked for lately, kept at hand: who polls a job that has ended does not cost the store a call."""

from threading import Lock

from cachetools import LRUCache

from shared.bucket import Missing
from shared.jobs import Manifest
from shared.storage import Storage

MOST_ARTEFACTS = 20_000
"""Of all manifests that are kept; each takes about a kilobyte."""


class Manifests:
    """The manifests of a store. The one of an attempt never changes, so that one that is kept is right."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: LRUCache[tuple[str, int], Manifest] = LRUCache(MOST_ARTEFACTS, getsizeof=_weigh)
        self._lock = Lock()

    def get(self, job_id: str, fence: int) -> Manifest:
        """The manifest that an attempt wrote. Raises `Missing`."""
        with self._lock:
            kept = self._kept.get((job_id, fence))
        if kept is not None:
            return kept
        found = self._storage.load_manifest(job_id, fence)
        if found is None:
            raise Missing(job_id)
        if _weigh(found) <= MOST_ARTEFACTS:
            with self._lock:
                self._kept[job_id, fence] = found
        return found


def _weigh(manifest: Manifest) -> int:
    return 1 + len(manifest.job.artifacts)
