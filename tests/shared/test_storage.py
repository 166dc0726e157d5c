"""The bucket and its map, against a real S3 server."""

import urllib.request

import pytest

from deploy.local import Stack
from shared.bucket import Bucket, Missing
from shared.errors import Unavailable, UnknownImage
from shared.jobs import Job, Manifest, State, links_of, new_job_id, now
from shared.methods import REQUEST, Saliency
from shared.pictures import Facts
from shared.storage import Storage


@pytest.fixture
def storage(stack: Stack) -> Storage:
    bucket = Bucket(stack.settings.model_copy(update={"s3_bucket": "storage-tests"}))
    bucket.create()
    bucket.create()
    return Storage(bucket)


def manifest(job_id: str, state: State, prefix: str) -> Manifest:
    job = Job(
        id=job_id,
        method="saliency",
        model="shapes@1",
        state=state,
        priority="bulk",
        created_at=now(),
        links=links_of(job_id),
    )
    return Manifest(job=job, prefix=prefix)


def test_what_is_put_can_be_got_listed_and_deleted(storage: Storage) -> None:
    storage.bucket.put("folder/one", b"1" * 100_000, media_type="text/plain")
    assert storage.bucket.get("folder/one") == b"".join(storage.bucket.stream("folder/one")) == b"1" * 100_000
    assert list(storage.bucket.keys("folder/")) == ["folder/one"]
    storage.bucket.delete("folder/one")
    storage.bucket.delete("folder/one")
    assert list(storage.bucket.keys("folder/")) == []
    with pytest.raises(Missing):
        storage.bucket.get("folder/one")
    with pytest.raises(Missing):
        storage.bucket.stream("folder/one")


def test_a_presigned_url_gives_the_object_to_anyone(storage: Storage) -> None:
    storage.bucket.put("folder/two", b"two", media_type="image/png")
    url = storage.bucket.presign("folder/two", seconds=60, media_type="image/png")
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() == b"two"


def test_a_request_survives_the_journey(storage: Storage) -> None:
    request = Saliency(method="saliency", model="shapes", images=["a" * 64], targets=["lemon", 3])
    storage.save_request(job_id := new_job_id(), request)
    assert REQUEST.validate_json(storage.load_request_json(job_id)) == request


def test_the_first_manifest_counts(storage: Storage) -> None:
    job_id = new_job_id()
    assert storage.load_manifest(job_id) is None
    storage.save_manifest(manifest(job_id, State.SUCCEEDED, "first/"))
    assert storage.save_manifest(manifest(job_id, State.FAILED, "second/")).prefix == "first/"
    assert storage.load_manifest(job_id).prefix == "first/"


def test_a_deleted_job_leaves_nothing(storage: Storage) -> None:
    job_id = new_job_id()
    prefix = storage.attempt_prefix(job_id, 4)
    storage.save_artifact(prefix, "a.png", b"png", media_type="image/png")
    storage.save_manifest(manifest(job_id, State.SUCCEEDED, prefix))
    storage.delete_job(job_id)
    assert list(storage.bucket.keys(f"jobs/{job_id}/")) == []


def test_a_picture_is_stored_under_its_digest(storage: Storage) -> None:
    image = storage.save_image(b"not really", Facts("PNG", 4, 5))
    assert image == storage.describe_image(image.id) == storage.save_image(b"not really", Facts("PNG", 4, 5))
    assert storage.load_image(image.id) == b"not really"
    assert storage.describe_image("0" * 64) is None
    with pytest.raises(UnknownImage):
        storage.load_image("0" * 64)


def test_no_store_is_a_problem_that_says_so(stack: Stack) -> None:
    nowhere = Bucket(stack.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with pytest.raises(Unavailable, match="object store"):
        nowhere.ping()
