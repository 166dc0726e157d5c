"""Jobs whose records were moved from Redis into the history: the API answers as before, and creates no record again."""

from collections.abc import Callable, Iterator

import httpx2
import pytest

from api.dependencies import Services, connect
from archetype.client import Client
from archetype.contract.job import Job
from deploy.local import Stack
from shared.history.row import make_row
from shared.state.job_ids import day_of
from tests.support.api_requests import QUICK, Submit

Move = Callable[[str], None]


@pytest.fixture
def services(stack: Stack) -> Services:
    return connect(stack.settings)


@pytest.fixture
def move(services: Services) -> Move:
    """A function that moves one job, as workers do it some minutes after its end."""

    def move_one(job_id: str) -> None:
        (ended,) = (each for each in services.job_index.list_ended() if each.job.id == job_id)
        row = make_row(ended.job, fence=ended.fence, size=ended.bytes)
        services.job_list.history.add(ended.job.tenant, day_of(job_id), [row])
        assert services.job_index.forget_moved([ended.job]) == []

    return move_one


def list_page(http: httpx2.Client, job_id: str, **filters: str) -> Iterator[dict[str, object]]:
    items = http.get("/v1/jobs", params={"limit": "200"} | filters).json()["items"]
    return (item for item in items if item["id"] == job_id)


def test_a_moved_job_is_answered_as_before_and_gets_no_record(
    http: httpx2.Client, submit: Submit, client: Client, services: Services, move: Move
) -> None:
    body = QUICK | {"tags": ["moved"]}
    job_id = submit(body, **{"Prefer": "wait=50", "Idempotency-Key": "moved"}).json()["id"]
    before, listed = client.job(job_id), list(list_page(http, job_id, tag="moved"))
    move(job_id)
    assert client.job(job_id) == before
    assert client.fetch(before.artifacts[0])
    assert list(list_page(http, job_id, tag="moved")) == list(list_page(http, job_id)) == listed
    assert list(list_page(http, job_id, state="failed")) == []
    assert submit(body, **{"Idempotency-Key": "moved"}).json()["id"] == job_id
    assert http.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == before.state
    assert job_id in http.get("/jobs?tag=moved").text
    assert services.job_index.find(job_id) is None


def test_a_moved_job_is_deleted_from_lists_and_store(
    http: httpx2.Client, submit: Submit, services: Services, move: Move
) -> None:
    job_id = submit(QUICK, Prefer="wait=50").json()["id"]
    stored = services.job_index.usage("default").stored
    move(job_id)
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert list(list_page(http, job_id)) == []
    assert http.get(f"/v1/jobs/{job_id}").status_code == 404
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 404
    assert services.job_index.usage("default").stored < stored


def test_a_deletion_of_a_moved_job_that_was_interrupted_can_be_repeated(
    http: httpx2.Client, submit: Submit, services: Services, move: Move
) -> None:
    job = Job.model_validate(submit(QUICK, Prefer="wait=50").json())
    move(job.id)
    services.storage.delete_job(job.id)
    assert list(list_page(http, job.id))
    assert http.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert list(list_page(http, job.id)) == []
