"""The bucket, on a real S3 server and on servers that fail."""

import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deploy.local import Stack
from shared.errors import Unavailable
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket, Missing


def test_an_object_can_be_stored_read_listed_and_deleted(storage: JobStore) -> None:
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


def test_a_presigned_url_can_be_read_without_credentials(storage: JobStore) -> None:
    storage.bucket.put("folder/two", b"two", media_type="image/png")
    url = storage.bucket.presign("folder/two", seconds=60, media_type="image/png")
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() == b"two"


def test_a_store_that_does_not_answer_is_unavailable(stack: Stack) -> None:
    unreachable = Bucket(stack.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with pytest.raises(Unavailable, match="object store"):
        unreachable.ping()


@pytest.fixture
def interrupting_store() -> Iterator[str]:
    """A store that breaks off every error response; botocore then raises an error of urllib3."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.recv(65_536)
                connection.sendall(
                    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: 1000\r\n\r\n<List"
                )
                time.sleep(0.1)  # until the client has read the head: a reset discards unread data
                # Without time to linger, closing the socket resets the connection.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(timeout=5)


def test_a_store_that_breaks_off_its_answer_is_unavailable(stack: Stack, interrupting_store: str) -> None:
    bucket = Bucket(stack.settings.model_copy(update={"s3_endpoint": interrupting_store}))
    with pytest.raises(Unavailable):
        bucket.get("a key")


def test_a_bucket_that_exists_is_not_created_again(storage: JobStore) -> None:
    storage.bucket.put("folder/three", b"three", media_type="text/plain")
    storage.bucket.create()
    assert storage.bucket.get("folder/three") == b"three"
