"""Streams all artifacts of a job as a ZIP archive."""

from collections.abc import Iterable, Iterator

from flask import Response

from api.dependencies import Services
from api.http.files import CONTENT_SECURITY_POLICY, write_disposition
from api.services.results.name_files import find_image_names, name_file
from api.services.results.zip_job import write_zip
from archetype.contract.job import Artifact
from shared.errors import NotFound
from shared.storage.documents import Manifest
from shared.storage.s3 import Missing

ZIP = "application/zip"


def stream_archive(manifest: Manifest, services: Services) -> Response:
    """Streams the artifacts of a job. If the store fails meanwhile, the connection breaks, and the archive has no end.

    Raises:
        NotFound: The job has no artifacts.
        Unavailable: The store does not answer.
    """
    job = manifest.job
    if not job.artifacts:
        raise NotFound(f"job {job.id} is {job.state} and has no files")
    names = find_image_names(job, (artifact.image for artifact in job.artifacts if artifact.image), services)
    chunks = write_zip(_open_files(manifest, names, services))
    first = next(chunks)  # a store that does not answer is a problem document, not a broken archive
    response = Response(_continue(first, chunks), mimetype=ZIP)
    response.headers.update(
        {
            "Cache-Control": "private, no-store",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": write_disposition(f"{job.method}-{job.id[-8:]}.zip", ZIP),
        }
    )
    return response


def _open_files(
    manifest: Manifest, names: dict[str, str], services: Services
) -> Iterator[tuple[str, Artifact, Iterable[bytes]]]:
    """Opens one file after another, under names that are unique in the archive."""
    used: set[str] = set()
    for artifact in manifest.job.artifacts:
        name = name_file(artifact, names, used)
        used.add(name)
        try:
            yield name, artifact, services.storage.bucket.stream(manifest.keys[artifact.name])
        except Missing as error:
            raise NotFound(f"artifact {artifact.name!r} is no longer in the store; run the job again") from error


def _continue(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from chunks
