"""Uploaded images and archives of a tenant in the store."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import IO, TYPE_CHECKING

from archetype.contract.upload import ArchiveFacts, Image
from shared.errors import UnknownImage
from shared.storage import layout
from shared.storage.ranged_file import open_ranged
from shared.storage.s3 import Bucket, Missing

if TYPE_CHECKING:  # NumPy and Pillow, which a process that only reads jobs does not need
    from shared.media.image import ImageFacts


class Uploads:
    """The images and archives that one tenant uploaded."""

    def __init__(self, bucket: Bucket, tenant: str) -> None:
        self._bucket = bucket
        self._images = layout.images(tenant)
        self._archives = layout.archives(tenant)

    def save_image(self, data: bytes, facts: "ImageFacts", name: str | None = None) -> Image:
        """Stores an image under its SHA-256 digest, with the name of its file."""
        digest = hashlib.sha256(data).hexdigest()
        image = Image(id=digest, bytes=len(data), name=name, **asdict(facts))
        self._bucket.put(self._images + digest, data, media_type=image.media_type)
        self._bucket.put_document(f"{self._images}{digest}.json", image)
        return image

    def rename_image(self, image: Image, name: str) -> Image:
        """Stores another name of the file of an image."""
        renamed = image.model_copy(update={"name": name})
        self._bucket.put_document(f"{self._images}{image.id}.json", renamed)
        return renamed

    def describe_image(self, image_id: str) -> Image | None:
        """Format and size of an image, or None if it was not uploaded."""
        return self._bucket.get_document(f"{self._images}{image_id}.json", Image)

    def load_image(self, image_id: str) -> bytes:
        """The file of an image as it was uploaded. Raises `UnknownImage`."""
        try:
            return self._bucket.get(self._images + image_id)
        except Missing as error:
            raise UnknownImage(f"there is no image {image_id}; upload it with POST /v1/images") from error

    def stream_image(self, image_id: str) -> Iterator[bytes]:
        """The file of an image in chunks. Raises `Missing`."""
        return self._bucket.stream(self._images + image_id)

    def save_archive(self, file: IO[bytes], facts: ArchiveFacts) -> None:
        """Stores an archive under its SHA-256 digest, which `facts` contains."""
        self._bucket.put_file(self._archives + facts.id, file, media_type="application/zip")
        self._bucket.put_document(f"{self._archives}{facts.id}.json", facts)

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None:
        """Size and number of images of an archive, or None if it was not uploaded."""
        return self._bucket.get_document(f"{self._archives}{archive_id}.json", ArchiveFacts)

    def open_archive(self, archive_id: str, check_interrupted: Callable[[], None]) -> IO[bytes]:
        """Opens an archive, whose parts are read from the store when they are needed. Raises `UnknownImage`.

        Args:
            archive_id: The archive.
            check_interrupted: Called before each part; may raise an exception to stop.
        """
        facts = self.describe_archive(archive_id)
        if facts is None:
            raise _explain_archive(archive_id)

        def read_range(start: int, stop: int) -> bytes:
            check_interrupted()
            try:
                return self._bucket.get_range(self._archives + archive_id, start, stop)
            except Missing as error:
                raise _explain_archive(archive_id) from error

        return open_ranged(read_range, facts.bytes)


def _explain_archive(archive_id: str) -> UnknownImage:
    return UnknownImage(f"there is no archive {archive_id}; upload it with POST /v1/archives")
