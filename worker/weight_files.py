"""The file that a release's weights are in, wherever it lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shared.bucket import Bucket, Missing
from shared.catalogue import Release
from shared.errors import UnloadableModel
from worker.downloads import Cache, Report, Source, hash_file, ignore
from worker.published import find_published


@dataclass(frozen=True)
class WeightFiles:
    """Finds the files of weights, and fetches those that lie elsewhere.

    Attributes:
        cache: Where fetched ones are kept; None: nothing is fetched.
        bucket: Where uploaded ones lie.
    """

    cache: Cache | None = None
    bucket: Bucket | None = None

    def find(self, release: Release, report: Report = ignore) -> tuple[Path, str] | None:
        """A release's file and its SHA-256; None where it needs none.

        Raises:
            UnloadableModel: The file is not there, cannot be fetched, or is not the one that the catalogue means.
        """
        source = self._find_source(release)
        if source is not None:
            fetched = self._need_cache(release).fetch(source, report)
            return fetched, self._check(release, fetched.name)  # the cache calls files by their digests
        path = _find_file(release)
        if path is None:
            return None
        try:
            return path, self._check(release, hash_file(path))
        except OSError as error:
            raise UnloadableModel(
                f"model {release.reference}: the weights {path.name} cannot be read ({error.strerror}); "
                "check the catalogue"
            ) from error

    def is_here(self, release: Release) -> bool:
        """Whether a release can be loaded without fetching anything."""
        source = self._find_source(release)
        return source is None or (self.cache is not None and self.cache.find(source) is not None)

    def _find_source(self, release: Release) -> Source | None:
        """Where the weights are to be fetched from, if they are."""
        if release.published:
            return find_published(release)
        if release.key is None:
            return None
        # What lies under a key may change: without a digest it is fetched each time.
        return Source(f"{release.key} of the store", partial(self._open_key, release), digest=release.sha256 or "")

    def _need_cache(self, release: Release) -> Cache:
        if self.cache is None:
            raise UnloadableModel(
                f"model {release.reference}: its weights lie elsewhere, and there is no cache for them"
            )
        return self.cache

    def _check(self, release: Release, digest: str) -> str:
        if release.sha256 not in (None, digest):
            detail = f"the weights have the digest {digest}, the catalogue says {release.sha256}"
            raise UnloadableModel(f"model {release.reference}: {detail}")
        return digest

    def _open_key(self, release: Release) -> Iterator[tuple[bytes, int]]:
        if self.bucket is None or release.key is None:
            raise UnloadableModel(f"model {release.reference}: its weights lie in the store, and there is none here")
        try:
            yield from ((chunk, 0) for chunk in self.bucket.stream(release.key, 1 << 20))
        except Missing as error:
            raise UnloadableModel(
                f"model {release.reference}: there is nothing at {release.key} in the store; upload the weights again"
            ) from error


def _find_file(release: Release) -> Path | None:
    """The file of a release whose weights lie on this machine; what is built in has some of its own."""
    if release.architecture.startswith("builtin:") and release.weights is None:
        return Path(__file__).parent / release.architecture.partition(":")[2] / "weights.safetensors"
    return release.weights
