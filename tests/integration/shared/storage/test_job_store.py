"""What is stored of jobs, on a real S3 server."""

from archetype.contract.job import State
from shared.state.job_ids import new_job_id
from shared.storage.documents import JobSpec, Manifest, ShardResult
from shared.storage.job_store import JobStore
from tests.support.jobs import make_spec


def manifest(job_id: str, state: State, fence: int, **keys: str) -> Manifest:
    job = make_spec(method="saliency").job(job_id).model_copy(update={"state": state})
    return Manifest(job=job, fence=fence, keys=keys)


def test_a_spec_is_stored_and_its_job_is_open_until_it_is_closed(storage: JobStore) -> None:
    spec = make_spec(shards=(3, 2), tags=["night"])
    storage.save_spec(job_id := new_job_id(), spec)
    assert JobSpec.model_validate_json(storage.load_spec(job_id)) == spec
    assert job_id in storage.list_open()
    storage.close(job_id)
    assert job_id not in storage.list_open()


def test_the_manifest_with_the_highest_fence_counts(storage: JobStore) -> None:
    job_id = new_job_id()
    assert storage.load_manifest(job_id) is None
    storage.save_manifest(manifest(job_id, State.SUCCEEDED, 100))
    storage.save_manifest(manifest(job_id, State.FAILED, 99))  # by a worker that was paused and has lost its claim
    assert storage.load_manifest(job_id).fence == 100
    assert storage.load_manifest(job_id, 99).job.state is State.FAILED


def test_the_checkpoint_and_the_shard_result_with_the_highest_fence_count(storage: JobStore) -> None:
    job_id = new_job_id()
    assert (storage.load_checkpoint(job_id, 1), storage.load_shard_result(job_id, 1)) == (None, None)
    for fence in (9, 10):
        storage.save_checkpoint(job_id, 1, fence, b"%d" % fence)
        storage.save_shard_result(job_id, 1, fence, ShardResult(metrics={"fence": fence}))
    assert (storage.load_checkpoint(job_id, 1), storage.load_shard_result(job_id, 1).metrics) == (b"10", {"fence": 10})
    storage.save_artifact(job_id, 77, "12345.png", b"png", media_type="image/png")
    assert storage.highest_fence(job_id) == 77


def test_ids_are_found_under_idempotency_keys_and_digests_of_audits_and_members(storage: JobStore) -> None:
    assert storage.find_idempotency_key("default", "a key") is None
    storage.save_idempotency_key("default", "a key", "a job")
    storage.save_audit_id("default", "digest", "an audit")
    storage.save_member_id("default", "digest", "a member")
    assert storage.find_idempotency_key("default", "a key") == "a job"
    assert storage.find_audit_id("default", "digest") == "an audit"
    assert storage.find_member_id("default", "digest") == "a member"
    assert storage.find_member_id("other", "digest") is None


def test_a_deleted_job_leaves_nothing_and_an_expired_one_leaves_a_mark(storage: JobStore) -> None:
    for remove in (storage.delete_job, storage.expire_job):
        job_id = new_job_id()
        key = storage.save_artifact(job_id, 4, "a.png", b"png", media_type="image/png")
        storage.save_manifest(manifest(job_id, State.SUCCEEDED, 4, **{"a.png": key}))
        remove(job_id)
        assert list(storage.bucket.keys(f"jobs/{job_id}/")) == []
        assert storage.has_expired(job_id, "default") is (remove == storage.expire_job)
