"""Conditional writes to stores that refuse, ignore or do not support the condition."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from archetype.contract.job import now
from archetype.contract.webhook import Secret, Secrets
from deploy.local import Stack
from shared.errors import Unavailable
from shared.storage.s3 import Bucket

DOCUMENT = Secrets(items=[Secret(secret="whsec_1", created_at=now())])


@dataclass
class AnsweringStore:
    """A store that answers each conditional write with the same status, and any other write with 200.

    Attributes:
        status: The status.
        conditions: The condition of each write: the header, or None.
    """

    status: int = 200
    conditions: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture(scope="module")
def answering_store() -> Iterator[AnsweringStore]:
    store = AnsweringStore()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            condition = next((name for name in ("If-Match", "If-None-Match") if name in self.headers), None)
            store.conditions.append(condition)
            self.send_response(store.status if condition else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    yield store
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def answering_bucket(stack: Stack, answering_store: AnsweringStore) -> Bucket:
    return Bucket(stack.settings.model_copy(update={"s3_endpoint": answering_store.url}))


@pytest.mark.parametrize(
    ("status", "is_stored", "further"), [(200, True, []), (412, False, []), (409, False, []), (501, True, [None])]
)
@pytest.mark.parametrize(("tag", "condition"), [(None, "If-None-Match"), ('"1"', "If-Match")])
def test_a_write_is_refused_only_if_the_object_has_changed(
    answering_store: AnsweringStore,
    answering_bucket: Bucket,
    status: int,
    is_stored: bool,
    further: list[None],
    tag: str | None,
    condition: str,
) -> None:
    answering_store.status, answering_store.conditions = status, []
    assert answering_bucket.replace_document("a/b", DOCUMENT, tag=tag) is is_stored
    assert answering_store.conditions == [condition, *further]


def test_any_other_refusal_is_an_error(answering_store: AnsweringStore, answering_bucket: Bucket) -> None:
    answering_store.status = 403
    with pytest.raises(Unavailable):
        answering_bucket.replace_document("a/b", DOCUMENT, tag=None)


def test_a_real_store_stores_and_returns_the_document_with_its_tag(bucket: Bucket) -> None:
    bucket.delete("a/tagged")
    assert bucket.get_tagged_document("a/tagged", Secrets) == (None, None)
    assert bucket.replace_document("a/tagged", DOCUMENT, tag=None)
    stored, tag = bucket.get_tagged_document("a/tagged", Secrets)
    assert stored == DOCUMENT
    assert bucket.replace_document("a/tagged", Secrets(), tag=tag)
    assert bucket.get_document("a/tagged", Secrets) == Secrets()
