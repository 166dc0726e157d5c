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
        path = self._find(release, report)
        if path is None:
            return None
        try:
            digest = hash_file(path)
        except OSError as error:
            raise UnloadableModel(
                f"model {release.reference}: the weights {path.name} cannot be read ({error.strerror}); "
                "check the catalogue"
            ) from error
        if release.sha256 not in (None, digest):
            detail = f"the weights have the digest {digest}, the catalogue says {release.sha256}"
            raise UnloadableModel(f"model {release.reference}: {detail}")
        return path, digest

    def _find(self, release: Release, report: Report) -> Path | None:
        if release.architecture.startswith("builtin:"):
            return Path(__file__).parent / release.architecture.partition(":")[2] / "weights.safetensors"
        if release.published:
            return self._fetch(find_published(release), release, report)
        if release.key is not None:
            name = f"{release.key} of the store"
            opened = partial(self._open_key, release)
            return self._fetch(Source(name, f"s3:{release.key}", opened, release.sha256 or ""), release, report)
        return release.weights

    def _fetch(self, source: Source, release: Release, report: Report) -> Path:
        if self.cache is None:
            raise UnloadableModel(
                f"model {release.reference}: its weights lie elsewhere, and there is no cache for them"
            )
        return self.cache.fetch(source, report)

    def _open_key(self, release: Release) -> Iterator[tuple[bytes, int]]:
        assert self.bucket is not None and release.key is not None  # noqa: S101, PT018
        try:
            yield from ((chunk, 0) for chunk in self.bucket.stream(release.key, 1 << 20))
        except Missing as error:
            raise UnloadableModel(
                f"model {release.reference}: there is nothing at {release.key} in the store; upload the weights again"
            ) from error
