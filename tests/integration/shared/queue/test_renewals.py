"""Renewals write only what has changed, because every change goes to the append-only file of Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from archetype.contract.job import Progress
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from tests.support.jobs import place
from tests.support.redis_servers import run_redis


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A Redis of its own, so that no other process writes to it."""
    with run_redis(tmp_path) as (address, _):
        yield address


def test_a_renewal_without_progress_writes_the_lease_alone(url: str) -> None:
    redis_client = RedisClient(Settings(redis_url=url))
    claims, server = Claims(redis_client), redis.Redis.from_url(url)
    job = place(claims)
    claim = claims.claim("me")
    assert claim is not None

    def renew(done: int) -> int:
        before = server.info("persistence")["rdb_changes_since_last_save"]
        assert claims.renew(claim, Progress(done=done, total=8, unit="step")) is None
        return int(server.info("persistence")["rdb_changes_since_last_save"] - before)

    assert renew(3) > 1
    assert renew(3) == 1
    assert renew(5) > 1
    found = JobIndex(redis_client).find(job.id)
    assert found is not None
    assert (found.progress.done, found.progress.total, found.progress.unit) == (5, 8, "step")
