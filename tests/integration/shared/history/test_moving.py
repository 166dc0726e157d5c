"""Ended jobs move from Redis into the history; lists do not change, whatever is interrupted, wiped or deleted."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from ulid import ULID

from archetype.contract.job import Job, State, now
from shared.errors import MemoryFull, Unavailable
from shared.history.history import History
from shared.history.job_list import JobList
from shared.history.segments import Segments
from shared.lifecycle.fill_history import fill_history
from shared.lifecycle.finish import to_finished
from shared.lifecycle.move_ended import move_ended
from shared.lifecycle.retention import expire, expire_old
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.job_ids import day_of, new_job_id
from shared.state.job_index import JobIndex
from shared.state.keys import key_of_history, key_of_stored
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.jobs import make_spec, place
from tests.support.redis_servers import filled, run_redis

TENANTS = ("alice", "bob")
STATES = (State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.CANCELLED)


class Interrupted(Exception):
    """The process is killed here."""


@pytest.fixture
def storage(settings: Settings) -> Iterator[JobStore]:
    """A store in an empty bucket."""
    bucket = Bucket(settings.model_copy(update={"s3_bucket": "history-tests"}))
    bucket.create()
    yield JobStore(bucket)
    bucket.delete_all(list(bucket.keys("")))


def make_ended(number: int, *, seconds: float = 3600, **changes: Any) -> Manifest:
    """A job that ended some seconds ago, one of a series over three days, with all kinds of properties."""
    created = now() - timedelta(seconds=seconds + number * 100)
    fields = {
        "tenant": TENANTS[number % 2],
        "method": ("class_model", "saliency", "audit")[number % 3],
        "model": f"net{number % 4}@{number % 3}",
        "tags": ["night"] * (number % 5 == 0) + [f"build-{number}"],
        "webhook": "https://example.org/é\u2028" if number % 7 == 0 else None,
    } | changes
    job_id = str(ULID.from_datetime(created)).lower()
    job = make_spec(**fields).job(job_id).model_copy(update={"created_at": created, "attempt": number % 3})
    state = STATES[number % 4]
    problem = MemoryFull("no room\nhere") if state is State.FAILED else None
    done = to_finished(job, state, problem=problem)
    ended = {"finished_at": now() - timedelta(seconds=seconds), "started_at": created if number % 2 else None}
    return Manifest(job=done.model_copy(update=ended), fence=number + 1)


def store(manifests: list[Manifest], storage: JobStore, job_index: JobIndex) -> None:
    """Stores manifests and records as workers leave them."""
    for manifest in manifests:
        storage.save_manifest(manifest)
        job_index.save_finished(manifest)


def list_all(job_list: JobList, tenant: str, limit: int = 200, **filters: str) -> list[Job]:
    """All jobs of a list, page by page."""
    jobs: list[Job] = []
    after: str | None = None
    while True:
        page, after = job_list.page(tenant, filters=filters, limit=limit, after=after)
        assert len(page) <= limit
        jobs += page
        if after is None:
            return jobs


FILTERS: list[dict[str, str]] = [
    {},
    {"state": "failed"},
    {"state": "running"},
    {"method": "saliency", "state": "succeeded"},
    {"model": "net1"},
    {"model": "net1@1"},
    {"tag": "night"},
    {"tag": "build-1201"},
    {"tag": "night", "model": "net0", "state": "succeeded"},
    {"tag": "unknown"},
]


def list_everything(job_list: JobList) -> dict[str, list[Job]]:
    """All lists of all tenants, with all filters."""
    return {f"{tenant} {filters}": list_all(job_list, tenant, **filters) for tenant in TENANTS for filters in FILTERS}


def read_keys(settings: Settings) -> list[str]:
    """The keys in Redis that grow with the number of jobs."""
    server = redis.Redis.from_url(settings.redis_url, decode_responses=True)
    return [name for name in server.keys("archetype:*") if name.split(":")[1] in ("job", "list", "state", "share")]


def test_lists_are_the_same_after_thousands_of_jobs_were_moved_and_redis_has_no_key_of_them(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    manifests = [make_ended(number) for number in range(2100)]
    for manifest in manifests:
        job_index.save_finished(manifest)
    before = list_everything(job_list)
    assert move_ended(storage, job_list, settings) == 2100
    assert not read_keys(settings)
    assert list_everything(job_list) == before
    assert sum(len(before[f"{tenant} {{}}"]) for tenant in TENANTS) == 2100
    assert [job_index.count(state) for state in (State.SUCCEEDED, State.FAILED)] == [1050, 525]
    for manifest in manifests[::700]:
        assert job_list.find(manifest.job.tenant, manifest.job.id) is not None
        other = next(tenant for tenant in TENANTS if tenant != manifest.job.tenant)
        assert job_list.find(other, manifest.job.id) is None


def test_pages_continue_across_the_boundary_while_jobs_are_moved(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings, claims: Claims
) -> None:
    ended = [make_ended(number, tenant="alice") for number in range(30)]
    store(ended, storage, job_index)
    live = [place(claims, str(ULID.from_datetime(each.job.created_at)).lower(), tenant="alice") for each in ended[::5]]
    expected = sorted([*(job.id for job in live), *(each.job.id for each in ended)], reverse=True)
    first, after = job_list.page("alice", filters={}, limit=7, after=None)
    move_ended(storage, job_list, settings)
    found = [job.id for job in first]
    while after is not None:
        page, after = job_list.page("alice", filters={}, limit=7, after=after)
        found += [job.id for job in page]
    assert found == expected


def test_a_job_is_moved_some_minutes_after_it_ended_unless_it_is_needed(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    fresh, old, needed = make_ended(0, seconds=200), make_ended(2, seconds=400), make_ended(4, seconds=400)
    store([fresh, old, needed], storage, job_index)
    assert move_ended(storage, job_list, settings, needed={needed.job.id}) == 1
    assert [job_index.find(each.job.id) is None for each in (fresh, old, needed)] == [False, True, False]


def test_a_job_without_a_manifest_stays_in_redis(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    job_index.save_finished(make_ended(0).model_copy(update={"fence": 0}))
    assert move_ended(storage, job_list, settings) == 0


def test_a_move_that_is_interrupted_anywhere_is_made_again_and_no_job_is_lost_or_doubled(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [make_ended(number) for number in range(40)]
    store(manifests, storage, job_index)
    before = list_everything(job_list)

    def die(*_: object, **__: object) -> None:
        raise Interrupted

    places = [
        (Segments, "write_rows"),
        (Segments, "replace_day"),
        (Segments, "delete_rows"),
        (JobIndex, "forget_moved"),
    ]
    for owner, name in places:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
            with pytest.raises(Interrupted):
                move_ended(storage, job_list, settings)
        assert list_everything(job_list) == before, name
    move_ended(storage, job_list, settings)
    store(manifests, storage, job_index)
    move_ended(storage, job_list, settings)
    assert list_everything(job_list) == before
    assert not read_keys(settings)
    written = set(storage.bucket.keys("history/"))
    job_list.history.delete_unnamed(now() + timedelta(seconds=5))
    assert len(written) > len(set(storage.bucket.keys("history/"))) == 2 * len(list_days(job_list))
    assert list_everything(job_list) == before


def list_days(job_list: JobList) -> list[str]:
    segments = job_list.history._segments
    return [day for tenant in segments.list_tenants() for day, _ in segments.list_days(tenant)]


def test_jobs_that_had_not_been_moved_when_redis_was_wiped_are_added_from_their_manifests(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    moved, lost = [make_ended(number) for number in range(20)], [make_ended(number, seconds=9) for number in range(20)]
    store([*moved, *lost], storage, job_index)
    before = list_everything(job_list)
    move_ended(storage, job_list, settings)
    redis.Redis.from_url(settings.redis_url).flushdb()
    assert fill_history(storage, job_list) == 20
    assert list_everything(job_list) == before
    assert not read_keys(settings)
    assert fill_history(storage, job_list) == 0


def test_a_store_of_an_earlier_version_gets_a_history(
    storage: JobStore, job_list: JobList, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.lifecycle.fill_history.CHUNK", 7)
    monkeypatch.setattr("shared.lifecycle.fill_history.MAX_ADDED", 10)
    manifests = [make_ended(number, seconds=300_000) for number in range(30)]
    for manifest in manifests:
        storage.save_manifest(manifest)
    storage.save_spec(new_job_id(), make_spec())
    added = [fill_history(storage, job_list) for _ in range(4)]
    assert added == [14, 14, 2, 0]
    listed = {job.id for tenant in TENANTS for job in list_all(job_list, tenant)}
    assert listed == {manifest.job.id for manifest in manifests}


def test_a_deleted_job_leaves_all_lists_and_the_counts(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    store([make_ended(number, tenant="alice") for number in range(9)], storage, job_index)
    move_ended(storage, job_list, settings)
    jobs = list_all(job_list, "alice")
    job_list.delete(jobs[2:4])
    job_list.delete(jobs[2:4])
    assert list_all(job_list, "alice") == [*jobs[:2], *jobs[4:]]
    assert [job_list.find("alice", job.id) for job in (jobs[2], jobs[4])] == [None, jobs[4]]
    assert job_list.find("alice", new_job_id()) is None
    assert sum(job_index.count(state) for state in State) == 7
    job_list.delete(jobs)
    assert not list(storage.bucket.keys("history/"))


def test_a_job_that_is_deleted_while_it_is_moved_is_not_listed(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [make_ended(number, tenant="alice") for number in range(2)]
    store(manifests, storage, job_index)
    add = History.add

    def delete_first(history: History, *arguments: Any) -> None:
        storage.delete_job(manifests[0].job.id)
        job_list.delete([manifests[0].job])
        add(history, *arguments)

    monkeypatch.setattr(History, "add", delete_first)
    move_ended(storage, job_list, settings)
    assert [job.id for job in list_all(job_list, "alice")] == [manifests[1].job.id]


def test_retention_removes_moved_jobs_from_lists_and_from_the_stored_bytes(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    old, new = [make_ended(number, seconds=40 * 86_400) for number in range(6)], make_ended(6)
    store([*old, new], storage, job_index)
    for manifest in [*old, new]:
        storage.save_spec(manifest.job.id, make_spec().model_copy(update={"in_audit": False}))
    move_ended(storage, job_list, settings)
    audits = {manifest.job.id for manifest in old if manifest.job.method == "audit"}
    assert set(expire_old(storage, job_list, settings, set())) == {each.job.id for each in old} - audits
    assert {job.id for tenant in TENANTS for job in list_all(job_list, tenant)} == audits | {new.job.id}


def test_the_hourly_count_removes_rows_of_deleted_jobs_and_corrects_the_numbers(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    manifests = [make_ended(number, tenant="alice") for number in range(5)]
    store(manifests, storage, job_index)
    move_ended(storage, job_list, settings)
    storage.delete_job(manifests[0].job.id)  # a deletion that was interrupted here
    server = redis.Redis.from_url(settings.redis_url)
    server.set(key_of_history(State.FAILED), 99)
    expire(storage, job_list, settings)
    assert {job.id for job in list_all(job_list, "alice")} == {manifest.job.id for manifest in manifests[1:]}
    assert sum(job_index.count(state) for state in State) == 4
    assert int(server.get(key_of_stored("alice")) or 0) > 0


def test_processes_see_the_changes_of_others_and_wait_for_each_other(
    storage: JobStore, job_list: JobList, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = JobList(job_list.job_index, History(Segments(storage.bucket), locks))
    ended = [make_ended(number, tenant="alice", seconds=5) for number in range(2)]
    store(ended, storage, job_list.job_index)
    assert list_all(other, "alice") == list_all(job_list, "alice")
    move_ended(storage, job_list, Settings(history_seconds=0))
    assert len(list_all(other, "alice")) == 2
    other.delete([ended[0].job])
    assert [job.id for job in list_all(job_list, "alice")] == [ended[1].job.id]
    monkeypatch.setattr("shared.history.history.LOCK_WAIT_SECONDS", 0.1)
    with locks.try_lock(f"history:alice:{day_of(ended[1].job.id)}", 5), pytest.raises(Unavailable, match="is changing"):
        other.delete([ended[1].job])


def test_a_page_that_has_read_enough_objects_ends_early_and_the_cursor_continues(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.history.day.MAX_ROWS", 3)
    monkeypatch.setattr("shared.history.history.MAX_READS", 3)
    for number in range(40):
        job_index.save_finished(make_ended(number * 50, tenant="alice"))
    before = {str(filters): list_all(job_list, "alice", **filters) for filters in FILTERS}
    move_ended(storage, job_list, settings)
    started = JobList(job_index, History(Segments(storage.bucket), job_list.history._locks))
    page, after = started.page("alice", filters={}, limit=30, after=None)
    assert 0 < len(page) < 30
    assert after is not None
    for filters in FILTERS:
        started = JobList(job_index, History(Segments(storage.bucket), job_list.history._locks))
        assert list_all(started, "alice", limit=4, **filters) == before[str(filters)]


def test_a_segment_that_is_lost_hides_its_jobs_until_the_hourly_count(
    storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings
) -> None:
    store([make_ended(number, tenant="alice") for number in range(4)], storage, job_index)
    before = list_all(job_list, "alice")
    move_ended(storage, job_list, settings)
    storage.bucket.delete_all(list(storage.bucket.keys("history/alice/rows/")))
    assert list_all(job_list, "alice") == []
    expire(storage, job_list, settings)
    assert list_all(job_list, "alice") == before


def test_jobs_are_moved_and_deleted_although_the_memory_of_redis_is_full(
    storage: JobStore, settings: Settings, tmp_path: Path
) -> None:
    with run_redis(tmp_path) as (url, _):
        redis_client = RedisClient(settings.model_copy(update={"redis_url": url}))
        job_index = JobIndex(redis_client)
        job_list = JobList(job_index, History(Segments(storage.bucket), Locks(redis_client)))
        manifests = [make_ended(number, tenant="alice") for number in range(4)]
        store(manifests, storage, job_index)
        before = list_all(job_list, "alice")
        with filled(url):
            assert move_ended(storage, job_list, settings) == 4
            assert fill_history(storage, job_list) == 0
            assert list_all(job_list, "alice") == before
            job_list.delete([manifests[0].job])
        assert len(list_all(job_list, "alice")) == 3
        assert job_index.find(manifests[1].job.id) is None
