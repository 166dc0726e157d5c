"""Manifests at hand: the store is asked once, and what was deleted is gone."""

import dataclasses

import pytest

from api import manifests
from api.lookup import find_job
from api.manifests import Manifests
from api.services import connect
from deploy.local import Stack
from shared.bucket import Bucket, Missing
from shared.client import Client
from shared.jobs import Artifact, Manifest, State, new_job_id, now
from shared.methods import ClassModel
from shared.parameters.class_model import ClassModelParameters
from shared.records import Records
from shared.storage import Storage
from tests.orders import make_order


@pytest.fixture
def storage(stack: Stack) -> Storage:
    return Storage(Bucket(stack.settings))


def save(storage: Storage, count: int = 1) -> Manifest:
    artifacts = [Artifact(name=f"{n}.png", media_type="image/png", bytes=1, sha256="", href="") for n in range(count)]
    ended = {"state": State.SUCCEEDED, "finished_at": now(), "artifacts": artifacts}
    job = make_order().job(new_job_id()).model_copy(update=ended)
    manifest = Manifest(job=job, fence=7)
    storage.save_manifest(manifest)
    return manifest


def test_the_store_is_asked_once(storage: Storage) -> None:
    kept, saved = Manifests(storage), save(storage)
    assert kept.get(saved.job.id, 7) == saved
    storage.delete_job(saved.job.id)
    assert kept.get(saved.job.id, 7) == saved


def test_another_attempt_is_another_manifest(storage: Storage) -> None:
    kept, saved = Manifests(storage), save(storage)
    kept.get(saved.job.id, 7)
    with pytest.raises(Missing):
        kept.get(saved.job.id, 8)


def test_no_more_is_kept_than_fits(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MOST_ARTEFACTS", 5)
    kept = Manifests(storage)
    first, second, large = save(storage, 2), save(storage, 2), save(storage, 9)
    for one in (first, second, large):
        assert kept.get(one.job.id, 7) == one
        storage.delete_job(one.job.id)
    with pytest.raises(Missing):
        kept.get(first.job.id, 7)
    with pytest.raises(Missing):
        kept.get(large.job.id, 7)
    assert kept.get(second.job.id, 7) == second


class Early(Records):
    """Somebody who asks for the manifest of a job just before it ends."""

    asked = 0

    def find_manifest(self, job_id: str) -> int:
        self.asked += 1
        return 0 if self.asked == 1 else super().find_manifest(job_id)


def test_a_job_that_ends_while_it_is_looked_for_is_shown_whole(stack: Stack, client: Client) -> None:
    request = ClassModel(method="class_model", model="shapes", targets=["lemon"], params=ClassModelParameters(steps=1))
    job = client.wait(client.submit(request).id, timeout=60)
    here = dataclasses.replace(connect(stack.settings), records=Early(stack.settings))
    assert find_job(job.id, "default", here) == job
