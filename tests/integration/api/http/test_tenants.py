"""Two tenants: nothing of one is visible to the other."""

import io
import zipfile
from typing import Any

import httpx2
from safetensors.torch import save

from api.app import create_app
from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import ClassModel
from archetype.contract.schedule import NewSchedule
from deploy.local import Stack
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from tests.support.releases import ENTRY, STATE
from tests.support.run_method import encode, noise

SMALL: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2}}


def make_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.png", encode(noise(8, 8, 3)))
    return file.getvalue()


def test_a_job_of_another_tenant_looks_like_one_that_does_not_exist(
    stack: Stack, alice: Client, mallory: httpx2.Client
) -> None:
    """Every call with the id of another tenant's job has the same response as with an unknown id."""
    image = alice.upload(encode(noise(8, 8, 3, seed=77))).id
    archive = httpx2.post(
        f"{stack.url}/v1/archives", files={"file": make_archive()}, headers=dict(alice._transport.http.headers)
    ).json()["id"]
    job = alice.wait(alice.submit(ClassModel.model_validate(SMALL | {"tags": ["alices"]})).id, timeout=400)
    assert job.state is State.SUCCEEDED
    assert job.tenant == "alice"
    unknown = "0" * 25 + "1"
    saliency = {"method": "saliency", "model": "shapes"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/jobs/{}", {}),
        ("POST", "/v1/jobs/{}/cancel", {}),
        ("POST", "/v1/jobs/{}/retry", {}),
        ("DELETE", "/v1/jobs/{}", {}),
        ("GET", f"/v1/jobs/{{}}/artifacts/{job.artifacts[0].name}", {}),
        ("GET", f"/v1/jobs/{{}}/artifacts/{job.artifacts[0].name}?redirect=1", {}),
    ]
    for method, path, more in calls:
        answers = [mallory.request(method, path.format(job_id), **more) for job_id in (job.id, unknown)]
        assert [answer.status_code for answer in answers] == [404, 404], path
        first, second = (
            answer.text.replace(job_id, "ID") for answer, job_id in zip(answers, (job.id, unknown), strict=True)
        )
        assert first == second
    assert mallory.get(f"/v1/images/{image}").status_code == 404
    assert mallory.post("/v1/jobs", json=saliency | {"images": [image]}).status_code == 422
    assert mallory.post("/v1/jobs", json=saliency | {"images": {"archive": archive}}).status_code == 422
    assert mallory.post("/v1/jobs", json=SMALL | {"params": {"start_image": image}}).status_code == 422
    for query in ("", "?tag=alices", "?state=succeeded", "?model=shapes"):
        assert job.id not in mallory.get(f"/v1/jobs{query}").text
    assert alice.job(job.id).state is State.SUCCEEDED
    assert alice.fetch(job.artifacts[0])


def test_every_path_with_an_id_hides_the_objects_of_other_tenants(
    stack: Stack, alice: Client, mallory: httpx2.Client
) -> None:
    """The paths come from the application itself, with those of the page, so that none is forgotten."""
    image = alice.upload(encode(noise(8, 8, 3, seed=78))).id
    job = alice.wait(alice.submit(ClassModel.model_validate(SMALL)).id, timeout=400)
    artifact_name = job.artifacts[0].name
    planned = {"model": "shapes", "plan": {"name": "hers"}, "on_release": False, "cron": "0 0 29 2 *"}
    schedule = alice.schedule(NewSchedule.model_validate(planned)).id
    ids = {"job_id": job.id, "audit_id": job.id, "delivery_id": job.id, "image_id": image, "schedule_id": schedule}
    calls_made = 0
    for rule in create_app(stack.settings).url_map.iter_rules():
        if not rule.arguments & set(ids):
            continue
        values = ids | {"name": artifact_name, "number": 0}
        _, path = rule.build({argument: values[argument] for argument in rule.arguments})
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = mallory.request(method, path)
            assert answer.status_code == 404, f"{method} {rule.rule}: {answer.status_code}"
            assert artifact_name not in answer.text.replace(path, "")
            calls_made += 1
    assert calls_made >= 21
    assert [item.id for item in alice.schedules()] == [schedule]
    assert mallory.get("/v1/schedules").json() == {"items": []}
    alice.delete_schedule(schedule)
    assert alice.job(job.id).state is State.SUCCEEDED


def test_a_job_of_another_tenant_stays_hidden_after_redis_has_lost_it(
    stack: Stack, alice: Client, mallory: httpx2.Client
) -> None:
    job = alice.wait(alice.submit(ClassModel.model_validate(SMALL)).id, timeout=400)
    JobIndex(RedisClient(stack.settings)).delete(job)
    assert mallory.get(f"/v1/jobs/{job.id}").status_code == 404
    assert alice.job(job.id).state is State.SUCCEEDED


def test_an_idempotency_key_belongs_to_its_tenant(alice: Client, mallory: httpx2.Client) -> None:
    job = alice.submit(ClassModel.model_validate(SMALL), idempotency_key="the-same")
    other = mallory.post("/v1/jobs", json=SMALL, headers={"Idempotency-Key": "the-same"})
    assert other.status_code == 202
    assert other.json()["id"] != job.id


def test_a_registered_release_is_visible_to_its_tenant_only(
    stack: Stack, alice: Client, mallory: httpx2.Client, operator: Client
) -> None:
    headers = dict(alice._transport.http.headers)
    upload = httpx2.post(f"{stack.url}/v1/weights", files={"file": save(STATE)}, headers=headers).json()["id"]
    body = ENTRY | {"name": "alices-own", "upload": upload}
    answer = httpx2.post(f"{stack.url}/v1/models", json=body, headers=headers, timeout=60)
    assert answer.status_code == 201, answer.text
    assert "alices-own" in [model["name"] for model in alice.models()]
    assert "alices-own" not in mallory.get("/v1/models").text
    assert mallory.get("/v1/models/alices-own").status_code == 404
    assert "alices-own" not in mallory.get("/v1/models/alices-ow").json()["detail"].partition("nearest")[2]
    refused = mallory.post("/v1/jobs", json=SMALL | {"model": "alices-own", "targets": [1]})
    assert refused.status_code == 422
    assert "there is no model" in refused.json()["detail"]
    assert mallory.post("/v1/models", json=body).status_code == 422  # these weights are not hers
    job = alice.submit(ClassModel.model_validate(SMALL | {"model": "alices-own", "targets": [1]}))
    assert alice.wait(job.id, timeout=400).state is State.SUCCEEDED
