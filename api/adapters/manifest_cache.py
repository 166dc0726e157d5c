"""Caches manifests in memory, so that polling a job that has ended does not read the object store every time."""

from threading import Lock

from cachetools import LRUCache

from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Missing

MAX_ARTIFACTS = 20_000
"""Artifacts of all cached manifests together; each takes about one kilobyte."""


class ManifestCache:
    """The manifests that were read last. The manifest of an attempt never changes, so an entry never becomes stale."""

    def __init__(self, storage: JobStore) -> None:
        self._storage = storage
        self._manifests: LRUCache[tuple[str, int], Manifest] = LRUCache(MAX_ARTIFACTS, getsizeof=_count_entries)
        self._lock = Lock()

    def get(self, job_id: str, fence: int) -> Manifest:
        """Returns the manifest that the attempt with this fence wrote. Raises `Missing`."""
        with self._lock:
            cached = self._manifests.get((job_id, fence))
        if cached is not None:
            return cached
        manifest = self._storage.load_manifest(job_id, fence)
        if manifest is None:
            raise Missing(job_id)
        if _count_entries(manifest) <= MAX_ARTIFACTS:
            with self._lock:
                self._manifests[job_id, fence] = manifest
        return manifest


def _count_entries(manifest: Manifest) -> int:
    return 1 + len(manifest.job.artifacts)
