"""The lists of artifacts of large jobs come in pages: over HTTP, in the client and on the page."""

import re

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.job import Artifact, Job, Progress, State, TargetClass, now
from deploy.local import Stack
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.jobs import make_spec

COUNT = 2345


def finish_large_job(stack: Stack, count: int = COUNT) -> Job:
    """Stores a job that has ended with so many artifacts of images, and two of the whole job at the end."""
    job_id, spec = new_job_id(), make_spec(method="saliency", images=["0" * 64], params={})
    path = f"/v1/jobs/{job_id}/artifacts"

    def make_artifact(name: str, **about: object) -> Artifact:
        fields = {"media_type": "image/png", "bytes": 1, "sha256": "0" * 64, "href": f"{path}/{name}"}
        return Artifact.model_validate({"name": name, **fields, **about})

    target = TargetClass(index=0, name="lemon")
    artifacts = [make_artifact(f"{number:05}.png", target=target, image=f"{number:064x}") for number in range(count)]
    artifacts += [make_artifact("contact-sheet.png"), make_artifact("metrics.json")]
    ended = {"state": State.SUCCEEDED, "finished_at": now(), "progress": Progress(done=1, total=1)}
    job = spec.job(job_id).model_copy(update={**ended, "artifacts": artifacts})
    manifest = Manifest(job=job, fence=1, keys={artifact.name: f"jobs/{job_id}/none" for artifact in artifacts})
    storage = JobStore(Bucket(stack.settings))
    storage.save_spec(job_id, spec)
    storage.save_manifest(manifest)
    storage.close(job_id)
    JobIndex(RedisClient(stack.settings)).save_finished(manifest)
    return job


def order(job: Job) -> list[str]:
    """The names in the order of the list: those of the whole job first."""
    names = [artifact.name for artifact in job.artifacts]
    return names[-2:] + names[:-2]


def test_the_document_of_a_large_job_has_a_thousand_artifacts_and_a_link_to_all(
    http: httpx2.Client, stack: Stack
) -> None:
    job = finish_large_job(stack)
    document = http.get(f"/v1/jobs/{job.id}").json()
    assert [artifact["name"] for artifact in document["artifacts"]] == order(job)[:1000]
    assert document["links"]["all_artifacts"] == f"/v1/jobs/{job.id}/artifacts"


def test_the_document_of_a_small_job_has_all_artifacts_in_the_order_of_the_job(
    http: httpx2.Client, stack: Stack
) -> None:
    job = finish_large_job(stack, 998)
    document = http.get(f"/v1/jobs/{job.id}").json()
    assert [artifact["name"] for artifact in document["artifacts"]] == [artifact.name for artifact in job.artifacts]
    assert "all_artifacts" not in document["links"]


def test_the_list_of_artifacts_has_every_artifact_once_in_pages_that_link_to_the_next(
    http: httpx2.Client, stack: Stack
) -> None:
    job = finish_large_job(stack)
    path, names, sizes = f"/v1/jobs/{job.id}/artifacts?limit=1000", [], []
    while path:
        answer = http.get(path)
        assert answer.status_code == 200
        sizes.append(len(answer.json()["items"]))
        names += [artifact["name"] for artifact in answer.json()["items"]]
        following = re.match(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        assert (following is None) == (answer.json()["next_cursor"] is None)
        path = following[1] if following else ""
    assert sizes == [1000, 1000, 347]
    assert names == order(job)


@pytest.mark.parametrize("query", ["limit=1001", "limit=0", "cursor=x", "cursor=LTE=", "page=2"])
def test_a_page_that_cannot_be_is_refused(http: httpx2.Client, stack: Stack, query: str) -> None:
    job = finish_large_job(stack, 3)
    assert http.get(f"/v1/jobs/{job.id}/artifacts?{query}").status_code == 422


def test_the_client_yields_all_artifacts_of_large_and_small_jobs(client: Client, stack: Stack) -> None:
    for count in (COUNT, 3):
        job = finish_large_job(stack, count)
        names = [artifact.name for artifact in client.artifacts(client.job(job.id))]
        assert sorted(names) == sorted(order(job))


def test_the_page_of_a_large_job_shows_its_results_in_pages(http: httpx2.Client, stack: Stack) -> None:
    job = finish_large_job(stack, 450)
    pages = [http.get(f"/jobs/{job.id}?page={number}").text for number in (1, 2, 3)]
    assert [page.count("gallery-item") for page in pages] == [200, 200, 50]
    assert ["More results" in page for page in pages] == [True, True, False]
    assert ["Previous results" in page for page in pages] == [False, True, True]
    assert all(f"Page {number} of 3" in page for number, page in enumerate(pages, 1))
