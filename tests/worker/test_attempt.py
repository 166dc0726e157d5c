"""The worker trusts nobody: what the API would have refused is a failed job with the same problem document."""

import json
import time
from typing import Any

import pytest

from deploy.local import Stack
from shared.broker import create_broker, send_job
from shared.bucket import Bucket
from shared.client import Client
from shared.jobs import Job, Manifest, State, links_of, new_job_id, now
from shared.records import Records
from shared.storage import Storage

GOOD: dict[str, Any] = {"method": "class_model", "model": "shapes@1", "targets": ["lemon"], "params": {"steps": 2}}


class Backdoor:
    """Puts jobs past the API, straight into the store, the records and the queue."""

    def __init__(self, stack: Stack) -> None:
        self.storage = Storage(Bucket(stack.settings))
        self.records = Records(stack.settings)
        self.broker = create_broker(stack.settings)

    def smuggle(self, body: bytes, *, send: bool = True) -> str:
        job_id = new_job_id()
        self.storage.bucket.put(f"jobs/{job_id}/request.json", body, media_type="application/json")
        self.records.create(self.job(job_id))
        if send:
            send_job(self.broker, job_id, "interactive")
        return job_id

    def job(self, job_id: str) -> Job:
        return Job(
            id=job_id, method="class_model", model="shapes@1", state=State.QUEUED, priority="interactive",
            created_at=now(), links=links_of(job_id),
        )  # fmt: skip


@pytest.fixture
def backdoor(stack: Stack) -> Backdoor:
    return Backdoor(stack)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "dream"}, {"model": "none"}, {"model": "shapes@9"}, {"targets": ["lemming"]}, {"targets": [99]},
        {"targets": []}, {"params": {"steps": 10**9}}, {"params": {"colour": "red"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_request_fails_with_the_problem_that_the_api_gives(
    stack: Stack, client: Client, backdoor: Backdoor, change: dict[str, Any]
) -> None:
    import httpx2

    refused = httpx2.post(f"{stack.url}/v1/jobs", json=GOOD | change).json()
    ended = client.wait(backdoor.smuggle(json.dumps(GOOD | change).encode()), timeout=60)
    assert ended.state is State.FAILED
    assert ended.error.model_dump() == refused
    assert ended.artifacts == []


def test_a_request_that_is_no_json_fails_its_job(client: Client, backdoor: Backdoor) -> None:
    ended = client.wait(backdoor.smuggle(b"{"), timeout=60)
    assert (ended.state, ended.error.type) == (State.FAILED, "/problems/malformed-json")


def test_a_broken_picture_fails_its_job_as_it_would_its_upload(
    stack: Stack, client: Client, backdoor: Backdoor
) -> None:
    import httpx2

    from shared.pictures import Facts

    data = b"this was a picture once"
    refused = httpx2.post(f"{stack.url}/v1/images", files={"file": ("a.png", data)}).json()
    image = backdoor.storage.save_image(data, Facts("PNG", 10, 10))
    body = {"method": "saliency", "model": "shapes", "images": [image.id]}
    ended = client.wait(backdoor.smuggle(json.dumps(body).encode()), timeout=60)
    assert ended.error.model_dump() == refused


def test_a_message_for_a_job_that_is_not_there_does_no_harm(client: Client, backdoor: Backdoor) -> None:
    send_job(backdoor.broker, new_job_id(), "interactive")
    job_id = backdoor.smuggle(json.dumps(GOOD).encode())
    assert client.wait(job_id, timeout=60).state is State.SUCCEEDED


def test_a_message_that_comes_twice_runs_once(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle(json.dumps(GOOD).encode())
    for _ in range(3):
        send_job(backdoor.broker, job_id, "interactive")
    ended = client.wait(job_id, timeout=60)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    prefixes = {key.split("/")[3] for key in backdoor.storage.bucket.keys(f"jobs/{job_id}/attempts/")}
    assert len(prefixes) == 1


def test_a_job_whose_worker_fell_silent_is_taken_by_another(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle(json.dumps(GOOD).encode(), send=False)
    assert backdoor.records.claim(job_id, "a worker that dies now") is not None
    ended = client.wait(job_id, timeout=60)
    assert (ended.state, client.job(job_id).artifacts != []) == (State.SUCCEEDED, True)


def test_a_job_that_died_between_manifest_and_state_is_not_run_again(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle(json.dumps(GOOD).encode(), send=False)
    claim = backdoor.records.claim(job_id, "a worker that dies after its manifest")
    job = backdoor.job(job_id).model_copy(update={"state": State.SUCCEEDED, "metrics": {"kept": True}})
    prefix = backdoor.storage.attempt_prefix(job_id, claim.fence)
    backdoor.storage.save_manifest(Manifest(job=job, prefix=prefix))
    limit = time.monotonic() + 60
    while backdoor.records.find(job_id).state is not State.SUCCEEDED:
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert client.job(job_id).metrics == {"kept": True}
    assert list(backdoor.storage.bucket.keys(f"jobs/{job_id}/attempts/")) == []


def test_a_job_whose_message_was_lost_is_sent_again(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle(json.dumps(GOOD).encode(), send=False)
    assert client.wait(job_id, timeout=60).state is State.SUCCEEDED


def test_finished_jobs_are_answered_by_id_after_redis_was_wiped(
    stack: Stack, client: Client, backdoor: Backdoor
) -> None:
    import redis

    job_id = backdoor.smuggle(json.dumps(GOOD).encode())
    before = client.wait(job_id, timeout=60)
    redis.Redis.from_url(stack.settings.redis_url).delete(f"archetype:job:{job_id}")
    assert client.job(job_id) == before
    assert client.fetch(before.artifacts[0]).startswith(b"\x89PNG")


def test_a_store_that_does_not_answer_costs_the_job_no_attempt(stack: Stack) -> None:
    import redis
    import torch

    from shared.catalogue import load_catalogue
    from worker.attempt import Bench, run_job
    from worker.networks import Loader, Networks
    from worker.plans import Plans

    url = stack.settings.redis_url.removesuffix("/0") + "/5"
    settings = stack.settings.model_copy(update={"redis_url": url, "s3_endpoint": "http://127.0.0.1:1"})
    records, cpu = Records(settings), torch.device("cpu")
    bench = Bench(
        settings=settings, records=records, storage=Storage(Bucket(settings)), catalogue=load_catalogue(None),
        networks=Networks(Loader(), device=cpu), plans=Plans(None), device=cpu,
    )  # fmt: skip
    job = Backdoor(stack).job(new_job_id())
    assert records.create(job) is True
    for _ in range(4):
        run_job(bench, job.id)
        found = records.find(job.id)
        assert (found.state, found.attempt) == (State.QUEUED, 0)
    assert records.create(job) is False
    redis.Redis.from_url(url).flushdb()
