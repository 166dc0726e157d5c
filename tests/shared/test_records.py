"""Jobs as they stand, and lists of them, against a real Redis."""

import time

import pytest

from shared.claims import Claims
from shared.errors import Unavailable
from shared.jobs import Job, Manifest, State
from shared.records import Records
from shared.settings import Settings
from tests.orders import make_order, place


def end(claims: Claims, job: Job, state: State = State.SUCCEEDED) -> Manifest:
    claim = claims.claim("me")
    manifest = Manifest(job=job.model_copy(update={"state": state}), fence=claim.fence)
    claims.finish(claim, manifest)
    return manifest


def test_what_ended_is_remembered_as_it_was(records: Records, claims: Claims) -> None:
    manifest = end(claims, job := place(claims, tags=["night"]))
    found = records.find(job.id)
    records.delete(manifest.job)
    assert records.find(job.id) is None
    records.remember(manifest)
    assert records.find(job.id).model_copy(update={"finished_at": None}) == manifest.job
    assert found.state is State.SUCCEEDED
    assert records.find_manifest(job.id) == manifest.fence
    assert [listed.id for listed in records.page("default", filters={"tag": "night"}, limit=5, after=None)[0]] == [
        job.id
    ]


def test_what_is_unfinished_can_be_listed(records: Records, claims: Claims) -> None:
    first, second = place(claims), place(claims)
    claims.claim("me")
    assert set(records.unfinished()) == {first.id, second.id}


def test_tries_are_counted_until_one_goes_well(records: Records) -> None:
    assert [records.count_try("it"), records.count_try("it")] == [1, 2]
    records.forget_tries("it")
    assert records.count_try("it") == 1


def test_a_record_is_not_written_twice(records: Records, claims: Claims) -> None:
    end(claims, job := place(claims))
    assert claims.create(job.id, make_order()) is False
    assert records.find(job.id).state is State.SUCCEEDED


def test_jobs_are_listed_newest_first_page_by_page(records: Records, claims: Claims) -> None:
    ids = []
    for _ in range(23):
        ids.append(place(claims, tags=["night"]).id)
        time.sleep(0.002)
    seen, after = [], None
    while True:
        page, after = records.page("default", filters={}, limit=10, after=after)
        seen += [job.id for job in page]
        if after is None:
            break
    assert seen == ids[::-1]


def test_filters_are_combined(records: Records, claims: Claims) -> None:
    wanted = place(claims, method="saliency", tags=["a", "b"])
    place(claims, method="saliency", tags=["b"])
    place(claims, tags=["a"])
    filters = {"method": "saliency", "tag": "a", "model": "shapes", "state": "queued"}
    assert [job.id for job in records.page("default", filters=filters, limit=5, after=None)[0]] == [wanted.id]
    claims.claim("me")
    assert records.page("default", filters=filters, limit=5, after=None) == ([], None)
    assert records.count(State.RUNNING) == 1


def test_a_deleted_job_is_in_no_list(records: Records, claims: Claims) -> None:
    job = place(claims, tags=["night"])
    records.delete(end(claims, job).job)
    assert records.find(job.id) is None
    for filters in ({}, {"tag": "night"}, {"state": "succeeded"}, {"model": "shapes@1"}):
        assert records.page("default", filters=filters, limit=5, after=None) == ([], None)


def test_a_key_stays_bound_to_what_it_was_bound_to_first(records: Records, claims: Claims) -> None:
    assert records.reserve("default", "key", "one", 60) == "one"
    assert records.reserve("default", "key", "two", 60) == "one"


def test_no_redis_is_a_problem_that_says_so(settings: Settings) -> None:
    nowhere = Records(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    with pytest.raises(Unavailable, match="Redis"):
        nowhere.ping()
