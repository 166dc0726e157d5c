"""The bucket and its map, against a real S3 server."""

import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deploy.local import Stack
from shared.bucket import Bucket, Missing
from shared.errors import Unavailable, UnknownImage
from shared.jobs import Manifest, Order, Part, State, new_job_id
from shared.pictures import Facts
from shared.storage import Storage
from tests.orders import make_order


@pytest.fixture
def storage(stack: Stack) -> Storage:
    bucket = Bucket(stack.settings.model_copy(update={"s3_bucket": "storage-tests"}))
    bucket.create()
    bucket.create()
    return Storage(bucket)


def manifest(job_id: str, state: State, fence: int, **keys: str) -> Manifest:
    job = make_order(method="saliency").job(job_id).model_copy(update={"state": state})
    return Manifest(job=job, fence=fence, keys=keys)


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


def test_an_order_survives_the_journey_and_is_open_until_it_is_closed(storage: Storage) -> None:
    order = make_order(shares=(3, 2), tags=["night"])
    storage.save_order(job_id := new_job_id(), order)
    assert Order.model_validate_json(storage.load_order(job_id)) == order
    assert job_id in storage.list_open()
    storage.close(job_id)
    assert job_id not in storage.list_open()


def test_of_several_manifests_the_one_with_the_highest_fence_counts(storage: Storage) -> None:
    job_id = new_job_id()
    assert storage.load_manifest(job_id) is None
    storage.save_manifest(manifest(job_id, State.SUCCEEDED, 100))
    storage.save_manifest(manifest(job_id, State.FAILED, 99))  # of somebody who had been paused
    assert storage.load_manifest(job_id).fence == 100
    assert storage.load_manifest(job_id, 99).job.state is State.FAILED


def test_of_checkpoints_and_parts_the_latest_counts(storage: Storage) -> None:
    job_id = new_job_id()
    assert (storage.load_checkpoint(job_id, 1), storage.load_part(job_id, 1)) == (None, None)
    for fence in (9, 10):
        storage.save_checkpoint(job_id, 1, fence, b"%d" % fence)
        storage.save_part(job_id, 1, fence, Part(found={"fence": fence}))
    assert (storage.load_checkpoint(job_id, 1), storage.load_part(job_id, 1).found) == (b"10", {"fence": 10})
    storage.save_artifact(job_id, 77, "12345.png", b"png", media_type="image/png")
    assert storage.highest_fence(job_id) == 77


def test_an_idempotency_key_is_remembered(storage: Storage) -> None:
    assert storage.find_key("default", "a key") is None
    storage.bind_key("default", "a key", "a job")
    assert storage.find_key("default", "a key") == "a job"


def test_a_deleted_job_leaves_nothing_and_an_expired_one_its_name(storage: Storage) -> None:
    for remove in (storage.delete_job, storage.expire_job):
        job_id = new_job_id()
        key = storage.save_artifact(job_id, 4, "a.png", b"png", media_type="image/png")
        storage.save_manifest(manifest(job_id, State.SUCCEEDED, 4, **{"a.png": key}))
        remove(job_id)
        assert list(storage.bucket.keys(f"jobs/{job_id}/")) == []
        assert storage.has_expired(job_id) is (remove == storage.expire_job)


def test_a_picture_is_stored_under_its_digest(storage: Storage) -> None:
    image = storage.of("default").save_image(b"not really", Facts("PNG", 4, 5))
    assert (
        image
        == storage.of("default").describe_image(image.id)
        == storage.of("default").save_image(b"not really", Facts("PNG", 4, 5))
    )
    assert storage.of("default").load_image(image.id) == b"not really"
    assert storage.of("default").describe_image("0" * 64) is None
    with pytest.raises(UnknownImage):
        storage.of("default").load_image("0" * 64)


def test_no_store_is_a_problem_that_says_so(stack: Stack) -> None:
    nowhere = Bucket(stack.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with pytest.raises(Unavailable, match="object store"):
        nowhere.ping()


@pytest.fixture
def cutting() -> Iterator[str]:
    """A store whose every refusal breaks off in the middle: there botocore lets urllib3's error through."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.recv(65_536)
                connection.sendall(
                    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: 1000\r\n\r\n<List"
                )
                time.sleep(0.1)  # until the head was read: a reset takes back what was not
                # With no time to linger, closing resets the connection.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(timeout=5)


def test_an_answer_that_breaks_off_is_a_store_that_does_not_answer(stack: Stack, cutting: str) -> None:
    bucket = Bucket(stack.settings.model_copy(update={"s3_endpoint": cutting}))
    with pytest.raises(Unavailable):
        bucket.get("a key")
