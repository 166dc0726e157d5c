"""What is kept in Redis, in a database of its own."""

from collections.abc import Iterator

import pytest
import redis

from deploy.local import Stack
from shared.claims import Claims
from shared.records import Records
from shared.settings import Settings


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """The stack's Redis, in a database of our own."""
    url = stack.settings.redis_url.removesuffix("/0") + "/8"
    yield stack.settings.model_copy(update={"redis_url": url})
    redis.Redis.from_url(url).flushdb()


@pytest.fixture
def records(settings: Settings) -> Records:
    return Records(settings)


@pytest.fixture
def claims(records: Records) -> Claims:
    return Claims(records)
