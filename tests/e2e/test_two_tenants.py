"""Two tenants against each other: over every call of the API, and in every indirect way.

Alice owns things. Mallory knows all their names, digests and ids, has every scope of a tenant, and tries to use them.
Each of her calls must have the same response as the call with something that does not exist.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from pydantic import SecretStr
from safetensors.torch import save

from api.app import create_app
from archetype.client import Client
from archetype.contract.api_key import Scope
from deploy.local import Stack
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.callers import issue_token
from tests.support.networks import small
from tests.support.releases import ENTRY
from tests.support.run_method import encode, noise
from tests.support.waiting import wait_until

PLAN = {"name": "qzx-plan", "classes": ["one"], "seeds": [1, 2], "noise_seeds": [3, 4], "baselines": []}
PLAN |= {"probes": [], "class_models": {"steps": 2, "extras": False}, "saliency": {"outputs": ["raw"]}}
JOB: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2}}
SALIENCY: dict[str, Any] = {"method": "saliency", "model": "shapes", "targets": ["lemon"]}
TENSOR = {"name": "images", "datatype": "UINT8", "shape": [1, 2, 2], "data": [0, 255, 255, 0]}
DECISION = {"decision": "approve", "name": "Mallory", "reason": "none"}
MODEL, CLASS, TAG = "qzxalice", "qzx-class", "qzx-tag"

UNKNOWN = {
    "job": "0" * 25 + "1",
    "audit": "0" * 25 + "2",
    "delivery": "0" * 25 + "3",
    "image": "0" * 64,
    "archive": "1" * 64,
    "weights": "2" * 64,
    "schedule": "0" * 25 + "4",
    "key": "0" * 16,
    "model": "qzxnobdy",
    "tag": "qzx-gat",
    "artifact": "qzx.png",
}
"""What does not exist, in the form of what Alice has."""


@dataclass(frozen=True)
class Call:
    """A call that Mallory makes, with `<name>` for something that Alice has.

    Attributes:
        path: Path and query.
        body: JSON body, or None.
        file: Content of an uploaded file, or None.
        headers: Further headers.
        status: Status of the response; by default any, as long as it is the same for what does not exist.
    """

    path: str
    body: Any = None
    file: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


def probes() -> dict[str, list[Call]]:
    """Mallory's calls, by the operation of the OpenAPI document."""
    image, archive = encode(noise(8, 8, 3, seed=901)), make_archive(902)
    job, audit, delivery = "/v1/jobs/<job>", "/v1/audits/<audit>", "/v1/webhooks/deliveries/<delivery>"
    registration = ENTRY | {"name": "mallorys"}
    return {
        "get /healthz": [Call("/healthz", status=200)],
        "get /readyz": [Call("/readyz", status=200)],
        "get /v2/health/live": [Call("/v2/health/live", status=200)],
        "get /v2/health/ready": [Call("/v2/health/ready", status=200)],
        "get /metrics": [Call("/metrics", status=403)],
        "post /v1/archives": [Call("/v1/archives", file=archive, status=201)],
        "post /v1/images": [Call("/v1/images", file=image, status=201)],
        "post /v1/weights": [Call("/v1/weights", file=b"mallorys", status=201)],
        "get /v1/images/{image_id}": [Call("/v1/images/<image>", status=404)],
        "post /v1/audits": [Call("/v1/audits", {"model": name, "plan": PLAN}, status=422) for name in named_models()]
        + [Call("/v1/audits", {"model": "shapes", "plan": PLAN | {"baselines": ["<model>"]}}, status=422)],
        "get /v1/audits": [Call("/v1/audits"), Call("/v1/audits?model=<model>")],
        "get /v1/audits/{audit_id}": [Call(audit, status=404), Call("/v1/audits/<job>", status=404)],
        "post /v1/audits/{audit_id}/cancel": [Call(f"{audit}/cancel", status=404)],
        "post /v1/audits/{audit_id}/decision": [Call(f"{audit}/decision", DECISION, status=404)],
        "get /v1/audits/{audit_id}/signature": [Call(f"{audit}/signature", status=404)],
        "get /v1/signing-key": [Call("/v1/signing-key", status=200)],
        "get /v1/audits/{audit_id}/events": [Call(f"{audit}/events", status=404)],
        "get /v1/audits/{audit_id}/report": [Call(f"{audit}/report", status=404)],
        "get /v1/events": [],  # `test_the_stream_of_events_has_only_the_jobs_of_its_tenant`
        "post /v1/jobs": [
            *(Call("/v1/jobs", JOB | {"model": name, "targets": [0]}, status=422) for name in named_models()),
            Call("/v1/jobs", JOB | {"params": {"steps": 2, "judges": ["<model>"]}}, status=422),
            Call("/v1/jobs", JOB | {"params": {"steps": 2, "start_image": "<image>"}}, status=422),
            Call("/v1/jobs", SALIENCY | {"images": ["<image>"]}, status=422),
            Call("/v1/jobs", SALIENCY | {"images": {"archive": "<archive>"}}, status=422),
            Call("/v1/jobs", SALIENCY | {"images": {"prefix": "images/alice/<image>"}}, status=422),
            Call("/v1/jobs", SALIENCY | {"images": {"prefix": "probes/../images/alice/"}}, status=422),
        ],
        "get /v1/jobs": [
            Call("/v1/jobs"), Call("/v1/jobs?tag=<tag>"), Call("/v1/jobs?model=<model>"),
            Call("/v1/jobs?state=succeeded"),
        ],
        "get /v1/jobs/{job_id}": [Call(job, status=404), Call(job, headers={"If-None-Match": "<etag>"}, status=404)],
        "delete /v1/jobs/{job_id}": [Call(job, status=404)],
        "get /v1/jobs/{job_id}/artifacts": [Call(f"{job}/artifacts", status=404)],
        "get /v1/jobs/{job_id}/artifacts/{name}": [
            Call(f"{job}/artifacts/<artifact>", status=404), Call(f"{job}/artifacts/<artifact>?redirect=1", status=404),
        ],
        "get /v1/jobs/{job_id}/archive": [Call(f"{job}/archive", status=404)],
        "post /v1/jobs/{job_id}/cancel": [Call(f"{job}/cancel", status=404)],
        "get /v1/jobs/{job_id}/events": [Call(f"{job}/events", status=404)],
        "post /v1/jobs/{job_id}/retry": [Call(f"{job}/retry", status=404)],
        "post /v1/keys": [Call("/v1/keys", {"tenant": "alice"}, status=403)],
        "get /v1/keys": [Call("/v1/keys", status=403)],
        "delete /v1/keys/{key_id}": [Call("/v1/keys/<key>", status=403)],
        "get /v1/methods": [Call("/v1/methods", status=200)],
        "get /v1/models": [Call("/v1/models", status=200)],
        "post /v1/models": [
            Call("/v1/models", registration | {"upload": "<weights>"}, status=422),
            Call("/v1/models", registration | {"key": "weights/alice/<weights>"}, status=422),
            Call("/v1/models", registration | {"key": "exports/../weights/alice/<weights>"}, status=422),
        ],
        "get /v1/registrations": [Call("/v1/registrations", status=200)],
        "get /v1/models/{model}/trend": [Call("/v1/models/<model>/trend", status=404)],
        "get /v1/models/{reference}": [Call(f"/v1/models/{name}", status=404) for name in named_models()],
        "get /v1/models/{reference}/atlas": [
            *(Call(f"/v1/models/{name}/atlas", status=404) for name in named_models()),
            Call("/v1/models/shapes/atlas", status=200),
        ],
        "post /v1/models/{reference}:explain": [
            Call(f"/v1/models/{name}:explain", {"instances": [[[0, 255], [255, 0]]]}, status=422)
            for name in named_models()
        ],
        "get /v2/models/{reference}": [Call(f"/v2/models/{name}", status=404) for name in named_models()],
        "get /v2/models/{reference}/ready": [Call(f"/v2/models/{name}/ready", status=404) for name in named_models()],
        "post /v2/models/{reference}/explain": [
            Call(f"/v2/models/{name}/explain", {"inputs": [TENSOR]}, status=422) for name in named_models()
        ],
        "get /v1/registry/mlflow": [Call("/v1/registry/mlflow", status=200)],
        "post /v1/registry/mlflow": [Call("/v1/registry/mlflow", {"entity": "model_version", "action": "created",
                                          "data": {"name": "<model>", "version": "1"}}, status=401)],
        "post /v1/releases": [Call("/v1/releases", {"model": name}, status=422) for name in named_models()],
        "post /v1/schedules": [Call("/v1/schedules", {"model": "<model>", "plan": PLAN}, status=422)],
        "get /v1/schedules": [Call("/v1/schedules", status=200)],
        "get /v1/schedules/{schedule_id}": [Call("/v1/schedules/<schedule>", status=404)],
        "delete /v1/schedules/{schedule_id}": [Call("/v1/schedules/<schedule>", status=404)],
        "get /v1/webhooks/deliveries": [Call("/v1/webhooks/deliveries", status=200)],
        "get /v1/webhooks/deliveries/{delivery_id}": [Call(delivery, status=404)],
        "post /v1/webhooks/deliveries/{delivery_id}/replay": [Call(f"{delivery}/replay", status=404)],
        "get /v1/webhooks/secret": [Call("/v1/webhooks/secret", status=200)],
        "post /v1/webhooks/secret": [Call("/v1/webhooks/secret", status=201)],
    }  # fmt: skip


def named_models() -> tuple[str, str]:
    return "<model>", "<model>@1"


@dataclass
class World:
    """The running service, what Alice has there, and the secrets that no response to Mallory may contain."""

    stack: Stack
    alice: httpx2.Client
    mallory: httpx2.Client
    theirs: dict[str, str]
    secrets: set[str]

    def call(self, method: str, call: Call, things: dict[str, str]) -> httpx2.Response:
        """Makes Mallory's call about these things."""
        body = None if call.body is None else json.loads(fill(json.dumps(call.body), things))
        headers = {name: fill(value, things) for name, value in call.headers.items()}
        files = None if call.file is None else {"file": ("qzx", call.file)}
        return self.mallory.request(method, fill(call.path, things), json=body, files=files, headers=headers)


def fill(text: str, things: dict[str, str]) -> str:
    for name, value in things.items():
        text = text.replace(f"<{name}>", value)
    return text


def make_archive(seed: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.png", encode(noise(8, 8, 3, seed=seed)))
    return file.getvalue()


def make_weights(seed: float) -> bytes:
    return save({name: value + seed for name, value in small(3).state_dict().items()})


def connect(stack: Stack, tenant: str) -> httpx2.Client:
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        token = issue_token(operator, tenant, scopes=list(Scope))
    return httpx2.Client(base_url=stack.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def post(client: httpx2.Client, path: str, body: Any = None, file: bytes | None = None, **headers: str) -> Any:
    files = None if file is None else {"file": ("qzx", file)}
    answer = client.post(path, json=body, files=files, headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def wait_for(client: httpx2.Client, path: str) -> Any:
    """Waits until a job or an audit has ended."""
    ended = {"succeeded", "failed", "cancelled"}
    wait_until(lambda: client.get(path).json()["state"] in ended, 400)
    return client.get(path).json()


def register(client: httpx2.Client, name: str, **fields: Any) -> httpx2.Response:
    body = ENTRY | {"name": name, "classes": ["one", "two", CLASS]} | fields
    answer = client.post("/v1/models", json=body, headers={"Prefer": "wait=50"})
    if answer.status_code == 202:  # a slow machine
        wait_until(lambda: client.get(f"/v1/models/{name}").is_success, 400)
    return answer


def settle(client: httpx2.Client, job: dict[str, Any]) -> dict[str, str]:
    """What there is of a job that has ended: its id, an artifact, its ETag and its delivery."""
    done = wait_for(client, f"/v1/jobs/{job['id']}")
    assert done["state"] == "succeeded", done
    deliveries = wait_until(lambda: client.get("/v1/webhooks/deliveries").json()["items"], 60)
    etag = client.get(f"/v1/jobs/{job['id']}").headers["ETag"]
    return {
        "job": job["id"], "artifact": done["artifacts"][0]["name"], "etag": etag, "delivery": deliveries[0]["id"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    with connect(stack, "alice") as alice, connect(stack, "mallory") as mallory:
        weights = make_weights(0.25)
        theirs = {
            "image": post(alice, "/v1/images", file=encode(noise(8, 8, 3, seed=911)))["id"],
            "archive": post(alice, "/v1/archives", file=make_archive(912))["id"],
            "weights": post(alice, "/v1/weights", file=weights)["id"],
            "model": MODEL,
            "tag": TAG,
            "key": alice.headers["Authorization"].split("_")[1],
        }
        assert register(alice, MODEL, upload=theirs["weights"]).status_code in (201, 202)
        hook = f"http://127.0.0.1:9/{TAG}"
        job = post(alice, "/v1/jobs", JOB | {"model": MODEL, "targets": [0], "tags": [TAG], "webhook": hook})
        audit = post(alice, "/v1/audits", {"model": MODEL, "plan": PLAN, "tags": [TAG]})
        schedule = post(
            alice, "/v1/schedules", {"model": MODEL, "plan": PLAN, "on_release": False, "cron": "0 0 29 2 *"}
        )
        theirs |= settle(alice, job) | {"audit": audit["id"], "schedule": schedule["id"]}
        assert wait_for(alice, f"/v1/audits/{audit['id']}")["state"] == "succeeded"
        theirs["decision"] = post(alice, f"/v1/audits/{audit['id']}/decision", DECISION)["id"]
        hidden = {value for name, value in theirs.items() if name != "artifact"} | {CLASS, hook, hook.partition(":")[2]}
        hidden |= {secret["value"] for secret in find_secrets(alice.get("/v1/webhooks/secret").json())}
        yield World(stack, alice, mallory, theirs, hidden)
        alice.delete(f"/v1/schedules/{schedule['id']}")


def find_secrets(document: Any) -> list[dict[str, str]]:
    return [{"value": value} for value in json.dumps(document).split('"') if value.startswith("whsec_")]


def list_operations(document: dict[str, Any]) -> set[str]:
    return {
        f"{method} {path}" for path, methods in document["paths"].items() for method in methods if method in METHODS
    }


METHODS = {"get", "post", "put", "patch", "delete"}
PROBES = probes()


def test_every_operation_of_the_api_has_a_case(stack: Stack) -> None:
    assert set(PROBES) == list_operations(httpx2.get(f"{stack.url}/openapi.json").json())


@pytest.mark.parametrize("operation", PROBES)
def test_a_call_about_things_of_another_tenant_has_the_answer_for_things_that_do_not_exist(
    world: World, operation: str
) -> None:
    method = operation.partition(" ")[0].upper()
    for call in PROBES[operation]:
        answers = [world.call(method, call, things) for things in (world.theirs, {**world.theirs, **UNKNOWN})]
        assert answers[0].status_code == answers[1].status_code, call
        assert call.status in (None, answers[0].status_code), answers[0].text
        if "<" in call.path + json.dumps(call.body):
            assert normalize(answers[0], world.theirs) == normalize(answers[1], UNKNOWN), call
        used = {value for name, value in world.theirs.items() if f"<{name}>" in call.path + json.dumps(call.body)}
        told = [secret for secret in world.secrets - used if secret in answers[0].text + str(dict(answers[0].headers))]
        assert not told, call


def normalize(answer: httpx2.Response, things: dict[str, str]) -> str:
    """The body of a response without the names of these things."""
    text = answer.text
    for value in sorted(things.values(), key=len, reverse=True):
        text = text.replace(value, "…")
    return text


def test_no_page_shows_things_of_another_tenant(world: World) -> None:
    pages = [
        rule.rule for rule in create_app(world.stack.settings).url_map.iter_rules() if "GET" in (rule.methods or ())
    ]
    visited = 0
    for path in pages:
        if "<" in path or path.startswith("/v1/events"):
            continue
        answer = world.mallory.get(path)
        assert not [secret for secret in world.secrets if secret in answer.text], path
        visited += 1
    assert visited > 15


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/<job>",
        "/jobs/<job>/thumbnail",
        "/jobs/<job>/frames/0000-one.webp",
        "/jobs/<job>/frames/0000-one.webp/0",
        "/new/class_model?job=<job>",
        "/compare?job=<job>",
    ],
)
def test_the_pages_of_a_job_of_another_tenant_look_like_those_of_an_unknown_job(world: World, path: str) -> None:
    answers = [world.mallory.get(fill(path, things)) for things in (world.theirs, {**world.theirs, **UNKNOWN})]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert normalize(answers[0], world.theirs) == normalize(answers[1], UNKNOWN)


@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_chosen_jobs_of_another_tenant_are_left_alone(world: World, action: str) -> None:
    answer = world.mallory.post(f"/jobs/{action}", data={"job": [world.theirs["job"], world.theirs["audit"]]})
    assert answer.status_code == 303
    assert world.alice.get(f"/v1/jobs/{world.theirs['job']}").json()["state"] == "succeeded"


def test_everything_is_still_there_for_its_owner(world: World) -> None:
    theirs = world.theirs
    for path in (
        "/v1/jobs/<job>", "/v1/jobs/<job>/archive", "/v1/jobs/<job>/artifacts", "/v1/jobs/<job>/artifacts/<artifact>",
        "/v1/audits/<audit>", "/v1/images/<image>",
        "/v1/models/<model>@1", "/v1/models/<model>/trend", "/v1/schedules/<schedule>",
        "/v1/webhooks/deliveries/<delivery>",
    ):  # fmt: skip
        assert world.alice.get(fill(path, theirs)).status_code == 200, path
    assert theirs["job"] in world.alice.get(f"/v1/jobs?tag={TAG}").text


def test_a_digest_does_not_lead_to_weights_in_the_cache_of_a_worker(world: World) -> None:
    other = make_weights(0.5)
    Bucket(world.stack.settings).put("exports/mallory.safetensors", other, media_type="application/octet-stream")
    digest = world.theirs["weights"]
    answer = register(world.mallory, "from-key", key="exports/mallory.safetensors", sha256=digest)
    assert answer.status_code == 422, answer.text
    assert hashlib.sha256(other).hexdigest() in answer.json()["detail"]  # her own object was read


def test_the_same_name_is_another_network_for_each_tenant(world: World) -> None:
    """The caches of the worker, the lanes of the queue, the description and the plan keep them apart."""
    mine = post(world.mallory, "/v1/weights", file=make_weights(0.75))["id"]
    assert register(world.mallory, MODEL, upload=mine).status_code in (201, 202)
    body = JOB | {"model": MODEL, "targets": [0]}
    jobs = [(client, post(client, "/v1/jobs", body)["id"]) for client in (world.alice, world.mallory) * 2]
    digests = []
    for client, job_id in jobs:
        done = wait_for(client, f"/v1/jobs/{job_id}")
        assert done["state"] == "succeeded", done
        digests.append(done["provenance"]["model"]["sha256"])
    assert digests == [world.theirs["weights"], mine] * 2
    described = [client.get(f"/v1/models/{MODEL}").json()["releases"] for client in (world.alice, world.mallory)]
    assert [[release["sha256"] for release in each] for each in described] == [[world.theirs["weights"]], [mine]]


def test_the_stream_of_events_has_only_the_jobs_of_its_tenant(world: World) -> None:
    with world.mallory.stream("GET", "/v1/events") as stream:
        hers = post(world.alice, "/v1/jobs", JOB)["id"]
        mine = post(world.mallory, "/v1/jobs", JOB)["id"]
        text = ""
        for part in stream.iter_text():
            text += part
            if mine in text:
                break
    assert hers not in text


def test_a_presigned_url_gives_access_to_its_own_object_only(world: World) -> None:
    job = post(world.mallory, "/v1/jobs", JOB)["id"]
    done = wait_for(world.mallory, f"/v1/jobs/{job}")
    own = world.mallory.get(f"/v1/jobs/{job}/artifacts/{done['artifacts'][0]['name']}?redirect=1")
    url = own.headers["Location"]
    assert httpx2.get(url).status_code == 200
    theirs = Bucket(world.stack.settings).keys(f"jobs/{world.theirs['job']}/attempts/")
    path = urlsplit(url).path
    for key in (next(theirs), f"weights/alice/{world.theirs['weights']}"):
        assert httpx2.get(url.replace(path, f"/{world.stack.settings.s3_bucket}/{key}")).status_code == 403


def test_an_idempotency_key_of_another_tenant_is_unused(world: World) -> None:
    first = post(world.alice, "/v1/jobs", JOB, **{"Idempotency-Key": "qzx"})["id"]
    answers = [world.mallory.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": key}) for key in ("qzx", "qzx-new")]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert first not in {answer.json()["id"] for answer in answers}


def test_a_result_of_another_tenant_that_has_expired_looks_like_one_that_never_existed(world: World) -> None:
    job = wait_for(world.alice, f"/v1/jobs/{post(world.alice, '/v1/jobs', JOB)['id']}")
    JobStore(Bucket(world.stack.settings)).expire_job(job["id"], "alice")
    with RedisClient(world.stack.settings).connection() as redis:
        redis.delete(f"archetype:job:{job['id']}")
    assert world.alice.get(f"/v1/jobs/{job['id']}").status_code == 410
    answers = [world.mallory.get(f"/v1/jobs/{job_id}") for job_id in (job["id"], UNKNOWN["job"])]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(job["id"], "ID") == answers[1].text.replace(UNKNOWN["job"], "ID")


def test_the_metrics_are_closed_to_tenants_and_open_to_the_holder_of_their_token(world: World) -> None:
    app = create_app(
        world.stack.settings.model_copy(update={"keyless_loopback": False, "metrics_token": SecretStr("scrape")})
    ).test_client()
    assert app.get("/metrics").status_code == 401
    text = app.get("/metrics", headers={"Authorization": "Bearer scrape"}).text
    assert MODEL in text  # which is why tenants must not read it
    assert JobIndex(RedisClient(world.stack.settings)).find(world.theirs["job"]) is not None
