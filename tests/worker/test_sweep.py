"""The sweep, with nobody else at work: what is lost is given back, and what is always lost fails."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from deploy.local import Stack
from shared.broker import count_messages, create_broker
from shared.bucket import Bucket
from shared.jobs import Job, Manifest, State, new_job_id, now
from shared.records import Records
from shared.storage import Storage
from worker import sweep as sweeping

LEASE = 0.2


class Ground:
    """A Redis database and a bucket of our own, and no worker."""

    def __init__(self, stack: Stack) -> None:
        url = stack.settings.redis_url.removesuffix("/0") + "/6"
        settings = stack.settings.model_copy(
            update={"redis_url": url, "lease_seconds": LEASE, "s3_bucket": "sweep-tests"}
        )
        self.redis = redis.Redis.from_url(url)
        self.records, self.broker = Records(settings), create_broker(settings)
        bucket = Bucket(settings)
        bucket.create()
        self.storage = Storage(bucket)

    def queue(self) -> str:
        job = Job(
            id=new_job_id(), method="class_model", model="shapes@1", state=State.QUEUED, priority="bulk",
            created_at=now(), links={},
        )  # fmt: skip
        self.records.create(job)
        return job.id

    def lose(self, job_id: str) -> Any:
        """A worker takes the job and falls silent for longer than its lease."""
        claim = self.records.claim(job_id, "a worker that dies")
        time.sleep(LEASE * 1.3)
        return claim

    def sweep(self) -> None:
        sweeping.sweep(self.records, self.storage, self.broker, max_attempts=3)


@pytest.fixture
def ground(stack: Stack) -> Iterator[Ground]:
    made = Ground(stack)
    made.redis.flushdb()
    yield made
    made.redis.flushdb()


def test_a_job_that_lost_its_worker_is_queued_and_sent_again(ground: Ground) -> None:
    job_id = ground.queue()
    ground.lose(job_id)
    ground.sweep()
    assert ground.records.find(job_id).state is State.QUEUED
    assert count_messages(ground.broker) == 1


def test_a_job_that_is_always_lost_fails_after_three_attempts(ground: Ground) -> None:
    job_id = ground.queue()
    for _ in range(3):
        assert ground.lose(job_id) is not None
        ground.sweep()
    assert ground.lose(job_id) is None
    job = ground.storage.load_manifest(job_id).job
    assert ground.records.find(job_id).state is job.state is State.FAILED
    assert (job.attempt, job.error.type) == (3, "/problems/attempts-exhausted")


def test_the_fourth_loss_does_not_overwrite_a_result(ground: Ground) -> None:
    job_id = ground.queue()
    for _ in range(3):
        claim = ground.lose(job_id)
        if claim.attempt == 3:  # this one got as far as its manifest
            done = ground.records.find(job_id).model_copy(update={"state": State.SUCCEEDED, "finished_at": now()})
            ground.storage.save_manifest(Manifest(job=done, prefix="third/"))
        ground.sweep()
    assert ground.records.find(job_id).state is State.SUCCEEDED


def test_only_a_lost_message_is_sent_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "STALE_SECONDS", 0.1)
    ground.queue()
    ground.sweep()
    assert count_messages(ground.broker) == 0
    time.sleep(0.2)
    ground.sweep()
    ground.sweep()
    assert count_messages(ground.broker) == 1


def test_a_worker_that_renews_is_left_alone(ground: Ground) -> None:
    from shared.jobs import Progress

    job_id = ground.queue()
    claim = ground.lose(job_id)
    ground.records.renew(claim, Progress())
    ground.sweep()
    assert ground.records.find(job_id).state is State.RUNNING
