"""Old results are deleted, by age and by size of a tenant; those of audits are kept, whatever clients call theirs."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ulid import ULID

from archetype.contract.job import State, now
from archetype.contract.request import Audit
from deploy.local import Stack
from shared.audits.searches import StoredSearches
from shared.errors import Unavailable
from shared.history.history import History
from shared.history.job_list import JobList
from shared.history.segments import Segments
from shared.lifecycle.finish import to_finished
from shared.lifecycle.retention import expire, expire_old
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.jobs import make_spec
from tests.support.redis_servers import filled, run_redis

SIZE = 10_000

Place = Callable[..., str]


@pytest.fixture
def storage(stack: Stack) -> Iterator[JobStore]:
    """A store in an empty bucket."""
    bucket = Bucket(stack.settings.model_copy(update={"s3_bucket": "retention-tests"}))
    bucket.create()
    yield JobStore(bucket)
    for key in list(bucket.keys("")):
        bucket.delete(key)


@pytest.fixture
def place(storage: JobStore, job_index: JobIndex) -> Place:
    """A function that stores a job that ended some days ago, with ten kilobytes of artifacts; it waited some days."""

    def place_result(days: float, **changes: Any) -> str:
        manifest = store_result(storage, days, **changes)
        job_index.save_finished(manifest)
        return manifest.job.id

    return place_result


def store_result(
    storage: JobStore,
    days: float,
    *,
    tenant: str = "default",
    mark: bool | None = False,
    waited: float = 0,
    **request: object,
) -> Manifest:
    job_id = str(ULID.from_datetime(now() - timedelta(days=days + waited))).lower()
    spec = make_spec(**request).model_copy(update={"tenant": tenant, "in_audit": mark})
    storage.save_spec(job_id, spec)
    storage.save_artifact(job_id, 1, "a.png", bytes(SIZE), media_type="image/png")
    ended = now() - timedelta(days=days)
    finished = to_finished(spec.job(job_id), State.SUCCEEDED).model_copy(update={"finished_at": ended})
    manifest = Manifest(job=finished, fence=1)
    storage.save_manifest(manifest)
    storage.close(job_id)
    return manifest


def test_the_retention_time_begins_when_a_job_ends(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings
) -> None:
    waited, old = place(20, waited=20), place(31, waited=20)
    assert expire(storage, job_list, settings) == [old]
    assert storage.load_manifest(waited)
    assert not storage.has_expired(waited, "default")
    a_day = settings.model_copy(update={"retention_seconds": 86_400})
    assert expire(storage, job_list, a_day) == [waited]


def test_a_result_without_the_time_of_its_end_expires_by_its_acceptance(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings
) -> None:
    old, fresh = (place(days) for days in (40, 20))
    for job_id in (old, fresh):
        manifest = storage.load_manifest(job_id)
        assert manifest is not None
        accepted = now() - timedelta(days=40 if job_id == old else 20)
        job = manifest.job.model_copy(update={"finished_at": None, "created_at": accepted})
        storage.save_manifest(manifest.model_copy(update={"job": job}))
    assert expire(storage, job_list, settings) == [old]
    assert storage.load_manifest(fresh)


def test_stored_searches_expire_as_results_do(storage: JobStore, job_list: JobList, settings: Settings) -> None:
    searches = StoredSearches(storage.bucket, "default")
    searches.save("a baseline", b"{}")
    expire(storage, job_list, settings)
    assert searches.find("a baseline") == b"{}"
    expire(storage, job_list, settings.model_copy(update={"retention_seconds": -60}))
    assert searches.find("a baseline") is None


def test_a_tag_does_not_keep_a_result(place: Place, storage: JobStore, job_list: JobList, settings: Settings) -> None:
    tagged, member, audit = place(40, tags=["audit"]), place(40, mark=True), place(40, mark=True, method="audit")
    assert expire(storage, job_list, settings) == [tagged]
    assert all(storage.load_manifest(job_id) for job_id in (member, audit))


def test_a_tenant_that_stores_too_much_loses_its_own_results_only(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings
) -> None:
    hers = place(6, tenant="alice")
    kept = [place(5, tenant="mallory", mark=True, method="audit") for _ in range(3)]
    oldest, newest = place(4, tenant="mallory", tags=["audit"]), place(1, tenant="mallory", tags=["audit"])
    limited = settings.model_copy(update={"retention_bytes": 25_000})
    assert expire(storage, job_list, limited) == [oldest, newest]
    assert all(storage.load_manifest(job_id) for job_id in (hers, *kept))


def test_the_maximum_of_one_tenant_deletes_its_oldest_results(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings
) -> None:
    first, _, hers = (place(3, tenant="mallory"), place(2, tenant="mallory"), place(9, tenant="alice"))
    limited = settings.model_copy(update={"tenant_retention_bytes": 15_000})
    assert expire(storage, job_list, limited) == [first]
    assert storage.load_manifest(hers)


@pytest.fixture
def calls(storage: JobStore) -> list[str]:
    """The operations of the store that are called."""
    made: list[str] = []
    client = storage.bucket._client
    client.meta.events.register("before-send.s3", lambda event_name, **_: made.append(event_name.rpartition(".")[2]))
    return made


def test_a_search_for_old_results_lists_no_objects_of_young_ones(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings, calls: list[str]
) -> None:
    for _ in range(12):
        place(1)
    calls.clear()
    assert expire_old(storage, job_list, settings, set()) == []
    assert calls == ["ListObjectsV2"]


def test_the_objects_of_an_old_result_are_deleted_in_batches(
    place: Place, storage: JobStore, job_index: JobIndex, job_list: JobList, settings: Settings, calls: list[str]
) -> None:
    old, young = place(40), place(1)
    for number in range(100):
        storage.save_artifact(old, 1, f"{number}.png", b"a", media_type="image/png")
    calls.clear()
    assert expire_old(storage, job_list, settings, set()) == [old]
    assert list(storage.bucket.keys(f"jobs/{old}/")) == []
    assert storage.load_manifest(young)
    assert storage.has_expired(old, "default")
    assert job_index.find(old) is None
    assert len(calls) < 20


def test_results_of_audits_are_read_once_by_the_search_for_old_results(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings, calls: list[str]
) -> None:
    kept, member, audit = set[str](), place(41, mark=True), place(40, mark=True, method="audit")
    earlier = place(40, mark=None, tags=["audit"])
    assert expire_old(storage, job_list, settings, kept) == []
    assert kept == {member, audit, earlier}
    calls.clear()
    assert expire_old(storage, job_list, settings, kept) == []
    assert calls == ["ListObjectsV2"]


@pytest.mark.parametrize("search", [expire, lambda *arguments: expire_old(*arguments, set())])
def test_a_manifest_that_cannot_be_read_stops_no_other_deletion(
    place: Place,
    storage: JobStore,
    job_list: JobList,
    settings: Settings,
    search: Callable[[JobStore, JobList, Settings], list[str]],
) -> None:
    damaged, old = place(41), place(40)
    storage.bucket.put(f"jobs/{damaged}/manifests/2.json", b"{}", media_type="application/json")
    assert search(storage, job_list, settings) == [old]
    assert storage.load_manifest(damaged, 1)


@pytest.mark.parametrize("search", [expire, lambda *arguments: expire_old(*arguments, set())])
def test_old_results_are_deleted_although_the_memory_of_redis_is_full(
    storage: JobStore,
    settings: Settings,
    tmp_path: Path,
    search: Callable[[JobStore, JobList, Settings], list[str]],
) -> None:
    with run_redis(tmp_path) as (url, _):
        redis_client = RedisClient(settings.model_copy(update={"redis_url": url}))
        job_index = JobIndex(redis_client)
        job_list = JobList(job_index, History(Segments(storage.bucket), Locks(redis_client)))
        known, unknown, young = (store_result(storage, days) for days in (42, 41, 1))
        for manifest in (known, young):
            job_index.save_finished(manifest)
        with filled(url):
            assert search(storage, job_list, settings) == [known.job.id, unknown.job.id]
            assert job_index.find(known.job.id) is None
        assert job_index.find(young.job.id) is not None


def make_audit(members: dict[str, str]) -> dict[str, object]:
    audit = Audit(model="shapes@1", plan={"name": "nightly"}, baselines=[], members=members, tags=["audit"])  # type: ignore[arg-type]
    return audit.model_dump(mode="json")


def test_members_of_audits_of_an_earlier_version_are_found_by_the_records_of_the_audits(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings
) -> None:
    earlier = {"mark": None, "tags": ["audit"]}
    tagged = place(43, **earlier)
    recorded, listed, repeated = (place(days, **earlier) for days in (42, 41, 40.5))
    audit = place(40, mark=None, **make_audit({"subject/class_models": recorded}))
    place(40, mark=None, **make_audit({"subject/class_models": repeated}))  # it was run again: no record names it
    storage.save_audit_id("default", "digest", audit)
    storage.save_member_id("default", "digest", listed)
    assert expire(storage, job_list, settings) == [tagged]
    assert all(storage.load_manifest(job_id) for job_id in (recorded, listed, repeated))


def test_a_request_that_cannot_be_read_for_a_while_does_not_delete_a_member_of_an_audit(
    place: Place, storage: JobStore, job_list: JobList, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = place(40, mark=True)
    monkeypatch.setattr(JobStore, "load_spec", lambda *_: (_ for _ in ()).throw(Unavailable("away")))
    with pytest.raises(Unavailable):
        expire(storage, job_list, settings)
    monkeypatch.undo()
    assert expire(storage, job_list, settings) == []
    newer = storage.bucket.get(f"jobs/{member}/request.json").replace(b'"format":2', b'"format":99')
    storage.bucket.put(f"jobs/{member}/request.json", newer, media_type="application/json")
    assert expire(storage, job_list, settings) == []


def test_jobs_that_may_be_members_are_kept_until_redis_knows_all_audits(
    place: Place,
    storage: JobStore,
    job_index: JobIndex,
    job_list: JobList,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tagged, old = place(41, mark=None, tags=["audit"]), place(40)
    for job_id in (tagged, old):
        manifest = storage.load_manifest(job_id)
        assert manifest is not None
        job_index.delete(manifest.job)
    monkeypatch.setattr("shared.lifecycle.retention.MAX_REINDEXED", 1)
    assert expire(storage, job_list, settings) == [old]
    assert expire(storage, job_list, settings) == [tagged]
