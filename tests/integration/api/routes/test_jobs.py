"""Jobs over real HTTP: submit, get and list them, get their artifacts, and what is refused."""

import json
import time
from typing import Any

import httpx2
import pytest
import redis

from archetype.client import Client, ServiceError
from archetype.contract.job import Job, Jobs, State
from archetype.contract.problem import ProblemDocument
from archetype.contract.request import ClassModel, ClassModelParameters
from deploy.local import Stack
from shared.errors import MEDIA_TYPE
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.api_requests import QUICK, Submit


def test_a_job_is_accepted_stored_and_found(http: httpx2.Client, submit: Submit, client: Client) -> None:
    answer = submit(QUICK | {"tags": ["t1"]})
    assert answer.status_code == 202
    job = Job.model_validate(answer.json())
    assert answer.headers["Location"] == f"/v1/jobs/{job.id}" == job.links["self"]
    assert (job.model, job.method, job.tags) == ("shapes@1", "class_model", ["t1"])
    ended = client.wait(job.id, timeout=400)
    assert ended.state is State.SUCCEEDED
    assert ended.progress.done == ended.progress.total == 4
    assert ended.created_at <= ended.started_at <= ended.finished_at
    assert ended.provenance["request"]["params"]["steps"] == 4
    assert len(ended.provenance["model"]["sha256"]) == 64
    assert {artifact.name for artifact in ended.artifacts} >= {"0000-lemon.png", "contact-sheet.png", "metrics.json"}


def test_polling_an_unchanged_job_answers_304(http: httpx2.Client, submit: Submit, client: Client) -> None:
    job_id = submit(QUICK).json()["id"]
    client.wait(job_id, timeout=400)
    first = http.get(f"/v1/jobs/{job_id}")
    again = http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_an_artifact_is_streamed_cached_and_redirected(http: httpx2.Client, submit: Submit, client: Client) -> None:
    artifact = client.job(submit(QUICK, Prefer="wait=50").json()["id"]).artifacts[0]
    whole = http.get(artifact.href)
    assert (whole.headers["Content-Type"], len(whole.content)) == (artifact.media_type, artifact.bytes)
    assert whole.content.startswith(b"\x89PNG")
    again = http.get(artifact.href, headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status_code == 304
    away = http.get(artifact.href, params={"redirect": "1"})
    assert away.status_code == 302
    assert httpx2.get(away.headers["Location"]).content == whole.content


def test_jobs_are_listed_in_pages_that_link_to_the_next(http: httpx2.Client, submit: Submit, client: Client) -> None:
    ids = [submit(QUICK | {"tags": ["paged"]}).json()["id"] for _ in range(5)]
    first = http.get("/v1/jobs", params={"tag": "paged", "limit": 2})
    assert [job.id for job in Jobs.model_validate(first.json()).items] == ids[:-3:-1]
    link = first.headers["Link"]
    assert link.endswith('rel="next"')
    second = http.get(link[1 : link.index(">")]).json()
    assert [job["id"] for job in second["items"]] == ids[-3:-5:-1]
    assert [job.id for job in client.jobs(tag="paged")] == ids[::-1]
    assert http.get("/v1/jobs", params={"tag": "missing"}).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=done", "cursor=%00", "colour=red"])
def test_a_wrong_query_is_refused(http: httpx2.Client, query: str) -> None:
    refused = http.get(f"/v1/jobs?{query}")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == query.partition("=")[0]


def stored(stack: Stack) -> tuple[int, int]:
    """How many objects and records there are."""

    live = redis.Redis.from_url(stack.settings.redis_url)
    return len(list(Bucket(stack.settings).keys("jobs/"))), live.zcard("archetype:list:default:all:")


WRONG = [
    ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "malformed-json"),
    ({"content": b"", "headers": {"Content-Type": "application/json"}}, 400, "malformed-json"),
    ({"content": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}, 400, "malformed-json"),
    ({"content": json.dumps(QUICK), "headers": {"Content-Type": "text/plain"}}, 415, "unsupported-media-type"),
    ({"content": json.dumps(QUICK)}, 415, "unsupported-media-type"),
    ({"json": QUICK | {"method": "dream"}}, 422, "invalid-request"),
    ({"json": QUICK | {"model": "none"}}, 422, "unknown-model"),
    ({"json": QUICK | {"model": "shapes@9"}}, 422, "unknown-model"),
    ({"json": QUICK | {"params": {"colour": "red"}}}, 422, "invalid-request"),
    ({"json": QUICK | {"params": {"steps": 10**9}}}, 422, "invalid-request"),
    ({"json": QUICK | {"targets": [12]}}, 422, "unknown-target"),
    ({"json": QUICK | {"targets": ["lemming"]}}, 422, "unknown-target"),
    ({"json": QUICK | {"targets": []}}, 422, "invalid-request"),
    ({"json": {"method": "saliency", "model": "shapes", "images": ["0" * 64]}}, 422, "unknown-image"),
    ({"json": {"method": "saliency", "model": "shapes", "images": ["../../etc"]}}, 422, "invalid-request"),
    ({"content": b" " * 3_000_000, "headers": {"Content-Type": "application/json"}}, 413, "too-large"),
]


@pytest.mark.parametrize(
    ("request_", "status", "slug"), WRONG, ids=lambda value: value if isinstance(value, str) else None
)
def test_a_wrong_request_is_refused_and_stores_nothing(
    http: httpx2.Client, stack: Stack, request_: dict[str, Any], status: int, slug: str
) -> None:
    limit = time.monotonic() + 60
    while JobIndex(RedisClient(stack.settings)).unfinished():  # jobs of earlier tests, that still write
        assert time.monotonic() < limit
        time.sleep(0.1)
    before = stored(stack)
    refused = http.post("/v1/jobs", **request_)
    assert refused.status_code == status
    assert refused.headers["Content-Type"] == MEDIA_TYPE
    problem = ProblemDocument.model_validate(refused.json())
    assert problem.type == f"/problems/{slug}"
    assert len(problem.detail) > 20
    assert stored(stack) == before


def test_a_chunked_body_is_refused(http: httpx2.Client) -> None:
    chunks = (chunk for chunk in (json.dumps(QUICK).encode(), b" " * 3_000_000, b"garbage"))
    refused = http.post("/v1/jobs", content=chunks, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["type"]) == (411, "/problems/length-required")


def test_a_request_with_thousands_of_mistakes_is_answered_within_seconds(http: httpx2.Client) -> None:
    started = time.monotonic()
    many = http.post("/v1/jobs", json=QUICK | {f"key{n}": n for n in range(8000)})
    names = http.post("/v1/jobs", json=QUICK | {"targets": [f"lemming {n}" for n in range(1000)]})
    assert (many.status_code, names.status_code) == (422, 422)
    assert len(many.json()["errors"]) == len(names.json()["errors"]) == 20
    assert "7999 more" in many.json()["detail"]
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("path", ["/v1/jobs/nope", f"/v1/jobs/{'0' * 26}", "/v1/jobs/%2e%2e/artifacts/x", "/nothing"])
def test_an_unknown_job_or_path_is_a_problem_document(http: httpx2.Client, path: str) -> None:
    missing = http.get(path)
    assert missing.status_code == 404
    assert missing.headers["Content-Type"] == MEDIA_TYPE


def test_a_wrong_http_method_is_refused_with_the_allowed_ones(http: httpx2.Client) -> None:
    refused = http.put("/v1/jobs")
    assert refused.status_code == 405
    assert "POST" in refused.headers["Allow"]


def test_the_typed_client_reports_problems(client: Client) -> None:

    request = ClassModel(method="class_model", model="none", targets=[1], params=ClassModelParameters(steps=1))
    with pytest.raises(ServiceError, match="none") as refused:
        client.submit(request)
    assert refused.value.problem.status == 422


def test_a_result_that_has_expired_answers_410(
    stack: Stack, http: httpx2.Client, submit: Submit, client: Client
) -> None:

    done = client.wait(submit(QUICK).json()["id"], timeout=400)
    storage, job_index = JobStore(Bucket(stack.settings)), JobIndex(RedisClient(stack.settings))
    storage.expire_job(done.id)
    job_index.delete(done)
    for path in (f"/v1/jobs/{done.id}", done.artifacts[0].href):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["type"]) == (410, "/problems/gone")
