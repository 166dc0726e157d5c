"""A Redis database and a bucket for the tests of `shared`, on the servers of the running stack."""

from collections.abc import Iterator

import pytest
import redis

from deploy.local import Stack
from shared.history.history import History
from shared.history.job_list import JobList
from shared.history.segments import Segments
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.idempotency import IdempotencyKeys
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """Settings with a Redis database of their own, which is emptied after each test."""
    url = stack.settings.redis_url.removesuffix("/0") + "/8"
    yield stack.settings.model_copy(update={"redis_url": url})
    redis.Redis.from_url(url).flushdb()


@pytest.fixture
def redis_client(settings: Settings) -> RedisClient:
    return RedisClient(settings)


@pytest.fixture
def job_index(redis_client: RedisClient) -> JobIndex:
    return JobIndex(redis_client)


@pytest.fixture
def locks(redis_client: RedisClient) -> Locks:
    return Locks(redis_client)


@pytest.fixture
def idempotency(redis_client: RedisClient) -> IdempotencyKeys:
    return IdempotencyKeys(redis_client)


@pytest.fixture
def claims(redis_client: RedisClient) -> Claims:
    return Claims(redis_client)


@pytest.fixture
def storage(stack: Stack) -> JobStore:
    """A store in a bucket of its own."""
    bucket = Bucket(stack.settings.model_copy(update={"s3_bucket": "storage-tests"}))
    bucket.create()
    return JobStore(bucket)


@pytest.fixture
def job_list(storage: JobStore, job_index: JobIndex, locks: Locks) -> JobList:
    """The records in Redis and the history in the store, as a process that has read nothing sees them."""
    return JobList(job_index, History(Segments(storage.bucket), locks))


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> Bucket:
    """A bucket of its own; one for all tests of a module, because a client takes long to make."""
    made = Bucket(stack.settings.model_copy(update={"s3_bucket": "bucket-tests"}))
    made.create()
    return made
