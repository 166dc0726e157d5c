"""The cache of manifests: each is read once, and a deleted one is not found."""

import dataclasses

import pytest

from api.adapters import manifest_cache
from api.adapters.manifest_cache import ManifestCache
from api.dependencies import connect
from api.services.find_job import find_job
from archetype.client import Client
from archetype.contract.job import Artifact, State, now
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.local import Stack
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket, Missing
from tests.support.jobs import make_spec


@pytest.fixture
def storage(stack: Stack) -> JobStore:
    return JobStore(Bucket(stack.settings))


def save(storage: JobStore, count: int = 1) -> Manifest:
    artifacts = [Artifact(name=f"{n}.png", media_type="image/png", bytes=1, sha256="", href="") for n in range(count)]
    ended = {"state": State.SUCCEEDED, "finished_at": now(), "artifacts": artifacts}
    job = make_spec().job(new_job_id()).model_copy(update=ended)
    manifest = Manifest(job=job, fence=7)
    storage.save_manifest(manifest)
    return manifest


def test_a_cached_manifest_is_read_from_the_store_once(storage: JobStore) -> None:
    cache, saved = ManifestCache(storage), save(storage)
    assert cache.get(saved.job.id, 7) == saved
    storage.delete_job(saved.job.id)
    assert cache.get(saved.job.id, 7) == saved


def test_the_manifest_of_another_attempt_is_not_served_from_the_cache(storage: JobStore) -> None:
    cache, saved = ManifestCache(storage), save(storage)
    cache.get(saved.job.id, 7)
    with pytest.raises(Missing):
        cache.get(saved.job.id, 8)


def test_the_manifest_cache_drops_the_oldest_and_never_keeps_a_too_large_manifest(
    storage: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_cache, "MAX_ARTIFACTS", 5)
    cache = ManifestCache(storage)
    first, second, large = save(storage, 2), save(storage, 2), save(storage, 9)
    for manifest in (first, second, large):
        assert cache.get(manifest.job.id, 7) == manifest
        storage.delete_job(manifest.job.id)
    with pytest.raises(Missing):
        cache.get(first.job.id, 7)
    with pytest.raises(Missing):
        cache.get(large.job.id, 7)
    assert cache.get(second.job.id, 7) == second


class EarlyIndex(JobIndex):
    """An index that does not know the manifest at the first read, as just before the end of a job."""

    reads = 0

    def find_manifest(self, job_id: str) -> int:
        self.reads += 1
        return 0 if self.reads == 1 else super().find_manifest_fence(job_id)


def test_a_job_that_ends_while_it_is_read_is_returned_with_its_artifacts(stack: Stack, client: Client) -> None:
    request = ClassModel(method="class_model", model="shapes", targets=["lemon"], params=ClassModelParameters(steps=1))
    job = client.wait(client.submit(request).id, timeout=400)
    services = dataclasses.replace(connect(stack.settings), job_index=EarlyIndex(RedisClient(stack.settings)))
    assert find_job(job.id, "default", services) == job
