"""Stores uploaded images, archives of images and weights under their digests."""

import hashlib
import re
from functools import partial
from typing import IO

from pydantic import BaseModel, Field

from api.adapters.rate_limits import check_upload
from api.dependencies import Services
from archetype.contract.problem import FieldError
from archetype.contract.upload import ArchiveFacts, Image
from shared.errors import InvalidRequest
from shared.media.archive import describe_archive
from shared.storage import layout
from shared.storage.api_keys import Caller

MAX_NAME = 200
"""Largest number of characters of the name of an uploaded file."""


class StoredWeights(BaseModel):
    """Uploaded weights."""

    id: str = Field(description="SHA-256 of the file.")
    bytes: int


def store_image(file: IO[bytes], caller: Caller, services: Services, *, name: str | None = None) -> Image:
    """Stores an image with the name of its file, and counts its size towards the tenant's limit if it is new.

    Raises:
        UnreadableImage: The file is not an image that can be decoded.
        TooLarge: The image has too many pixels, or needs too much memory or time.
        LimitReached: The tenant's limit of stored bytes is reached, or it has too many images that are decoded.
    """
    max_pixels = services.settings.max_image_pixels
    facts = services.decoder.describe_file(file, max_pixels=max_pixels, tenant=caller.tenant)
    uploads = services.storage.of(caller.tenant)
    file.seek(0)
    existing = uploads.describe_image(hashlib.file_digest(file, "sha256").hexdigest())  # type: ignore[arg-type]
    name = clean_name(name)
    if existing is not None:
        return existing if name is None or name == existing.name else uploads.rename_image(existing, name)
    file.seek(0)
    data = file.read()  # not before: any number of requests may wait for a decoder
    check_upload(caller, len(data), services.job_index)
    services.job_index.add_stored(caller.tenant, len(data))
    return uploads.save_image(data, facts, name)


def clean_name(name: str | None) -> str | None:
    """Returns the name of an uploaded file without folders and unprintable characters; None if nothing is left."""
    last = re.split(r"[/\\]", name or "")[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:MAX_NAME] or None


def store_archive(file: IO[bytes], caller: Caller, services: Services) -> ArchiveFacts:
    """Stores a ZIP archive, and counts its size towards the tenant's limit if it is new.

    Raises:
        Problem: The file is not a ZIP archive that can be used.
        LimitReached: The tenant's limit of stored bytes is reached.
    """
    facts = describe_archive(file, partial(services.decoder.count_images, tenant=caller.tenant))
    uploads = services.storage.of(caller.tenant)
    if uploads.describe_archive(facts.id) is None:
        check_upload(caller, facts.bytes, services.job_index)
        services.job_index.add_stored(caller.tenant, facts.bytes)
        uploads.save_archive(file, facts)
    return facts


def store_weights(file: IO[bytes], caller: Caller, services: Services) -> StoredWeights:
    """Stores a file of weights, unread: workers read it. Its size counts towards the tenant's limit.

    It is stored even if another tenant has the same file, so that the time it takes tells nothing about that.

    Raises:
        InvalidRequest: The file is empty.
        LimitReached: The tenant's limit of stored bytes is reached.
    """
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.tell()
    if not size:
        field = FieldError(field="file", detail="empty", given="0 bytes")
        raise InvalidRequest("the file is empty; send a file of weights", field)
    file.seek(0)
    tenant = None if caller.root else caller.tenant
    if tenant is not None and not services.storage.has(layout.uploaded_weights(digest, tenant)):
        check_upload(caller, size, services.job_index)
        services.job_index.add_stored(tenant, size)
    services.storage.save_weights(file, digest, tenant)
    return StoredWeights(id=digest, bytes=size)
