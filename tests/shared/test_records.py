"""Claims, leases and fences, against a real Redis."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from deploy.local import Stack
from shared.errors import Unavailable
from shared.jobs import Job, Progress, State, links_of, new_job_id, now
from shared.records import ClaimLost, Records
from shared.settings import Settings

LEASE = 0.4


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """The stack's Redis, in a database of our own."""
    url = stack.settings.redis_url.removesuffix("/0") + "/7"
    yield stack.settings.model_copy(update={"redis_url": url, "lease_seconds": LEASE})
    redis.Redis.from_url(url).flushdb()


@pytest.fixture
def records(settings: Settings) -> Records:
    return Records(settings)


def queued(records: Records, **changes: object) -> Job:
    job_id = new_job_id()
    fields = {"method": "class_model", "model": "shapes@1", "priority": "bulk", "tags": ["night"], **changes}
    job = Job(id=job_id, state=State.QUEUED, created_at=now(), links=links_of(job_id), **fields)
    records.create(job)
    return job


def test_a_job_is_claimed_once_however_many_ask(records: Records) -> None:
    job = queued(records)
    with ThreadPoolExecutor(16) as pool:
        claims = [claim for claim in pool.map(lambda n: records.claim(job.id, str(n)), range(64)) if claim]
    assert len(claims) == 1
    assert records.find(job.id).state is State.RUNNING


def test_what_does_not_exist_cannot_be_claimed(records: Records) -> None:
    assert records.claim(new_job_id(), "me") is None


def test_a_lease_that_is_renewed_does_not_run_out(records: Records) -> None:
    claim = records.claim(queued(records).id, "me")
    for done in range(6):
        time.sleep(LEASE / 3)
        assert records.renew(claim, Progress(done=done, total=9)) is False
        assert records.expired() == []
    assert records.find(claim.job_id).progress == Progress(done=5, total=9)


def test_a_lost_job_is_released_and_the_zombie_changes_nothing(records: Records) -> None:
    job = queued(records)
    zombie = records.claim(job.id, "zombie")
    assert records.release(job.id) is False
    time.sleep(LEASE * 1.2)
    assert records.expired() == [job.id]
    assert records.release(job.id) is True
    with pytest.raises(ClaimLost):
        records.renew(zombie, Progress())
    heir = records.claim(job.id, "heir")
    assert (heir.attempt, heir.fence > zombie.fence) == (2, True)
    with pytest.raises(ClaimLost):
        records.finish(zombie, job.model_copy(update={"state": State.SUCCEEDED}))
    records.finish(heir, job.model_copy(update={"state": State.FAILED, "finished_at": now()}))
    assert records.find(job.id).state is State.FAILED


def test_a_terminal_state_is_written_once(records: Records) -> None:
    job = queued(records)
    claim = records.claim(job.id, "me")
    records.finish(claim, job.model_copy(update={"state": State.SUCCEEDED}))
    with pytest.raises(ClaimLost):
        records.finish(claim, job.model_copy(update={"state": State.FAILED}))
    assert records.find(job.id).state is State.SUCCEEDED
    assert records.claim(job.id, "you") is None


def test_the_fence_grows_even_if_redis_forgets(records: Records, settings: Settings) -> None:
    job = queued(records)
    before = records.claim(job.id, "me").fence
    redis.Redis.from_url(settings.redis_url).flushdb()
    time.sleep(0.005)
    records.create(job)
    assert records.claim(job.id, "me").fence > before


def test_a_record_is_not_written_twice(records: Records) -> None:
    job = queued(records)
    records.finish(records.claim(job.id, "me"), job.model_copy(update={"state": State.SUCCEEDED}))
    assert records.create(job) is False
    assert records.find(job.id).state is State.SUCCEEDED


def test_a_job_that_is_given_back_is_as_if_it_had_not_been_taken(records: Records) -> None:
    claim = records.claim(queued(records).id, "me")
    records.give_back(claim)
    assert records.find(claim.job_id).attempt == 0
    with pytest.raises(ClaimLost):
        records.give_back(claim)
    assert records.claim(claim.job_id, "you").attempt == 1


def test_a_wish_to_cancel_reaches_whoever_renews(records: Records) -> None:
    claim = records.claim(queued(records).id, "me")
    records.ask_to_cancel(claim.job_id)
    assert records.renew(claim, Progress()) is True


def test_jobs_are_listed_newest_first_page_by_page(records: Records) -> None:
    ids = []
    for _ in range(23):
        ids.append(queued(records).id)
        time.sleep(0.002)
    seen, after = [], None
    while True:
        page, after = records.page(filters={}, limit=10, after=after)
        seen += [job.id for job in page]
        if after is None:
            break
    assert seen == ids[::-1]


def test_filters_are_combined(records: Records) -> None:
    wanted = queued(records, method="saliency", tags=["a", "b"])
    queued(records, method="saliency", tags=["b"])
    queued(records, tags=["a"])
    filters = {"method": "saliency", "tag": "a", "model": "shapes", "state": "queued"}
    assert [job.id for job in records.page(filters=filters, limit=5, after=None)[0]] == [wanted.id]
    records.claim(wanted.id, "me")
    assert records.page(filters=filters, limit=5, after=None) == ([], None)
    assert records.count(State.RUNNING) == 1


def test_a_deleted_job_is_in_no_list(records: Records) -> None:
    job = queued(records)
    records.finish(records.claim(job.id, "me"), ended := job.model_copy(update={"state": State.SUCCEEDED}))
    records.delete(ended)
    assert records.find(job.id) is None
    for filters in ({}, {"tag": "night"}, {"state": "succeeded"}, {"model": "shapes@1"}):
        assert records.page(filters=filters, limit=5, after=None) == ([], None)


def test_a_key_stays_bound_to_what_it_was_bound_to_first(records: Records) -> None:
    assert records.reserve("key", "one", 60) == "one"
    assert records.reserve("key", "two", 60) == "one"


def test_no_redis_is_a_problem_that_says_so(settings: Settings) -> None:
    nowhere = Records(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    with pytest.raises(Unavailable, match="Redis"):
        nowhere.ping()
