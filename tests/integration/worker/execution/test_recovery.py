"""The recovery, without workers: lost shards return to the queue, and shards that are always lost fail."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import redis
import structlog

from archetype.contract.job import Progress, State, now
from deploy.local import Stack
from shared.catalogue.release import Release
from shared.lifecycle import retention
from shared.queue.celery_app import count_messages, create_broker
from shared.queue.claims import Claim, Claims
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest, Registration, RegistrationState, ShardResult
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from tests.chaos.proxy import Fault, Proxy
from tests.support.clock import set_wrong
from tests.support.jobs import make_spec, place
from tests.support.waiting import wait_until
from worker.execution.recovery import LeaseMonitor, Recovery, RecoveryThreads

LEASE = 0.2


class RecoveryLab:
    """A recovery with a Redis database and a bucket of its own, and no worker."""

    def __init__(self, stack: Stack) -> None:
        url = stack.settings.redis_url.removesuffix("/0") + "/6"
        self.settings = stack.settings.model_copy(
            update={"redis_url": url, "lease_seconds": LEASE, "s3_bucket": "sweep-tests", "max_attempts": 3}
        )
        self.redis = redis.Redis.from_url(url)
        self.redis_client, self.broker = RedisClient(self.settings), create_broker(self.settings)
        self.job_index = JobIndex(self.redis_client)
        self.claims = Claims(self.redis_client)
        bucket = Bucket(self.settings)
        bucket.create()
        self.storage = JobStore(bucket)
        self.recovery = Recovery(
            self.settings,
            self.redis_client,
            self.job_index,
            Locks(self.redis_client),
            self.claims,
            self.storage,
            Outbox(self.redis_client, bucket),
            self.broker,
            LeaseMonitor(self.settings.lease_seconds),
        )

    def queue(self, **changes: object) -> str:
        """Submits a job as the API does, but sends no message; returns its id."""
        spec = make_spec(**changes)
        self.storage.save_spec(job_id := new_job_id(), spec)
        self.claims.create(job_id, spec)
        return job_id

    def lose(self) -> Claim | None:
        """Claims the next shard, lets its lease expire, and runs the recovery."""
        claim = self.claims.claim("a worker that dies")
        self.expire()
        return claim

    def expire(self) -> None:
        """Runs the recovery until all leases have expired that are not renewed meanwhile."""
        for _ in range(4):
            self.recovery.sweep()
            time.sleep(LEASE * 0.5)
        self.recovery.sweep()

    def state(self, job_id: str) -> State:
        return self.job_index.find(job_id).state

    def end(self, job_id: str, claim: Claim, **changes: object) -> Manifest:
        """Stores the manifest of a job that has succeeded, but does not end it in Redis."""
        done = self.job_index.find(job_id).model_copy(
            update={"state": State.SUCCEEDED, "finished_at": now(), **changes}
        )
        manifest = Manifest(job=done, fence=claim.fence)
        self.storage.save_manifest(manifest)
        return manifest


@pytest.fixture
def lab(stack: Stack) -> Iterator[RecoveryLab]:
    made = RecoveryLab(stack)
    made.redis.flushdb()
    for key in list(made.storage.bucket.keys("")):
        made.storage.bucket.delete(key)
    yield made
    made.redis.flushdb()


def test_a_job_that_lost_its_worker_is_queued_and_a_message_is_sent(lab: RecoveryLab) -> None:
    job_id = lab.queue()
    lab.lose()
    assert lab.state(job_id) is State.QUEUED
    assert count_messages(lab.broker) == 1


def test_a_job_that_is_always_lost_fails_after_three_attempts(lab: RecoveryLab) -> None:
    job_id = lab.queue()
    for _ in range(3):
        assert lab.lose() is not None
    assert lab.lose() is None
    job = lab.storage.load_manifest(job_id).job
    assert lab.state(job_id) is job.state is State.FAILED
    assert (job.attempt, job.error.type) == (3, "/problems/attempts-exhausted")
    assert lab.job_index.find(job_id).error == job.error  # the list of jobs shows the reason
    assert list(lab.storage.list_open()) == []


def test_the_third_lost_attempt_does_not_overwrite_a_result(lab: RecoveryLab) -> None:
    job_id = lab.queue()
    for attempt in range(3):
        claim = lab.claims.claim("a worker that dies")
        if attempt == 2:
            lab.end(job_id, claim)
        lab.expire()
    assert lab.state(job_id) is State.SUCCEEDED


def test_only_the_shard_that_is_always_lost_fails_in_a_job_of_several_shards(lab: RecoveryLab) -> None:
    job_id = lab.queue(shards=(1, 1))
    first = lab.claims.claim("a worker")
    lab.storage.save_shard_result(job_id, 0, first.fence, ShardResult(metrics={"kept": True}))
    assert lab.claims.finish_shard(first, "a worker") is None
    for _ in range(3):
        assert lab.lose().shard == 1
    whole = lab.claims.claim("a worker")
    assert whole.is_assembly
    assert lab.storage.load_shard_result(job_id, 0).metrics == {"kept": True}
    assert lab.storage.load_shard_result(job_id, 1).error.type == "/problems/attempts-exhausted"


def test_a_shard_result_that_was_stored_before_its_worker_died_is_not_overwritten(lab: RecoveryLab) -> None:
    job_id = lab.queue(shards=(1, 1))
    lab.claims.finish_shard(lab.claims.claim("a worker"), "a worker")
    for attempt in range(3):
        claim = lab.claims.claim("a worker that dies")
        if attempt == 2:
            lab.storage.save_shard_result(job_id, claim.shard, claim.fence, ShardResult(metrics={"kept": True}))
        lab.expire()
    assert lab.storage.load_shard_result(job_id, 1).metrics == {"kept": True}
    assert lab.claims.claim("a worker").is_assembly


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_cancellation_survives_the_death_of_the_worker_that_runs_the_job(lab: RecoveryLab, attempts: int) -> None:
    job_id = lab.queue()
    for _ in range(attempts - 1):
        lab.lose()
    lab.claims.claim("a worker that dies")
    assert lab.claims.withdraw(job_id, "asked", "api") is None
    lab.expire()
    assert lab.state(job_id) is lab.storage.load_manifest(job_id).job.state is State.CANCELLED


def test_a_message_is_sent_only_if_a_shard_waits_and_no_message_is_on_its_way(lab: RecoveryLab) -> None:
    lab.recovery.sweep()
    assert count_messages(lab.broker) == 0
    lab.queue()
    lab.recovery.sweep()
    lab.recovery.sweep()
    assert count_messages(lab.broker) == 1


def test_a_worker_that_renews_its_lease_keeps_its_job(lab: RecoveryLab) -> None:
    job_id = lab.queue()
    claim = lab.claims.claim("a worker")
    for _ in range(3):
        lab.recovery.sweep()
        time.sleep(LEASE * 0.7)
        lab.claims.renew(claim, Progress())
    lab.recovery.sweep()
    assert lab.state(job_id) is State.RUNNING


def test_a_change_of_the_system_time_ends_no_lease(lab: RecoveryLab, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = lab.queue()
    lab.claims.claim("a worker")
    lab.recovery.sweep()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    lab.recovery.sweep()
    assert lab.state(job_id) is State.RUNNING


def test_a_job_whose_deadline_has_passed_is_cancelled_with_the_reason(lab: RecoveryLab) -> None:
    job_id = lab.queue(seconds=-1)
    lab.recovery.sweep()
    job = lab.storage.load_manifest(job_id).job
    assert (lab.state(job_id), job.error.type) == (State.CANCELLED, "/problems/deadline-exceeded")
    assert "Cancel-After" in job.error.detail
    assert lab.claims.claim("a worker") is None


def test_a_worker_that_renews_its_lease_receives_the_passed_deadline(lab: RecoveryLab) -> None:
    lab.queue(seconds=-1)
    claim = lab.claims.claim("a worker")
    lab.recovery.sweep()
    assert lab.claims.renew(claim, Progress()) == "deadline"


@pytest.mark.parametrize("change", [timedelta(days=1), -timedelta(days=1)], ids=["ahead", "behind"])
def test_a_recovery_whose_clock_is_wrong_by_a_day_cancels_only_what_is_overdue(
    lab: RecoveryLab, monkeypatch: pytest.MonkeyPatch, change: timedelta
) -> None:
    running = lab.queue()
    assert lab.claims.claim("a worker").job_id == running
    waiting, late = lab.queue(), lab.queue(seconds=-1)
    set_wrong(monkeypatch, change)
    lab.recovery.sweep()
    assert [lab.state(job_id) for job_id in (running, waiting, late)] == [State.RUNNING, State.QUEUED, State.CANCELLED]
    assert lab.claims.why_cancelled(running) is None


@pytest.mark.parametrize("change", [timedelta(days=60), -timedelta(days=60)], ids=["ahead", "behind"])
def test_what_a_machine_whose_clock_is_wrong_ends_is_kept_for_the_retention_time(
    lab: RecoveryLab, monkeypatch: pytest.MonkeyPatch, change: timedelta
) -> None:
    job_id, began = lab.queue(), now()
    set_wrong(monkeypatch, change)
    lab.recovery.cancel(job_id, "asked")
    ended = lab.storage.load_manifest(job_id).job.finished_at
    assert began - timedelta(hours=1) < ended < began + timedelta(hours=1)


def test_a_recovery_whose_clock_is_ahead_deletes_nothing_early(
    lab: RecoveryLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, refused = finished(lab), Release(name="net", architecture="factory:small", classes=["a"])
    lab.storage.save_idempotency_key("default", "key", "job")
    lab.storage.bucket.put(f"open/{new_job_id()}", b"", media_type="text/plain")
    lab.storage.save_registration(Registration(entry=refused, state=RegistrationState.REFUSED))
    set_wrong(monkeypatch, timedelta(days=60))
    assert retention.expire(lab.storage, lab.recovery.job_list, lab.settings) == []
    lab.recovery.reconcile()
    lab.recovery.send_release_checks()
    assert lab.storage.load_manifest(fresh)
    assert lab.storage.find_idempotency_key("default", "key") == "job"
    assert len(list(lab.storage.list_open())) == 1
    assert len(list(lab.storage.list_registrations())) == 1


def test_all_jobs_are_restored_from_the_store_after_redis_has_lost_them(lab: RecoveryLab) -> None:
    waiting, running, ended, parts = (lab.queue(shards=shards) for shards in ((1,), (1,), (1,), (1, 1)))
    claims = {claim.job_id: claim for claim in (lab.claims.claim("a worker") for _ in range(4))}
    lab.claims.give_back(claims[waiting], counts=False, max_attempts=3)
    manifest = lab.end(ended, claims[ended])
    lab.claims.finish_job(claims[ended], manifest)
    lab.storage.save_shard_result(parts, 0, claims[parts].fence, ShardResult(metrics={"kept": True}))
    lab.storage.save_artifact(running, claims[running].fence + 10**12, "a.png", b"", media_type="image/png")
    lab.redis.flushdb()
    lab.recovery.reconcile()
    assert [lab.state(job_id) for job_id in (waiting, running, parts)] == [State.QUEUED] * 3
    assert lab.state(ended) is State.SUCCEEDED
    again = {claim.job_id: claim for claim in (lab.claims.claim("a worker") for _ in range(3))}
    assert again[parts].shard == 1
    assert again[running].fence > claims[running].fence + 10**12  # a prefix in the store is never used twice
    assert [again[job_id].resumes for job_id in (waiting, running, parts)] == [False, True, True]
    assert sorted(lab.storage.list_open()) == sorted([waiting, running, parts])


def test_a_request_that_is_only_in_the_store_is_queued(lab: RecoveryLab) -> None:
    lab.storage.save_spec(job_id := new_job_id(), make_spec())
    lab.recovery.reconcile()
    assert lab.state(job_id) is State.QUEUED


def test_the_end_of_a_job_that_redis_has_lost_is_written_again(lab: RecoveryLab) -> None:
    job_id = lab.queue()
    lab.end(job_id, lab.claims.claim("a worker"))
    lab.storage.close(job_id)
    lab.redis.delete(f"archetype:job:{job_id}", "archetype:leases")
    lab.claims.create(job_id, make_spec())
    lab.recovery.reconcile()
    assert lab.state(job_id) is State.SUCCEEDED
    assert lab.claims.claim("a worker") is None


def test_a_job_whose_request_was_never_stored_is_removed_after_a_while(
    lab: RecoveryLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.storage.bucket.put(f"open/{new_job_id()}", b"", media_type="text/plain")
    lab.recovery.reconcile()
    assert len(list(lab.storage.list_open())) == 1
    monkeypatch.setattr("shared.lifecycle.rebuild.MAX_SUBMISSION_SECONDS", -1)
    lab.recovery.reconcile()
    assert list(lab.storage.list_open()) == []


def finished(lab: RecoveryLab, days: float = 0, **changes: object) -> str:
    """Creates a job that ended so many days ago, with ten kilobytes of artifacts; returns its id."""
    from ulid import ULID

    job_id = str(ULID.from_datetime(now() - timedelta(days=days))).lower()
    job = place(lab.claims, job_id)
    claim = lab.claims.claim("a worker")
    lab.storage.save_artifact(job_id, claim.fence, "a.png", bytes(10_000), media_type="image/png")
    ended = {"finished_at": now() - timedelta(days=days), **changes}
    lab.claims.finish_job(claim, lab.end(job.id, claim, **ended))
    return job_id


def test_results_expire_by_age_except_those_of_audits_and_of_jobs_that_have_not_ended(lab: RecoveryLab) -> None:
    old, audit, fresh = finished(lab, 40), finished(lab, 40, method="audit"), finished(lab)
    waiting = lab.queue()
    assert retention.expire(lab.storage, lab.recovery.job_list, lab.settings) == [old]
    assert lab.storage.has_expired(old, "default")
    assert lab.job_index.find(old) is None
    assert all(lab.storage.load_manifest(job_id) for job_id in (audit, fresh))
    assert lab.storage.load_spec(waiting)


def test_the_oldest_results_expire_first_if_all_results_are_too_large(lab: RecoveryLab) -> None:
    first, second, third = (finished(lab, days) for days in (3, 2, 1))
    settings = lab.settings.model_copy(update={"retention_bytes": 15_000})
    assert retention.expire(lab.storage, lab.recovery.job_list, settings) == [first, second]
    assert lab.storage.load_manifest(third)


def from_newer_version(lab: RecoveryLab, days: float) -> str:
    """Creates a job that ended so many days ago, with a manifest that only a newer version can read."""
    job_id = finished(lab, days)
    (key,) = lab.storage.bucket.keys(f"jobs/{job_id}/manifests/")
    lab.storage.bucket.put(key, b'{"format": 99, "shape": "unknown"}', media_type="application/json")
    return job_id


def test_a_manifest_of_a_newer_version_is_kept_and_delays_no_other_job(lab: RecoveryLab) -> None:
    newer, old = from_newer_version(lab, 41), finished(lab, 40)
    assert retention.expire(lab.storage, lab.recovery.job_list, lab.settings) == [old]
    lab.redis.flushdb()
    retention.expire(lab.storage, lab.recovery.job_list, lab.settings)
    assert list(lab.storage.bucket.keys(f"jobs/{newer}/"))

    blocked = make_spec().model_copy(update={"after": [newer]})
    lab.storage.save_spec(waiting := new_job_id(), blocked)
    lab.claims.create(waiting, blocked)
    lab.queue()
    lab.recovery.sweep()
    assert lab.state(waiting) is State.QUEUED
    assert lab.claims.list_blocked()
    assert count_messages(lab.broker) == 1


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    with Proxy() as made:
        made.upstream = urlsplit(stack.settings.s3_endpoint or "").netloc
        yield made


@pytest.fixture
def behind_proxy(lab: RecoveryLab, stack: Stack, proxy: Proxy) -> RecoveryLab:
    """The lab again, with a store that can refuse calls."""
    return RecoveryLab(replace(stack, settings=stack.settings.model_copy(update={"s3_endpoint": proxy.url})))


@dataclass(frozen=True)
class HeldRequests(Fault):
    """Holds requests until the event is set."""

    until: threading.Event = field(default_factory=threading.Event)

    def act(self) -> None:
        self.until.wait(600)


def refuse(proxy: Proxy, *job_ids: str) -> AbstractContextManager[None]:
    """The store refuses all objects of these jobs, and their marks."""
    names = "|".join(job_ids)
    return proxy.fault(Fault(keys=f"(jobs/({names})/.*|open/({names}))", status=403))


def test_a_job_that_the_store_refuses_ends_at_its_deadline_and_delays_no_other(
    behind_proxy: RecoveryLab, proxy: Proxy
) -> None:
    lab = behind_proxy
    refused, others = lab.queue(seconds=-2), [lab.queue(seconds=-1) for _ in range(2)]
    with refuse(proxy, refused):
        lab.recovery.sweep()
        assert [lab.state(job_id) for job_id in (refused, *others)] == [State.CANCELLED] * 3
        assert lab.job_index.find(refused).error.type == "/problems/deadline-exceeded"
    assert lab.job_index.find_manifest_fence(refused) == 0
    assert all(lab.storage.load_manifest(job_id) for job_id in others)


def test_a_store_that_refuses_the_objects_of_all_jobs_ends_none(behind_proxy: RecoveryLab, proxy: Proxy) -> None:
    lab = behind_proxy
    job_id = lab.queue(seconds=-1)
    with refuse(proxy, ".*"):
        lab.recovery.sweep()
        assert lab.state(job_id) is State.RUNNING  # claimed by the sweep, whose lease expires
    lab.expire()
    lab.expire()
    assert lab.storage.load_manifest(job_id).job.state is State.CANCELLED


def test_a_result_that_the_store_does_not_let_read_is_not_replaced_by_a_failure(
    behind_proxy: RecoveryLab, proxy: Proxy
) -> None:
    lab = behind_proxy
    job_id = lab.queue()
    for _ in range(2):
        lab.lose()
    manifest = lab.end(job_id, lab.claims.claim("a worker that dies"))
    with refuse(proxy, job_id):
        lab.expire()
        assert lab.state(job_id) is State.RUNNING
    lab.expire()
    assert lab.state(job_id) is State.SUCCEEDED
    assert lab.job_index.find_manifest_fence(job_id) == manifest.fence


@pytest.mark.parametrize("shards", [(1,), (1, 1)])
def test_a_job_that_the_store_refuses_and_that_is_always_lost_ends(
    behind_proxy: RecoveryLab, proxy: Proxy, shards: tuple[int, ...]
) -> None:
    lab = behind_proxy
    job_id = lab.queue(shards=shards)
    with refuse(proxy, job_id):
        while lab.lose() is not None:
            pass
        job = lab.job_index.find(job_id)
        kind = "attempts-exhausted" if len(shards) == 1 else "refused-by-store"
        assert (job.state, job.error.type) == (State.FAILED, f"/problems/{kind}")
    assert lab.redis.keys("archetype:share:*") == []


def test_a_mark_that_cannot_be_removed_does_not_stop_the_comparison_with_the_store(
    behind_proxy: RecoveryLab, proxy: Proxy
) -> None:
    lab = behind_proxy
    for _ in range(4):
        job_id = lab.queue()
        claim = lab.claims.claim("a worker")
        lab.claims.finish_job(claim, lab.end(job_id, claim))
    first = min(lab.storage.list_open())
    lost = new_job_id()
    lab.storage.save_spec(lost, make_spec())
    with refuse(proxy, first):
        lab.recovery.reconcile()
    assert sorted(lab.storage.list_open()) == [first, lost]
    assert lab.state(lost) is State.QUEUED


@pytest.mark.usefixtures("every_level_logged")
def test_leases_expire_while_the_jobs_are_compared_with_a_slow_store(behind_proxy: RecoveryLab, proxy: Proxy) -> None:
    lab = behind_proxy
    job_id = lab.queue()
    lab.claims.claim("a worker that dies")
    for turn in ("retention", "trials"):
        lab.recovery.locks.take_turn(turn, 3600)
    threads, listing = RecoveryThreads(lab.recovery), HeldRequests(methods="GET", keys="")
    with structlog.testing.capture_logs() as logs, proxy.fault(listing):
        threads.start()
        wait_until(lambda: lab.state(job_id) is State.QUEUED, 300, message=lambda: str(logs))
        ended = [entry for entry in logs if entry["event"] == "sweep.interrupted"]
        listing.until.set()
    threads.stop()
    assert ended == []  # the comparison, which the store delays until it is given up, still went on


def test_idempotency_keys_expire(lab: RecoveryLab) -> None:
    lab.storage.save_idempotency_key("default", "key", "job")
    retention.expire(lab.storage, lab.recovery.job_list, lab.settings)
    assert lab.storage.find_idempotency_key("default", "key") == "job"
    settings = lab.settings.model_copy(update={"idempotency_seconds": -5})
    retention.expire(lab.storage, lab.recovery.job_list, settings)
    assert lab.storage.find_idempotency_key("default", "key") is None


def test_a_blocked_job_begins_when_the_jobs_before_it_have_ended(lab: RecoveryLab) -> None:
    first = lab.queue()
    spec = make_spec().model_copy(update={"after": [first]})
    lab.storage.save_spec(last := new_job_id(), spec)
    lab.claims.create(last, spec)
    lab.recovery.sweep()
    claim = lab.claims.claim("me")
    assert claim.job_id == first
    lab.redis.flushdb()
    lab.recovery.reconcile()
    lab.recovery.sweep()
    claim = lab.claims.claim("me")
    assert claim.job_id == first
    assert lab.claims.claim("me") is None
    lab.claims.finish_job(claim, lab.end(first, claim))
    lab.recovery.sweep()
    assert lab.claims.claim("me").job_id == last


def test_a_blocked_job_begins_if_the_job_before_it_is_gone(lab: RecoveryLab) -> None:
    spec = make_spec().model_copy(update={"after": [new_job_id()]})
    lab.claims.create(last := new_job_id(), spec)
    lab.recovery.sweep()
    assert lab.claims.claim("me").job_id == last


def test_three_of_many_workers_run_the_recovery_and_another_replaces_a_dead_one(lab: RecoveryLab) -> None:
    def keep(owner: str, seconds: float = 0.3) -> bool:
        return Locks(lab.redis_client).keep_place("test", owner, places=3, seconds=seconds)

    assert [keep(owner) for owner in "abcde"] == [True, True, True, False, False]
    assert [keep(owner, 30) for owner in "ab"] == [True, True]
    time.sleep(0.35)  # c does not keep its place
    assert [keep(owner) for owner in "abd"] == [True, True, True]
    assert not keep("e")


def test_a_worker_without_a_place_does_not_run_the_recovery_until_one_is_free(
    lab: RecoveryLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = threading.Event()
    monkeypatch.setattr(Recovery, "sweep", lambda _: swept.set())
    for other in "abc":
        assert Locks(lab.redis_client).keep_place("sweep", other, places=3, seconds=1.5)
    threads = RecoveryThreads(lab.recovery)
    threads.start()
    try:
        assert not swept.wait(1)
        assert swept.wait(5)  # their places are free now
    finally:
        threads.stop()
