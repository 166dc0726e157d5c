"""Jobs over real HTTP, from submission to deletion."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from deploy.local import Stack
from shared.client import Client
from shared.errors import MEDIA_TYPE, ProblemDocument
from shared.jobs import Job, Jobs, State
from shared.methods import ClassModel, ClassModelParameters
from shared.records import Records

QUICK: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 4}}
LONG: dict[str, Any] = {"method": "class_model", "model": "slow", "targets": [0], "params": {"steps": 3000}}
OTHER: dict[str, Any] = LONG | {"model": "grey"}
"""Of another lane: while the worker is at a long job, this one waits."""


@pytest.fixture
def http(stack: Stack):
    with httpx2.Client(base_url=stack.url, timeout=30) as connected:
        yield connected


@pytest.fixture
def submit(http: httpx2.Client):
    """Submits bodies, and cancels what is left of them."""
    ids: list[str] = []

    def send(body: dict[str, Any], **headers: str) -> httpx2.Response:
        answer = http.post(
            "/v1/jobs", json=body, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        if answer.status_code == 202:
            ids.append(answer.json()["id"])
        return answer

    yield send
    for job_id in ids:
        http.post(f"/v1/jobs/{job_id}/cancel")


Submit = Callable[..., httpx2.Response]


def test_a_job_is_accepted_stored_and_found(http: httpx2.Client, submit: Submit, client: Client) -> None:
    answer = submit(QUICK | {"tags": ["t1"]})
    assert answer.status_code == 202
    job = Job.model_validate(answer.json())
    assert answer.headers["Location"] == f"/v1/jobs/{job.id}" == job.links["self"]
    assert (job.model, job.method, job.tags) == ("shapes@1", "class_model", ["t1"])
    ended = client.wait(job.id, timeout=60)
    assert ended.state is State.SUCCEEDED
    assert ended.progress.done == ended.progress.total == 4
    assert ended.created_at <= ended.started_at <= ended.finished_at
    assert ended.provenance["request"]["params"]["steps"] == 4
    assert len(ended.provenance["model"]["sha256"]) == 64
    assert {artifact.name for artifact in ended.artifacts} >= {"0000-lemon.png", "contact-sheet.png", "metrics.json"}


def test_polling_an_unchanged_job_answers_304(http: httpx2.Client, submit: Submit, client: Client) -> None:
    job_id = submit(QUICK).json()["id"]
    client.wait(job_id, timeout=60)
    first = http.get(f"/v1/jobs/{job_id}")
    again = http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_prefer_wait_answers_with_the_result(submit: Submit) -> None:
    assert submit(QUICK, Prefer="wait=50").json()["state"] == "succeeded"


def test_prefer_wait_gives_up_in_time(submit: Submit) -> None:
    started = time.monotonic()
    assert submit(LONG, Prefer="wait=1").json()["state"] in ("queued", "running")
    assert 0.9 < time.monotonic() - started < 5


def test_the_same_key_and_body_is_the_same_job(submit: Submit) -> None:
    key = f"key-{time.time()}"
    one = submit(QUICK, Idempotency_Key=key, Prefer="wait=50").json()
    assert one["artifacts"]
    assert submit(QUICK, Idempotency_Key=key).json() == one
    other = submit(QUICK | {"targets": ["bee"]}, Idempotency_Key=key)
    assert other.status_code == 422
    assert ProblemDocument.model_validate(other.json()).type.endswith("idempotency-conflict")
    assert submit(QUICK, Idempotency_Key="two words").status_code == 422


def test_clients_that_repeat_themselves_at_once_get_one_job(submit: Submit, client: Client) -> None:
    for round_ in range(5):
        key = f"storm-{time.time()}-{round_}"
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _, key=key: submit(QUICK, Idempotency_Key=key).json(), range(12)))
        (job_id,) = {answer["id"] for answer in answers}
        ended = client.wait(job_id, timeout=60)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


def test_those_who_wait_leave_room_for_those_who_ask(http: httpx2.Client, submit: Submit) -> None:
    with ThreadPoolExecutor(24) as pool:
        waiting = [pool.submit(submit, LONG, Prefer="wait=4") for _ in range(24)]
        time.sleep(1)
        started = time.monotonic()
        assert http.get("/healthz").status_code == 200
        assert time.monotonic() - started < 1.5
    assert all(answer.result().status_code == 202 for answer in waiting)


def test_a_running_job_is_cancelled_within_two_seconds(http: httpx2.Client, submit: Submit, client: Client) -> None:
    job_id = submit(LONG).json()["id"]
    for job in client.watch(job_id, timeout=60):
        if job.progress.done > 2:
            break
    started = time.monotonic()
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert client.wait(job_id, timeout=10).state is State.CANCELLED
    assert time.monotonic() - started < 2.5
    assert http.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"


def test_a_queued_job_is_cancelled_at_once_and_never_runs(http: httpx2.Client, submit: Submit, client: Client) -> None:
    running = submit(LONG).json()["id"]
    queued = submit(QUICK).json()["id"]
    assert http.post(f"/v1/jobs/{queued}/cancel").json()["state"] == "cancelled"
    client.cancel(running)
    client.wait(running, timeout=20)
    job = client.job(queued)
    assert (job.state, job.artifacts, job.error) == (State.CANCELLED, [], None)


def test_a_finished_job_is_deleted_with_all_that_it_made(http: httpx2.Client, submit: Submit, client: Client) -> None:
    job_id = submit(QUICK, Prefer="wait=50").json()["id"]
    artifact = client.job(job_id).artifacts[0]
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert http.get(f"/v1/jobs/{job_id}").status_code == 404
    assert http.get(artifact.href).status_code == 404
    assert job_id not in [job.id for job in client.jobs()]


def test_a_running_job_is_not_deleted(http: httpx2.Client, submit: Submit) -> None:
    job_id = submit(LONG).json()["id"]
    refused = http.delete(f"/v1/jobs/{job_id}")
    assert refused.status_code == 409
    assert "cancel" in refused.json()["detail"]


def test_an_artefact_is_streamed_cached_and_redirected(http: httpx2.Client, submit: Submit, client: Client) -> None:
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
    assert http.get("/v1/jobs", params={"tag": "nobody"}).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=done", "cursor=%00", "colour=red"])
def test_a_wrong_query_is_refused(http: httpx2.Client, query: str) -> None:
    refused = http.get(f"/v1/jobs?{query}")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == query.partition("=")[0]


def stored(stack: Stack) -> tuple[int, int]:
    """How many objects and records there are."""
    import redis

    from shared.bucket import Bucket

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
def test_a_wrong_request_is_refused_and_leaves_nothing(
    http: httpx2.Client, stack: Stack, request_: dict[str, Any], status: int, slug: str
) -> None:
    limit = time.monotonic() + 60
    while Records(stack.settings).unfinished():  # jobs of earlier tests, that still write
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


def test_a_body_in_chunks_is_refused_before_it_is_cut(http: httpx2.Client) -> None:
    chunks = (chunk for chunk in (json.dumps(QUICK).encode(), b" " * 3_000_000, b"garbage"))
    refused = http.post("/v1/jobs", content=chunks, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["type"]) == (411, "/problems/length-required")


def test_thousands_of_mistakes_are_answered_at_once(http: httpx2.Client) -> None:
    started = time.monotonic()
    many = http.post("/v1/jobs", json=QUICK | {f"key{n}": n for n in range(8000)})
    names = http.post("/v1/jobs", json=QUICK | {"targets": [f"lemming {n}" for n in range(1000)]})
    assert (many.status_code, names.status_code) == (422, 422)
    assert len(many.json()["errors"]) == len(names.json()["errors"]) == 20
    assert "7999 more" in many.json()["detail"]
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("path", ["/v1/jobs/nope", f"/v1/jobs/{'0' * 26}", "/v1/jobs/%2e%2e/artifacts/x", "/nothing"])
def test_what_does_not_exist_is_a_problem_document(http: httpx2.Client, path: str) -> None:
    missing = http.get(path)
    assert missing.status_code == 404
    assert missing.headers["Content-Type"] == MEDIA_TYPE


def test_a_wrong_http_method_is_told_what_is_allowed(http: httpx2.Client) -> None:
    refused = http.put("/v1/jobs")
    assert refused.status_code == 405
    assert "POST" in refused.headers["Allow"]


def test_the_typed_client_reports_problems(client: Client) -> None:
    from shared.client import ServiceError

    request = ClassModel(method="class_model", model="none", targets=[1], params=ClassModelParameters(steps=1))
    with pytest.raises(ServiceError, match="none") as refused:
        client.submit(request)
    assert refused.value.problem.status == 422


def test_a_full_queue_answers_429(stack: Stack, submit: Submit) -> None:
    from api.app import create_app

    submit(LONG)  # keeps the worker busy, so that the next one stays queued
    time.sleep(1)
    submit(OTHER)
    app = create_app(stack.settings.model_copy(update={"max_queued_jobs": 1}))
    again = {"Idempotency-Key": f"full-{time.time()}"}
    accepted = submit(OTHER, Idempotency_Key=again["Idempotency-Key"]).json()["id"]
    repeated = app.test_client().post("/v1/jobs", json=OTHER, headers=again)
    assert (repeated.status_code, repeated.get_json()["id"]) == (202, accepted)
    refused = app.test_client().post("/v1/jobs", json=QUICK)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0


def test_a_deletion_that_was_interrupted_can_be_repeated(
    http: httpx2.Client, stack: Stack, submit: Submit, client: Client
) -> None:
    from shared.bucket import Bucket

    job_id = submit(QUICK, Prefer="wait=50").json()["id"]
    artifact = client.job(job_id).artifacts[0]
    bucket = Bucket(stack.settings)
    for key in list(bucket.keys(f"jobs/{job_id}/")):
        bucket.delete(key)
        assert http.get(artifact.href).status_code in (200, 404)
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert job_id not in [job.id for job in client.jobs()]


def test_a_service_without_redis_answers_503(stack: Stack) -> None:
    from api.app import create_app

    app = create_app(stack.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    http = app.test_client()
    refused = http.post("/v1/jobs", json=QUICK)
    assert refused.status_code == 503
    assert refused.content_type == MEDIA_TYPE
    assert "Retry-After" in refused.headers
    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("header", ["0", "-5", "soon", "5 parsecs", "1h30", "9" * 40, ""])
def test_a_cancel_after_that_is_no_length_of_time_is_refused(submit: Submit, header: str) -> None:
    answer = submit(QUICK, Cancel_After=header)
    if header == "1h30":
        assert answer.status_code == 202  # an hour and thirty seconds
        return
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Cancel-After"


def test_a_job_that_has_not_ended_by_its_deadline_is_cancelled_with_the_reason(submit: Submit, client: Client) -> None:
    job = Job.model_validate(submit(LONG, Cancel_After="1s").json())
    assert (job.deadline - job.created_at).total_seconds() == 1
    ended = client.wait(job.id, timeout=30)
    assert (ended.state, ended.error.type) == (State.CANCELLED, "/problems/deadline-exceeded")
    assert "Cancel-After" in ended.error.detail


def test_what_failed_is_listed_with_its_reason_and_can_be_tried_again(
    http: httpx2.Client, submit: Submit, client: Client
) -> None:
    unit = {"kind": "neuron", "layer": "features.0", "channel": 0, "row": 500}
    failing = {"method": "class_model", "model": "grey", "targets": [0], "params": {"steps": 3, "objective": [unit]}}
    failed = client.wait(submit(failing | {"tags": ["letters"]}).json()["id"], timeout=60)
    assert failed.state is State.FAILED
    (listed,) = http.get("/v1/jobs", params={"state": "failed", "tag": "letters"}).json()["items"]
    assert listed["error"] == failed.error.model_dump(mode="json")
    again = http.post(f"/v1/jobs/{failed.id}/retry", headers={"Idempotency-Key": f"retry-{failed.id}"})
    assert again.status_code == 202
    fresh = Job.model_validate(again.json())
    assert (fresh.retry_of, fresh.tags, fresh.id != failed.id) == (failed.id, ["letters"], True)
    repeated = http.post(f"/v1/jobs/{failed.id}/retry", headers={"Idempotency-Key": f"retry-{failed.id}"})
    assert repeated.json()["id"] == fresh.id
    ended = client.wait(fresh.id, timeout=60)
    assert ended.error == failed.error
    assert client.job(failed.id) == failed  # it stays as it ended


def test_what_succeeded_is_not_tried_again(http: httpx2.Client, submit: Submit, client: Client) -> None:
    done = client.wait(submit(QUICK).json()["id"], timeout=60)
    assert http.post(f"/v1/jobs/{done.id}/retry").status_code == 409


def test_a_result_that_has_expired_answers_410(
    stack: Stack, http: httpx2.Client, submit: Submit, client: Client
) -> None:
    from shared.bucket import Bucket
    from shared.storage import Storage

    done = client.wait(submit(QUICK).json()["id"], timeout=60)
    storage, records = Storage(Bucket(stack.settings)), Records(stack.settings)
    storage.expire_job(done.id)
    records.delete(done)
    for path in (f"/v1/jobs/{done.id}", done.artifacts[0].href):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["type"]) == (410, "/problems/gone")


def test_a_key_stands_for_its_job_also_when_redis_has_forgotten_everything(
    stack: Stack, submit: Submit, client: Client
) -> None:
    import redis

    first = submit(QUICK, Idempotency_Key="remembered").json()["id"]
    client.wait(first, timeout=60)
    database = redis.Redis.from_url(stack.settings.redis_url)
    database.delete("archetype:idempotency:remembered", f"archetype:job:{first}")
    again = submit(QUICK, Idempotency_Key="remembered").json()
    assert (again["id"], again["state"]) == (first, "succeeded")
    assert submit(QUICK | {"targets": ["bee"]}, Idempotency_Key="remembered").status_code == 422


def test_a_key_whose_request_was_stored_and_never_recorded_goes_on_where_it_stopped(
    stack: Stack, submit: Submit, client: Client
) -> None:
    import redis

    job_id = submit(LONG, Idempotency_Key="interrupted").json()["id"]
    database = redis.Redis.from_url(stack.settings.redis_url)
    database.delete(f"archetype:job:{job_id}")
    again = submit(LONG, Idempotency_Key="interrupted")
    assert (again.status_code, again.json()["id"]) == (202, job_id)
