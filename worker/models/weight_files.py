"""Finds the weights file of a release: on this machine, in the store, or published by its library."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shared.catalogue.release import Release
from shared.storage.s3 import Bucket, Missing
from worker.models.architectures import unloadable
from worker.models.download_cache import CHUNK_BYTES, DownloadCache, Report, Source, hash_file, ignore
from worker.models.published_weights import find_published


@dataclass(frozen=True)
class WeightFiles:
    """Finds weights files, and downloads those that are not on this machine.

    Attributes:
        cache: Stores downloaded files; None if nothing may be downloaded.
        bucket: Contains uploaded weights; None if there is no store.
    """

    cache: DownloadCache | None = None
    bucket: Bucket | None = None

    def find(self, release: Release, report: Report = ignore) -> tuple[Path, str] | None:
        """Returns the weights file of a release and its SHA-256; None if the release needs no file.

        Raises:
            UnloadableModel: The file is missing, cannot be downloaded, or has another digest than the catalogue entry.
        """
        source = self._find_source(release)
        if source is not None:
            downloaded = self._require_cache(release).fetch(source, report)
            return downloaded, self._check_digest(release, downloaded.name)  # the cache names files by their digests
        path = _find_local_file(release)
        if path is None:
            return None
        try:
            return path, self._check_digest(release, hash_file(path))
        except OSError as error:
            raise unloadable(
                release, f"the weights {path.name} cannot be read ({error.strerror}); check the catalogue"
            ) from error

    def is_local(self, release: Release) -> bool:
        """Returns whether a release can be loaded without a download."""
        source = self._find_source(release)
        return source is None or (self.cache is not None and self.cache.find(source) is not None)

    def _find_source(self, release: Release) -> Source | None:
        """Returns where to download the weights from; None if no download is needed."""
        if release.published:
            return find_published(release)
        if release.key is None:
            return None
        # The object under a key may change. Without its digest it is downloaded each time; and another object with
        # this digest is not used for it.
        return Source(f"{release.key} of the store", partial(self._open_key, release), digest=release.sha256 or "")

    def _require_cache(self, release: Release) -> DownloadCache:
        if self.cache is None:
            raise unloadable(release, "its weights must be downloaded, and there is no cache for them")
        return self.cache

    def _check_digest(self, release: Release, digest: str) -> str:
        if release.sha256 not in (None, digest):
            raise unloadable(release, f"the weights have the digest {digest}, the catalogue says {release.sha256}")
        return digest

    def _open_key(self, release: Release) -> Iterator[tuple[bytes, int]]:
        if self.bucket is None or release.key is None:
            raise unloadable(release, "its weights are in the store, and this process has no store")
        try:
            yield from ((chunk, 0) for chunk in self.bucket.stream(release.key, CHUNK_BYTES))
        except Missing as error:
            raise unloadable(
                release, f"there is nothing at {release.key} in the store; upload the weights again"
            ) from error


def _find_local_file(release: Release) -> Path | None:
    """Returns the weights file on this machine; a built-in network has a file in its package."""
    if release.architecture.startswith("builtin:") and release.weights is None:
        return Path(__file__).parents[1] / release.architecture.partition(":")[2] / "weights.safetensors"
    return release.weights
