"""Streams stored files to clients. Every route that returns stored bytes uses `stream_file`.

Stored files come from users and from their networks. A browser must never execute one in the origin of the API, so
every response carries the same restrictive headers, whatever the media type.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from flask import Response, request
from werkzeug.http import dump_options_header

from api.dependencies import Services
from archetype.contract.job import Artifact
from shared.errors import NotFound
from shared.storage.s3 import Missing

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Runs no script and loads nothing. A report still shows its inline styles and its `data:` images."""

INLINE = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "application/json"}
    | {"application/sarif+json", "text/plain", "text/markdown"}
)
"""Media types that a browser shows and never executes."""

SANDBOXED = frozenset({"text/html", "image/svg+xml", "application/xml", "text/xml", "application/xhtml+xml"})
"""Media types that can contain scripts. A browser may show them only under `CONTENT_SECURITY_POLICY`."""

UNSAFE = re.compile(r"[^\w.() +@=-]+")
MAX_FILENAME = 150


@dataclass(frozen=True)
class StoredFile:
    """A file in the store.

    Attributes:
        name: The name under which a browser saves the file.
        media_type: The media type.
        size: Number of bytes.
        digest: SHA-256 of the content, which is the ETag.
        open: Opens the file and returns its chunks. Raises `Missing`.
        missing: What the problem says if the file is no longer in the store.
    """

    name: str
    media_type: str
    size: int
    digest: str
    open: Callable[[], Iterator[bytes]]
    missing: str


def stream_file(file: StoredFile) -> Response:
    """Streams a stored file, or returns 304 if the client already has it.

    Raises:
        NotFound: The file is no longer in the store.
    """
    response = Response(mimetype=file.media_type)
    response.headers.update(
        {
            "Content-Length": str(file.size),
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": write_disposition(file.name, file.media_type),
        }
    )
    response.set_etag(file.digest)
    if request.if_none_match.contains(file.digest):
        response.make_conditional(request)
        return response
    try:
        response.response = file.open()
    except Missing as error:
        raise NotFound(file.missing) from error
    return response


def write_disposition(name: str, media_type: str, *, sandbox: bool = True) -> str:
    """Returns the `Content-Disposition` of a file.

    Args:
        name: The name of the file. Characters that are not safe in a file name are replaced.
        media_type: The media type, which decides whether a browser shows the file or saves it.
        sandbox: Whether the response carries `CONTENT_SECURITY_POLICY`. A response of the object store cannot, so a
            file that could contain scripts is saved there, not shown.
    """
    is_shown = media_type in INLINE or (sandbox and media_type in SANDBOXED)
    filename = UNSAFE.sub("_", name)[-MAX_FILENAME:].lstrip(".") or "file"
    names = {"filename": unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()}
    if not filename.isascii():  # RFC 6266: clients prefer `filename*`
        names["filename*"] = f"UTF-8''{quote(filename)}"
    return dump_options_header("inline" if is_shown else "attachment", names)


def stream_artifact(artifact: Artifact, key: str, services: Services) -> Response:
    """Streams an artifact of a job from its key in the bucket. Raises `NotFound`."""
    return stream_file(
        StoredFile(
            name=artifact.name,
            media_type=artifact.media_type,
            size=artifact.bytes,
            digest=artifact.sha256,
            open=lambda: services.storage.bucket.stream(key),
            missing=f"artifact {artifact.name!r} is no longer in the store; run the job again",
        )
    )
