"""The worker trusts nobody: what the API would have refused is a failed job with the same problem document."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.local import Stack
from shared.broker import RUN, create_broker, send_job
from shared.bucket import Bucket
from shared.claims import Claim, Claims
from shared.client import Client
from shared.jobs import Manifest, State, new_job_id
from shared.records import Records
from shared.storage import Storage
from tests.orders import make_order, place

GOOD: dict[str, Any] = {"method": "class_model", "model": "shapes@1", "targets": ["lemon"], "params": {"steps": 2}}


class Backdoor:
    """Puts jobs past the API, straight into the store, the records and the queue."""

    def __init__(self, stack: Stack) -> None:
        self.settings = stack.settings
        self.storage = Storage(Bucket(stack.settings))
        self.records = Records(stack.settings)
        self.claims = Claims(self.records)
        self.broker = create_broker(stack.settings)

    def smuggle(self, request: Any = GOOD, *, send: bool = True, lane: str = "shapes@1/smuggled") -> str:
        job_id = new_job_id()
        order = make_order(lane=lane).model_copy(update={"request": request})
        body = order.model_dump_json().encode() if isinstance(request, dict) else request
        self.storage.bucket.put(f"open/{job_id}", b"", media_type="text/plain")
        self.storage.bucket.put(f"jobs/{job_id}/request.json", body, media_type="application/json")
        self.claims.create(job_id, make_order(lane=lane))
        if send:
            send_job(self.broker, job_id, "interactive")
        return job_id

    def take(self, job_id: str, lane: str) -> Claim:
        """The claim of a job that nobody else could have got: it has a lane of its own, and waits for us."""
        claim = self.claims.claim("a worker that dies now", lane=lane, room=10)
        assert claim is not None
        assert claim.job_id == job_id
        return claim


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
    ended = client.wait(backdoor.smuggle(GOOD | change), timeout=60)
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
    image = backdoor.storage.of("default").save_image(data, Facts("PNG", 10, 10))
    body = {"method": "saliency", "model": "shapes", "images": [image.id]}
    ended = client.wait(backdoor.smuggle(body), timeout=60)
    assert ended.error.model_dump() == refused


def test_a_message_for_a_job_that_is_not_there_does_no_harm(client: Client, backdoor: Backdoor) -> None:
    send_job(backdoor.broker, new_job_id(), "interactive")
    job_id = backdoor.smuggle()
    assert client.wait(job_id, timeout=60).state is State.SUCCEEDED


def test_a_message_that_comes_twice_runs_once(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle()
    for _ in range(3):
        send_job(backdoor.broker, job_id, "interactive")
    ended = client.wait(job_id, timeout=60)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    prefixes = {key.split("/")[3] for key in backdoor.storage.bucket.keys(f"jobs/{job_id}/attempts/")}
    assert len(prefixes) == 1


@contextmanager
def paused_workers(stack: Stack) -> Iterator[None]:
    """Meanwhile the stack's worker takes nothing."""
    stack.family.send("worker", signal.SIGSTOP)
    try:
        yield
    finally:
        stack.family.send("worker", signal.SIGCONT)


def test_a_job_whose_worker_fell_silent_is_taken_by_another(client: Client, backdoor: Backdoor, stack: Stack) -> None:
    with paused_workers(stack):
        job_id = backdoor.smuggle(send=False, lane="silent")
        backdoor.take(job_id, "silent")
    ended = client.wait(job_id, timeout=60)
    assert (ended.state, ended.attempt, client.job(job_id).artifacts != []) == (State.SUCCEEDED, 2, True)


def test_a_job_that_died_between_manifest_and_state_is_not_run_again(
    client: Client, backdoor: Backdoor, stack: Stack
) -> None:
    with paused_workers(stack):
        job_id = backdoor.smuggle(send=False, lane="dying")
        claim = backdoor.take(job_id, "dying")
    live = backdoor.records.find(job_id)
    job = live.model_copy(update={"state": State.SUCCEEDED, "metrics": {"kept": True}})
    backdoor.storage.save_manifest(Manifest(job=job, fence=claim.fence))
    limit = time.monotonic() + 60
    while backdoor.records.find(job_id).state is not State.SUCCEEDED:
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert client.job(job_id).metrics == {"kept": True}
    assert list(backdoor.storage.bucket.keys(f"jobs/{job_id}/attempts/")) == []
    assert job_id not in backdoor.storage.list_open()


def test_a_job_whose_message_was_lost_is_sent_again(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle(send=False)
    assert client.wait(job_id, timeout=60).state is State.SUCCEEDED


def test_a_message_of_a_later_version_wakes_a_worker_and_does_no_harm(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.smuggle(send=False)
    backdoor.broker.send_task(RUN, args=[{"format": 2, "job": job_id}], kwargs={"new": True}, queue="interactive")
    assert client.wait(job_id, timeout=60).state is State.SUCCEEDED


def test_an_order_of_a_later_version_waits_for_workers_of_that_version(
    stack: Stack, client: Client, backdoor: Backdoor
) -> None:
    understood = make_order().model_copy(update={"request": GOOD}).model_dump_json()
    job_id = backdoor.smuggle(json.dumps(json.loads(understood) | {"format": 2}).encode())
    time.sleep(3 * stack.settings.sweep_seconds)
    assert (client.job(job_id).state, client.job(job_id).attempt) == (State.QUEUED, 0)
    place = f"jobs/{job_id}/request.json"
    Bucket(stack.settings).put(place, understood.encode(), media_type="application/json")  # as good as an upgrade
    assert client.wait(job_id, timeout=60).state is State.SUCCEEDED


def test_finished_jobs_are_answered_by_id_after_redis_was_wiped(
    stack: Stack, client: Client, backdoor: Backdoor
) -> None:
    import redis

    job_id = backdoor.smuggle()
    before = client.wait(job_id, timeout=60)
    redis.Redis.from_url(stack.settings.redis_url).delete(f"archetype:job:{job_id}")
    assert client.job(job_id) == before
    assert client.fetch(before.artifacts[0]).startswith(b"\x89PNG")


def test_a_store_that_does_not_answer_costs_the_job_no_attempt(stack: Stack) -> None:
    import redis
    import torch

    from shared.catalogue import load_catalogue
    from worker.attempt import Bench
    from worker.lane_run import run_next_lane
    from worker.networks import Loader, Networks
    from worker.plans import Plans

    url = stack.settings.redis_url.removesuffix("/0") + "/5"
    settings = stack.settings.model_copy(update={"redis_url": url, "s3_endpoint": "http://127.0.0.1:1"})
    records, cpu = Records(settings), torch.device("cpu")
    bench = Bench(
        settings=settings, records=records, claims=Claims(records), storage=Storage(Bucket(settings)),
        catalogue=load_catalogue(None), networks=Networks(Loader(), device=cpu), plans=Plans(None), device=cpu,
    )  # fmt: skip
    job = place(bench.claims)
    for _ in range(4):
        assert run_next_lane(bench) is False
        found = records.find(job.id)
        assert (found.state, found.attempt) == (State.QUEUED, 0)
    redis.Redis.from_url(url).flushdb()
