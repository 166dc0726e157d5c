"""Uploaded images and archives, on a real S3 server."""

import io

import pytest

from archetype.contract.upload import ArchiveFacts
from shared.errors import UnknownImage
from shared.media.image import ImageFacts
from shared.storage.job_store import JobStore


def test_an_image_is_stored_under_its_digest(storage: JobStore) -> None:
    uploads = storage.of("default")
    image = uploads.save_image(b"not really", ImageFacts("PNG", 4, 5))
    assert image == uploads.describe_image(image.id) == uploads.save_image(b"not really", ImageFacts("PNG", 4, 5))
    assert uploads.load_image(image.id) == b"".join(uploads.stream_image(image.id)) == b"not really"


def test_an_image_that_was_not_uploaded_is_unknown(storage: JobStore) -> None:
    uploads = storage.of("default")
    assert uploads.describe_image("0" * 64) is None
    with pytest.raises(UnknownImage, match="POST /v1/images"):
        uploads.load_image("0" * 64)


def test_an_archive_is_stored_under_its_digest_and_an_unknown_one_is_refused(storage: JobStore) -> None:
    uploads = storage.of("default")
    facts = ArchiveFacts(id="a" * 64, pictures=1, bytes=3)
    uploads.save_archive(io.BytesIO(b"zip"), facts)
    assert uploads.describe_archive(facts.id) == facts
    checks: list[None] = []
    with uploads.open_archive(facts.id, lambda: checks.append(None)) as file:
        assert (file.read(2), file.seek(0), file.read(), file.read()) == (b"zi", 0, b"zip", b"")
    assert checks
    assert uploads.describe_archive("b" * 64) is None
    with pytest.raises(UnknownImage, match="POST /v1/archives"):
        uploads.open_archive("b" * 64, lambda: None)


def test_an_archive_that_is_deleted_while_it_is_read_is_unknown(storage: JobStore) -> None:
    uploads = storage.of("default")
    uploads.save_archive(io.BytesIO(b"zip"), ArchiveFacts(id="c" * 64, pictures=1, bytes=3))
    with uploads.open_archive("c" * 64, lambda: None) as file:
        storage.bucket.delete(f"archives/default/{'c' * 64}")
        with pytest.raises(UnknownImage, match="POST /v1/archives"):
            file.read()


def test_a_tenant_does_not_see_the_images_of_another_one(storage: JobStore) -> None:
    image = storage.of("default").save_image(b"mine", ImageFacts("PNG", 4, 5))
    assert storage.of("other").describe_image(image.id) is None
