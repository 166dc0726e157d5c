"""Where everything lies in the bucket: S3 is the truth, and this is its map.

jobs/{id}/request.json              before the job is enqueued
jobs/{id}/attempts/{fence}/{name}   artefacts, by attempt
jobs/{id}/manifest.json             last: while it is not there, the job has not ended
images/{sha256}                     a picture as it was uploaded
images/{sha256}.json                its size and format
archives/{sha256}                   a ZIP archive of pictures as it was uploaded
archives/{sha256}.json              how many are in it
models/{name}/{release}.json        what a worker saw when it loaded the release
weights/{sha256}                    weights as they were uploaded
releases/{name}/{release}.json      a release that was registered, and what became of it
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import IO, TypeVar

from pydantic import BaseModel, Field

from shared.bucket import Bucket, Missing, Taken
from shared.errors import UnknownImage
from shared.jobs import Document, Manifest
from shared.methods import AnyRequest
from shared.pictures import ARRAY, Facts, is_named_like_picture
from shared.registration import Registration

D = TypeVar("D", bound=BaseModel)
JSON = "application/json"


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


class Layer(Document):
    """A named part of a network."""

    name: str
    kind: str = Field(examples=["Conv2d"])
    shape: list[int] | None = Field(default=None, description="Of its output for one picture, without the batch.")
    channels: int | None = Field(default=None, description="Of its output; null where it gives no row per picture.")
    filters: int | None = Field(default=None, description="Of a convolution: how many it has.")


class Description(Document):
    """What a worker saw when it loaded a release."""

    sha256: str = Field(description="Digest of the weights.")
    parameters: int
    layers: list[Layer]


class Storage:
    """Requests, artefacts, manifests, pictures and descriptions, in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def save_request(self, job_id: str, request: AnyRequest) -> None:
        self._save(f"jobs/{job_id}/request.json", request)

    def load_request_json(self, job_id: str) -> bytes:
        """The request as it was stored, not yet checked. Raises `Missing`."""
        return self.bucket.get(f"jobs/{job_id}/request.json")

    def attempt_prefix(self, job_id: str, fence: int) -> str:
        return f"jobs/{job_id}/attempts/{fence}/"

    def save_artifact(self, prefix: str, name: str, data: bytes, *, media_type: str) -> None:
        self.bucket.put(prefix + name, data, media_type=media_type)

    def save_manifest(self, manifest: Manifest) -> Manifest:
        """Stores the manifest unless there is one; returns the one that counts."""
        key = f"jobs/{manifest.job.id}/manifest.json"
        earlier = self.load_manifest(manifest.job.id)
        if earlier is not None:
            return earlier
        with suppress(Taken):
            self.bucket.put(key, manifest.model_dump_json().encode(), media_type=JSON, once=True)
        return self.load_manifest(manifest.job.id) or manifest

    def load_manifest(self, job_id: str) -> Manifest | None:
        """The manifest, or None while the job has not ended."""
        return self._load(f"jobs/{job_id}/manifest.json", Manifest)

    def delete_job(self, job_id: str) -> None:
        """Removes all of a job: the manifest last, so that what was interrupted can be asked for again."""
        manifest = f"jobs/{job_id}/manifest.json"
        for key in list(self.bucket.keys(f"jobs/{job_id}/")):
            if key != manifest:
                self.bucket.delete(key)
        self.bucket.delete(manifest)

    def save_image(self, data: bytes, facts: Facts) -> Image:
        """Stores a picture under its digest."""
        digest = hashlib.sha256(data).hexdigest()
        image = Image(id=digest, bytes=len(data), **asdict(facts))
        self.bucket.put(f"images/{digest}", data, media_type=image.media_type)
        self._save(f"images/{digest}.json", image)
        return image

    def describe_image(self, image_id: str) -> Image | None:
        """A picture's facts, or None if it was never uploaded."""
        return self._load(f"images/{image_id}.json", Image)

    def load_image(self, image_id: str) -> bytes:
        """A picture as it was uploaded. Raises `UnknownImage`."""
        try:
            return self.bucket.get(f"images/{image_id}")
        except Missing as error:
            raise UnknownImage(f"there is no picture {image_id}; upload it with POST /v1/images") from error

    def stream_image(self, image_id: str) -> Iterator[bytes]:
        return self.bucket.stream(f"images/{image_id}")

    def save_archive(self, file: IO[bytes], facts: ArchiveFacts) -> None:
        """Stores an archive under its digest."""
        self.bucket.put_file(f"archives/{facts.id}", file, media_type="application/zip")
        self._save(f"archives/{facts.id}.json", facts)

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None:
        """An archive's facts, or None if it was never uploaded."""
        return self._load(f"archives/{archive_id}.json", ArchiveFacts)

    def stream_archive(self, archive_id: str) -> Iterator[bytes]:
        """An archive in chunks. Raises `UnknownImage`."""
        try:
            return self.bucket.stream(f"archives/{archive_id}")
        except Missing as error:
            raise UnknownImage(f"there is no archive {archive_id}; upload it with POST /v1/archives") from error

    def list_pictures(self, prefix: str) -> Iterator[str]:
        """The keys of a place in the store that are named like pictures."""
        return (key for key in self.bucket.keys(prefix) if is_named_like_picture(key))

    def load_picture(self, key: str) -> bytes:
        """A picture of a place in the store. Raises `UnknownImage`."""
        try:
            return self.bucket.get(key)
        except Missing as error:
            raise UnknownImage(f"there is no picture {key} in the store any more") from error

    def save_weights(self, file: IO[bytes], digest: str) -> None:
        """Stores weights under their digest."""
        self.bucket.put_file(f"weights/{digest}", file, media_type="application/octet-stream")

    def has(self, key: str) -> bool:
        """Whether there is an object under exactly this key."""
        return key in self.bucket.keys(key)

    def save_registration(self, registration: Registration) -> None:
        entry = registration.entry
        self._save(f"releases/{entry.name}/{entry.release}.json", registration)

    def load_registration(self, name: str, release: str) -> Registration | None:
        return self._load(f"releases/{name}/{release}.json", Registration)

    def list_registrations(self) -> Iterator[tuple[str, str]]:
        """Name and release of everything that was ever registered."""
        for key in self.bucket.keys("releases/"):
            _, name, file = key.split("/", 2)
            yield name, file.removesuffix(".json")

    def save_description(self, name: str, release: str, description: Description) -> None:
        self._save(f"models/{name}/{release}.json", description)

    def load_description(self, name: str, release: str) -> Description | None:
        """What the first worker that loaded the release saw, or None if none has."""
        return self._load(f"models/{name}/{release}.json", Description)

    def _save(self, key: str, document: BaseModel) -> None:
        self.bucket.put(key, document.model_dump_json().encode(), media_type=JSON)

    def _load(self, key: str, kind: type[D]) -> D | None:
        try:
            return kind.model_validate_json(self.bucket.get(key))
        except Missing:
            return None
