"""What a tenant uploaded: pictures and archives of them, under their digests, and nobody else's to see."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO

from pydantic import Field

from shared.bucket import Bucket, Missing
from shared.errors import UnknownImage
from shared.jobs import Document
from shared.pictures import ARRAY, Facts


class Image(Document):
    """An uploaded picture."""

    id: str = Field(description="SHA-256 of the file: the same picture has the same id.")
    format: str = Field(examples=["JPEG"])
    width: int = Field(description="Pixels, after EXIF orientation.")
    height: int = Field(description="Pixels, after EXIF orientation.")
    channels: int = Field(default=3, description="3, however it was stored; of a NumPy array, its own.")
    bytes: int

    @property
    def media_type(self) -> str:
        return "application/octet-stream" if self.format == ARRAY else f"image/{self.format.lower()}"


class ArchiveFacts(Document):
    """An uploaded archive of pictures."""

    id: str = Field(description="SHA-256 of the file.")
    pictures: int = Field(description="Files in it that are named like pictures.")
    bytes: int


class Uploads:
    """The pictures and archives of one tenant."""

    def __init__(self, bucket: Bucket, tenant: str) -> None:
        self._bucket = bucket
        self._images = f"images/{tenant}/"
        self._archives = f"archives/{tenant}/"

    def save_image(self, data: bytes, facts: Facts) -> Image:
        """Stores a picture under its digest."""
        digest = hashlib.sha256(data).hexdigest()
        image = Image(id=digest, bytes=len(data), **asdict(facts))
        self._bucket.put(self._images + digest, data, media_type=image.media_type)
        self._bucket.put_document(f"{self._images}{digest}.json", image)
        return image

    def describe_image(self, image_id: str) -> Image | None:
        """A picture's facts, or None if it was never uploaded."""
        return self._bucket.get_document(f"{self._images}{image_id}.json", Image)

    def load_image(self, image_id: str) -> bytes:
        """A picture as it was uploaded. Raises `UnknownImage`."""
        try:
            return self._bucket.get(self._images + image_id)
        except Missing as error:
            raise UnknownImage(f"there is no picture {image_id}; upload it with POST /v1/images") from error

    def stream_image(self, image_id: str) -> Iterator[bytes]:
        """The same in chunks. Raises `Missing`."""
        return self._bucket.stream(self._images + image_id)

    def save_archive(self, file: IO[bytes], facts: ArchiveFacts) -> None:
        """Stores an archive under its digest."""
        self._bucket.put_file(self._archives + facts.id, file, media_type="application/zip")
        self._bucket.put_document(f"{self._archives}{facts.id}.json", facts)

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None:
        """An archive's facts, or None if it was never uploaded."""
        return self._bucket.get_document(f"{self._archives}{archive_id}.json", ArchiveFacts)

    def stream_archive(self, archive_id: str) -> Iterator[bytes]:
        """An archive in chunks. Raises `UnknownImage`."""
        try:
            return self._bucket.stream(self._archives + archive_id)
        except Missing as error:
            raise UnknownImage(f"there is no archive {archive_id}; upload it with POST /v1/archives") from error
