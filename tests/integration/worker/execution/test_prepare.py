"""The worker checks every request again: what the API refuses fails with the same problem."""

import json
import time
from typing import Any

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.job import State
from deploy.local import Stack
from shared.media.image import ImageFacts
from shared.storage.s3 import Bucket
from tests.support.backdoor import VALID, Backdoor
from tests.support.jobs import make_spec
from tests.support.waiting import wait_until


@pytest.fixture
def backdoor(stack: Stack) -> Backdoor:
    return Backdoor(stack)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "none"},
        {"model": "shapes@9"},
        {"targets": ["lemming"]},
        {"targets": [99]},
        {"targets": []},
        {"params": {"steps": 10**9}},
    ],
    ids=str,
)
def test_an_invalid_request_fails_with_the_problem_that_the_api_returns(
    stack: Stack, client: Client, backdoor: Backdoor, change: dict[str, Any]
) -> None:
    problem = httpx2.post(f"{stack.url}/v1/jobs", json=VALID | change).json()
    ended = client.wait(backdoor.submit(VALID | change), timeout=400)
    assert ended.state is State.FAILED
    assert ended.error.model_dump() == problem
    assert ended.artifacts == []


def test_a_request_that_is_not_json_fails_its_job(client: Client, backdoor: Backdoor) -> None:
    ended = client.wait(backdoor.submit(b"{"), timeout=400)
    assert (ended.state, ended.error.type) == (State.FAILED, "/problems/malformed-json")


def test_an_unreadable_image_fails_its_job_with_the_problem_of_an_upload(
    stack: Stack, client: Client, backdoor: Backdoor
) -> None:
    data = b"this was an image once"
    problem = httpx2.post(f"{stack.url}/v1/images", files={"file": ("a.png", data)}).json()
    image = backdoor.storage.of("default").save_image(data, ImageFacts("PNG", 10, 10))
    body = {"method": "saliency", "model": "shapes", "images": [image.id]}
    ended = client.wait(backdoor.submit(body), timeout=400)
    assert ended.error.model_dump() == problem


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"request": VALID | {"method": "dream"}},
        {"request": VALID | {"params": {"colour": "red"}}},
    ],
    ids=["a format", "a method", "a parameter"],
)
def test_a_job_of_a_newer_version_waits_for_workers_of_that_version(
    stack: Stack, client: Client, backdoor: Backdoor, change: dict[str, Any]
) -> None:
    spec = make_spec().model_copy(update={"request": VALID}).model_dump_json()
    job_id = backdoor.submit(json.dumps(json.loads(spec) | change).encode())
    time.sleep(3 * stack.settings.sweep_seconds)
    # A worker claims it for a moment, and parks it, longer each time.
    wait_until(lambda: (client.job(job_id).state, client.job(job_id).attempt) == (State.QUEUED, 0), 60)
    key = f"jobs/{job_id}/request.json"
    Bucket(stack.settings).put(key, spec.encode(), media_type="application/json")  # as if the worker was upgraded
    assert client.wait(job_id, timeout=400).state is State.SUCCEEDED
