"""Records and lists of jobs, in a real Redis."""

import time

from archetype.contract.job import Job, State
from shared.queue.claims import Claims
from shared.state.job_index import JobIndex
from shared.storage.documents import Manifest
from tests.support.jobs import make_spec, place


def finish(claims: Claims, job: Job, state: State = State.SUCCEEDED) -> Manifest:
    claim = claims.claim("me")
    manifest = Manifest(job=job.model_copy(update={"state": state}), fence=claim.fence)
    claims.finish_job(claim, manifest)
    return manifest


def test_the_record_of_a_finished_job_is_rebuilt_from_its_manifest(job_index: JobIndex, claims: Claims) -> None:
    manifest = finish(claims, job := place(claims, tags=["night"]))
    record = job_index.find(job.id)
    job_index.delete(manifest.job)
    assert job_index.find(job.id) is None
    job_index.save_finished(manifest)
    assert job_index.find(job.id).model_copy(update={"finished_at": None}) == manifest.job
    assert record.state is State.SUCCEEDED
    assert job_index.find_manifest_fence(job.id) == manifest.fence
    assert [listed.id for listed in job_index.page("default", filters={"tag": "night"}, limit=5, after=None)[0]] == [
        job.id
    ]


def test_queued_and_running_jobs_are_listed_as_unfinished(job_index: JobIndex, claims: Claims) -> None:
    first, second = place(claims), place(claims)
    claims.claim("me")
    assert set(job_index.unfinished()) == {first.id, second.id}


def test_an_existing_record_is_not_overwritten(job_index: JobIndex, claims: Claims) -> None:
    finish(claims, job := place(claims))
    assert claims.create(job.id, make_spec()) is False
    assert job_index.find(job.id).state is State.SUCCEEDED


def test_jobs_are_listed_newest_first_page_by_page(job_index: JobIndex, claims: Claims) -> None:
    ids = []
    for _ in range(23):
        ids.append(place(claims, tags=["night"]).id)
        time.sleep(0.002)
    listed, after = [], None
    while True:
        page, after = job_index.page("default", filters={}, limit=10, after=after)
        listed += [job.id for job in page]
        if after is None:
            break
    assert listed == ids[::-1]


def test_a_page_contains_only_jobs_that_match_all_filters(job_index: JobIndex, claims: Claims) -> None:
    match = place(claims, method="saliency", tags=["a", "b"])
    place(claims, method="saliency", tags=["b"])
    place(claims, tags=["a"])
    filters = {"method": "saliency", "tag": "a", "model": "shapes", "state": "queued"}
    assert [job.id for job in job_index.page("default", filters=filters, limit=5, after=None)[0]] == [match.id]
    claims.claim("me")
    assert job_index.page("default", filters=filters, limit=5, after=None) == ([], None)
    assert job_index.count(State.RUNNING) == 1


def test_a_deleted_job_is_in_no_list(job_index: JobIndex, claims: Claims) -> None:
    job = place(claims, tags=["night"])
    job_index.delete(finish(claims, job).job)
    assert job_index.find(job.id) is None
    for filters in ({}, {"tag": "night"}, {"state": "succeeded"}, {"model": "shapes@1"}):
        assert job_index.page("default", filters=filters, limit=5, after=None) == ([], None)
