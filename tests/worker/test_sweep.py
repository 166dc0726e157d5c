"""The sweep, with nobody else at work: what is lost is given back, and what is always lost fails."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis

from deploy.local import Stack
from shared import retention
from shared.broker import count_messages, create_broker
from shared.bucket import Bucket
from shared.claims import Claim, Claims
from shared.jobs import Manifest, Part, Progress, State, new_job_id, now
from shared.records import Records
from shared.storage import Storage
from tests.orders import make_order, place
from worker.sweep import Leases, Sweep, Sweeper

LEASE = 0.2


class Ground:
    """A Redis database and a bucket of our own, and no worker."""

    def __init__(self, stack: Stack) -> None:
        url = stack.settings.redis_url.removesuffix("/0") + "/6"
        self.settings = stack.settings.model_copy(
            update={"redis_url": url, "lease_seconds": LEASE, "s3_bucket": "sweep-tests"}
        )
        self.redis = redis.Redis.from_url(url)
        self.records, self.broker = Records(self.settings), create_broker(self.settings)
        self.claims = Claims(self.records)
        bucket = Bucket(self.settings)
        bucket.create()
        self.storage = Storage(bucket)
        self.sweeper = Sweep(
            self.settings, self.records, self.claims, self.storage, self.broker, Leases(self.settings.lease_seconds)
        )

    def queue(self, **changes: object) -> str:
        """A job as the API leaves it, but for the message."""
        order = make_order(**changes)
        self.storage.save_order(job_id := new_job_id(), order)
        self.claims.create(job_id, order)
        return job_id

    def lose(self) -> Claim | None:
        """A worker takes what comes first and falls silent for longer than its lease."""
        claim = self.claims.claim("a worker that dies")
        self.sweeper.look()
        time.sleep(LEASE * 1.3)
        self.sweeper.look()
        return claim

    def state(self, job_id: str) -> State:
        return self.records.find(job_id).state

    def end(self, job_id: str, claim: Claim, **changes: object) -> Manifest:
        """A worker gets as far as its manifest."""
        done = self.records.find(job_id).model_copy(update={"state": State.SUCCEEDED, "finished_at": now(), **changes})
        manifest = Manifest(job=done, fence=claim.fence)
        self.storage.save_manifest(manifest)
        return manifest


@pytest.fixture
def ground(stack: Stack) -> Iterator[Ground]:
    made = Ground(stack)
    made.redis.flushdb()
    for key in list(made.storage.bucket.keys("")):
        made.storage.bucket.delete(key)
    yield made
    made.redis.flushdb()


def test_a_job_that_lost_its_worker_is_queued_and_somebody_is_woken(ground: Ground) -> None:
    job_id = ground.queue()
    ground.lose()
    assert ground.state(job_id) is State.QUEUED
    assert count_messages(ground.broker) == 1


def test_a_job_that_is_always_lost_fails_after_three_attempts(ground: Ground) -> None:
    job_id = ground.queue()
    for _ in range(3):
        assert ground.lose() is not None
    assert ground.lose() is None
    job = ground.storage.load_manifest(job_id).job
    assert ground.state(job_id) is job.state is State.FAILED
    assert (job.attempt, job.error.type) == (3, "/problems/attempts-exhausted")
    assert ground.records.find(job_id).error == job.error  # the dead letter list says why
    assert list(ground.storage.list_open()) == []


def test_the_third_loss_does_not_overwrite_a_result(ground: Ground) -> None:
    job_id = ground.queue()
    for attempt in range(3):
        claim = ground.claims.claim("a worker that dies")
        if attempt == 2:
            ground.end(job_id, claim)
        ground.sweeper.look()
        time.sleep(LEASE * 1.3)
        ground.sweeper.look()
    assert ground.state(job_id) is State.SUCCEEDED


def test_of_a_job_of_several_shares_only_the_one_that_is_always_lost_fails(ground: Ground) -> None:
    job_id = ground.queue(shares=(1, 1))
    first = ground.claims.claim("a worker")
    ground.storage.save_part(job_id, 0, first.fence, Part(found={"kept": True}))
    assert ground.claims.end_share(first, "a worker") is None
    for _ in range(3):
        assert ground.lose().share == 1
    whole = ground.claims.claim("a worker")
    assert whole.whole
    assert ground.storage.load_part(job_id, 0).found == {"kept": True}
    assert ground.storage.load_part(job_id, 1).error.type == "/problems/attempts-exhausted"


def test_a_part_that_was_written_before_its_worker_died_is_not_overwritten(ground: Ground) -> None:
    job_id = ground.queue(shares=(1, 1))
    ground.claims.end_share(ground.claims.claim("a worker"), "a worker")
    for attempt in range(3):
        claim = ground.claims.claim("a worker that dies")
        if attempt == 2:
            ground.storage.save_part(job_id, claim.share, claim.fence, Part(found={"kept": True}))
        ground.sweeper.look()
        time.sleep(LEASE * 1.3)
        ground.sweeper.look()
    assert ground.storage.load_part(job_id, 1).found == {"kept": True}
    assert ground.claims.claim("a worker").whole


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_wish_to_cancel_outlives_the_worker_that_was_to_hear_of_it(ground: Ground, attempts: int) -> None:
    job_id = ground.queue()
    for _ in range(attempts - 1):
        ground.lose()
    ground.claims.claim("a worker that dies")
    assert ground.claims.withdraw(job_id, "asked", "api") is None
    ground.sweeper.look()
    time.sleep(LEASE * 1.3)
    ground.sweeper.look()
    assert ground.state(job_id) is ground.storage.load_manifest(job_id).job.state is State.CANCELLED


def test_a_message_is_sent_only_where_something_waits_and_nobody_is_on_the_way(ground: Ground) -> None:
    ground.sweeper.look()
    assert count_messages(ground.broker) == 0
    ground.queue()
    ground.sweeper.look()
    ground.sweeper.look()
    assert count_messages(ground.broker) == 1


def test_a_worker_that_renews_is_left_alone(ground: Ground) -> None:
    job_id = ground.queue()
    claim = ground.claims.claim("a worker")
    for _ in range(3):
        ground.sweeper.look()
        time.sleep(LEASE * 0.7)
        ground.claims.renew(claim, Progress())
    ground.sweeper.look()
    assert ground.state(job_id) is State.RUNNING


def test_a_clock_that_jumps_ends_no_lease(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = ground.queue()
    ground.claims.claim("a worker")
    ground.sweeper.look()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    ground.sweeper.look()
    assert ground.state(job_id) is State.RUNNING


def test_a_job_whose_deadline_has_passed_is_cancelled_with_the_reason(ground: Ground) -> None:
    job_id = ground.queue(seconds=-1)
    ground.sweeper.look()
    job = ground.storage.load_manifest(job_id).job
    assert (ground.state(job_id), job.error.type) == (State.CANCELLED, "/problems/deadline-exceeded")
    assert "Cancel-After" in job.error.detail
    assert ground.claims.claim("a worker") is None


def test_who_works_on_a_job_hears_that_its_deadline_has_passed(ground: Ground) -> None:
    ground.queue(seconds=-1)
    claim = ground.claims.claim("a worker")
    ground.sweeper.look()
    assert ground.claims.renew(claim, Progress()) == "deadline"


def test_when_redis_was_wiped_everything_is_made_again_from_the_store(ground: Ground) -> None:
    waiting, running, ended, parts = (ground.queue(shares=shares) for shares in ((1,), (1,), (1,), (1, 1)))
    claims = {claim.job_id: claim for claim in (ground.claims.claim("a worker") for _ in range(4))}
    ground.claims.give_back(claims[waiting], counts=False, max_attempts=3)
    manifest = ground.end(ended, claims[ended])
    ground.claims.finish(claims[ended], manifest)
    ground.storage.save_part(parts, 0, claims[parts].fence, Part(found={"kept": True}))
    ground.storage.save_artifact(running, claims[running].fence + 10**12, "a.png", b"", media_type="image/png")
    ground.redis.flushdb()
    ground.sweeper.reconcile()
    assert [ground.state(job_id) for job_id in (waiting, running, parts)] == [State.QUEUED] * 3
    assert ground.state(ended) is State.SUCCEEDED
    again = {claim.job_id: claim for claim in (ground.claims.claim("a worker") for _ in range(3))}
    assert again[parts].share == 1
    assert again[running].fence > claims[running].fence + 10**12  # a prefix of the store is never used twice
    assert [again[job_id].resumes for job_id in (waiting, running, parts)] == [False, True, True]
    assert sorted(ground.storage.list_open()) == sorted([waiting, running, parts])


def test_a_request_that_was_stored_and_never_recorded_is_queued(ground: Ground) -> None:
    ground.storage.save_order(job_id := new_job_id(), make_order())
    ground.sweeper.reconcile()
    assert ground.state(job_id) is State.QUEUED


def test_an_end_that_redis_has_forgotten_is_written_again(ground: Ground) -> None:
    job_id = ground.queue()
    ground.end(job_id, ground.claims.claim("a worker"))
    ground.storage.close(job_id)
    ground.redis.delete(f"archetype:job:{job_id}", "archetype:leases")
    ground.claims.create(job_id, make_order())
    ground.sweeper.reconcile()
    assert ground.state(job_id) is State.SUCCEEDED
    assert ground.claims.claim("a worker") is None


def test_a_job_that_died_being_born_is_forgotten_in_the_end(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.storage.bucket.put(f"open/{new_job_id()}", b"", media_type="text/plain")
    ground.sweeper.reconcile()
    assert len(list(ground.storage.list_open())) == 1
    monkeypatch.setattr("shared.rebuilding.BEING_BORN_SECONDS", -1)
    ground.sweeper.reconcile()
    assert list(ground.storage.list_open()) == []


def finished(ground: Ground, days: float = 0, **changes: object) -> str:
    """A job that ended, so many days ago, with ten kilobytes of artefacts."""
    from ulid import ULID

    job_id = str(ULID.from_datetime(now() - timedelta(days=days))).lower()
    job = place(ground.claims, job_id)
    claim = ground.claims.claim("a worker")
    ground.storage.save_artifact(job_id, claim.fence, "a.png", bytes(10_000), media_type="image/png")
    ground.claims.finish(claim, ground.end(job.id, claim, **changes))
    return job_id


def test_results_expire_by_age_but_for_those_of_audits_and_those_that_have_not_ended(ground: Ground) -> None:
    old, audit, fresh = finished(ground, 40), finished(ground, 40, tags=["audit"]), finished(ground)
    waiting = ground.queue()
    assert retention.expire(ground.storage, ground.records, ground.settings) == [old]
    assert ground.storage.has_expired(old)
    assert ground.records.find(old) is None
    assert all(ground.storage.load_manifest(job_id) for job_id in (audit, fresh))
    assert ground.storage.load_order(waiting)


def test_results_expire_by_total_size_the_oldest_first(ground: Ground) -> None:
    first, second, third = (finished(ground, days) for days in (3, 2, 1))
    settings = ground.settings.model_copy(update={"retention_bytes": 15_000})
    assert retention.expire(ground.storage, ground.records, settings) == [first, second]
    assert ground.storage.load_manifest(third)


def from_newer_version(ground: Ground, days: float) -> str:
    """A job that ended, so many days ago, under a version whose manifests this one cannot read."""
    job_id = finished(ground, days)
    (key,) = ground.storage.bucket.keys(f"jobs/{job_id}/manifests/")
    ground.storage.bucket.put(key, b'{"format": 99, "shape": "unheard of"}', media_type="application/json")
    return job_id


def test_what_only_a_newer_version_can_read_stays_and_is_in_nobodys_way(ground: Ground) -> None:
    newer, old = from_newer_version(ground, 41), finished(ground, 40)
    assert retention.expire(ground.storage, ground.records, ground.settings) == [old]
    ground.redis.flushdb()
    retention.expire(ground.storage, ground.records, ground.settings)
    assert list(ground.storage.bucket.keys(f"jobs/{newer}/"))

    held = make_order().model_copy(update={"after": [newer]})
    ground.storage.save_order(waiting := new_job_id(), held)
    ground.claims.create(waiting, held)
    ground.queue()
    ground.sweeper.look()
    assert ground.state(waiting) is State.QUEUED
    assert ground.claims.held()
    assert count_messages(ground.broker) == 1


def test_keys_that_nobody_may_rely_on_any_more_are_forgotten(ground: Ground) -> None:
    ground.storage.bind_key("default", "key", "job")
    retention.expire(ground.storage, ground.records, ground.settings)
    assert ground.storage.find_key("default", "key") == "job"
    settings = ground.settings.model_copy(update={"idempotency_seconds": -5})
    retention.expire(ground.storage, ground.records, settings)
    assert ground.storage.find_key("default", "key") is None


def test_a_job_that_comes_after_others_begins_when_they_have_ended(ground: Ground) -> None:
    first = ground.queue()
    order = make_order().model_copy(update={"after": [first]})
    ground.storage.save_order(last := new_job_id(), order)
    ground.claims.create(last, order)
    ground.sweeper.look()
    claim = ground.claims.claim("me")
    assert claim.job_id == first
    ground.redis.flushdb()
    ground.sweeper.reconcile()
    ground.sweeper.look()
    claim = ground.claims.claim("me")
    assert claim.job_id == first
    assert ground.claims.claim("me") is None
    ground.claims.finish(claim, ground.end(first, claim))
    ground.sweeper.look()
    assert ground.claims.claim("me").job_id == last


def test_what_a_job_comes_after_may_be_gone(ground: Ground) -> None:
    order = make_order().model_copy(update={"after": [new_job_id()]})
    ground.claims.create(last := new_job_id(), order)
    ground.sweeper.look()
    assert ground.claims.claim("me").job_id == last


def test_of_many_workers_three_sweep_and_another_comes_when_one_has_gone(ground: Ground) -> None:
    def keep(owner: str, seconds: float = 0.3) -> bool:
        return ground.records.keep_place("test", owner, places=3, seconds=seconds)

    assert [keep(owner) for owner in "abcde"] == [True, True, True, False, False]
    assert [keep(owner, 30) for owner in "ab"] == [True, True]
    time.sleep(0.35)  # c is silent
    assert [keep(owner) for owner in "abd"] == [True, True, True]
    assert not keep("e")


def test_a_worker_without_a_place_leaves_the_sweep_to_others(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()
    monkeypatch.setattr(Sweep, "look", lambda _: looked.set())
    for other in "abc":
        assert ground.records.keep_place("sweep", other, places=3, seconds=1.5)
    sweeper = Sweeper(ground.sweeper)
    sweeper.start()
    try:
        assert not looked.wait(1)
        assert looked.wait(5)  # their places are free now
    finally:
        sweeper.stop()
