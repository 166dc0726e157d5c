"""Limits of keys and tenants."""

import io
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from api.app import create_app
from archetype.client import Client
from archetype.contract.api_key import Limits
from deploy.local import Stack
from shared.state.redis_client import RedisClient
from shared.storage.s3 import Bucket
from tests.support.callers import issue_token
from tests.support.identity_provider import IdentityProvider, run_identity_provider
from tests.support.run_method import encode, noise
from tests.support.waiting import wait_until

SMALL: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2}}


def limited(stack: Stack, operator: Client, tenant: str, **limits: int) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {issue_token(operator, tenant, limits=Limits(**limits))}"}
    return httpx2.Client(base_url=stack.url, headers=headers, timeout=30)


def check_reached(answer: httpx2.Response, limit: str) -> None:
    assert answer.status_code == 429, answer.text
    assert answer.json()["errors"][0]["field"] == limit
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_submissions_per_minute_are_limited_by_key(stack: Stack, operator: Client) -> None:
    with limited(stack, operator, "hasty", submits_per_minute=2) as http:
        assert [http.post("/v1/jobs", json=SMALL).status_code for _ in range(2)] == [202, 202]
        check_reached(http.post("/v1/jobs", json=SMALL), "submits_per_minute")
    with limited(stack, operator, "hasty", submits_per_minute=2) as http:
        assert http.post("/v1/jobs", json=SMALL).status_code == 202


def test_queued_targets_are_limited_until_their_jobs_have_ended(stack: Stack, operator: Client) -> None:
    with limited(stack, operator, "greedy", queued_targets=3) as http:
        check_reached(http.post("/v1/jobs", json=SMALL | {"targets": [0, 1, 2, 3]}), "queued_targets")
        slow = {"method": "class_model", "model": "slow", "targets": [0, 1], "params": {"steps": 500}}
        job = http.post("/v1/jobs", json=slow).json()
        check_reached(http.post("/v1/jobs", json=slow), "queued_targets")
        http.post(f"/v1/jobs/{job['id']}/cancel")
        limit = time.monotonic() + 120
        while http.get(f"/v1/jobs/{job['id']}").json()["state"] != "cancelled":
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert http.post("/v1/jobs", json=SMALL).status_code == 202


def test_running_jobs_are_limited(stack: Stack, operator: Client) -> None:
    with limited(stack, operator, "busy", running_jobs=1) as http:
        slow = {"method": "class_model", "model": "slow", "targets": [0], "params": {"steps": 500}}
        job = http.post("/v1/jobs", json=slow).json()
        limit = time.monotonic() + 120
        while http.get(f"/v1/jobs/{job['id']}").json()["state"] != "running":
            assert time.monotonic() < limit
            time.sleep(0.1)
        check_reached(http.post("/v1/jobs", json=slow), "running_jobs")
        http.post(f"/v1/jobs/{job['id']}/cancel")


def test_stored_bytes_are_limited_and_the_same_image_counts_once(stack: Stack, operator: Client) -> None:
    image = encode(noise(40, 40, 3, seed=5))
    with limited(stack, operator, "hoarder", stored_bytes=len(image) + 100) as http:
        for _ in range(2):
            assert http.post("/v1/images", files={"file": image}).status_code == 201
        check_reached(http.post("/v1/images", files={"file": encode(noise(40, 40, 3, seed=6))}), "stored_bytes")


def make_archive(count: int) -> bytes:
    """A ZIP archive of different images."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.png", encode(noise(32, 32, 3, seed=100 + number)))
    return buffer.getvalue()


def test_images_count_times_classes_archives_by_their_files_and_classes_times_seeds(
    stack: Stack, operator: Client
) -> None:
    bucket = Bucket(stack.settings)
    for number in range(7):
        bucket.put(f"probes/counted/{number}.png", encode(noise(32, 32, 3, seed=number)), media_type="image/png")
    with limited(stack, operator, "many", queued_targets=5) as http:
        ids = [
            http.post("/v1/images", files={"file": encode(noise(32, 32, 3, seed=seed))}).json()["id"]
            for seed in range(3)
        ]
        archive = http.post("/v1/archives", files={"file": make_archive(6)}).json()["id"]
        saliency = {"method": "saliency", "model": "shapes", "targets": [0, 1]}
        prefix = {"prefix": "probes/counted/"}
        too_large = [
            saliency | {"images": ids},
            saliency | {"targets": [0], "images": {"archive": archive}},
            saliency | {"targets": {"top": 1}, "images": {"archive": archive}},
            saliency | {"targets": [0], "images": prefix},
            {"method": "deep_dream", "model": "shapes", "images": {"archive": archive}},
            {"method": "localization", "model": "shapes", "images": {"archive": archive}},
            SMALL | {"params": {"steps": 2, "seeds": [1, 2, 3, 4, 5, 6]}},
        ]
        for body in too_large:
            answer = http.post("/v1/jobs", json=body)
            check_reached(answer, "queued_targets")
        fits = {"method": "deep_dream", "model": "slow", "images": ids, "params": {"steps": 1}}
        job = http.post("/v1/jobs", json=fits)
        assert job.status_code == 202, job.text
        check_reached(http.post("/v1/jobs", json=fits), "queued_targets")  # 3 are queued, and 3 more would be 6
        http.post(f"/v1/jobs/{job.json()['id']}/cancel")
        with RedisClient(stack.settings).connection() as redis:
            ended = lambda: redis.get("archetype:targets:many") == "0"  # noqa: E731
            wait_until(ended, 120, message="ended jobs still count towards the limit")


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with run_identity_provider() as running:
        yield running


def test_users_of_the_identity_provider_share_the_limits_of_their_tenant(
    stack: Stack, provider: IdentityProvider
) -> None:
    limits = Limits(submits_per_minute=3, queued_targets=10)
    app = create_app(
        stack.settings.model_copy(
            update={"oidc_issuer": provider.url, "tenant_limits": limits, "keyless_loopback": False}
        )
    )

    def submit(user: str, tenant: str, body: dict[str, Any] = SMALL) -> Any:
        token = provider.sign({"sub": user, "tenant": tenant, "scope": "submit read"})
        headers = {"Authorization": f"Bearer {token}"}
        return app.test_client().post("/v1/jobs", json=body, headers=headers)

    def check_refused(answer: Any, limit: str) -> None:
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (429, limit)

    check_refused(submit("ann", "shared", SMALL | {"params": {"seeds": list(range(11))}}), "queued_targets")
    assert [submit(user, "shared").status_code for user in ("ann", "bob", "cy")] == [202] * 3
    check_refused(submit("dee", "shared"), "submits_per_minute")
    assert submit("ann", "separate").status_code == 202  # another tenant
    page = app.test_client()
    page.post("/enter", data={"key": provider.sign({"sub": "eve", "tenant": "shared", "scope": "submit read"})})
    check_refused(page.post("/v1/jobs", json=SMALL), "submits_per_minute")  # a session is no way around it
