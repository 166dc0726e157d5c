"""What calls and answers look like, for the description of the API: one of every type that it names."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from api.health import Health
from api.menu import Method, Methods
from api.mlflow import Heard, RegistryEvent
from api.models import Models, ModelSummary, ModelView, ReleaseView
from api.openapi import Examples
from api.weights import StoredWeights
from shared import errors
from shared.access import IssuedKey, Key, Keys, Limits, NewKey
from shared.audits import Audits, AuditView, Finding, Measured, Member, NewAudit, Trend, TrendPoint
from shared.catalogue import Preprocessing
from shared.errors import FieldError, Problem
from shared.jobs import Artifact, Job, Jobs, Progress, State, TargetClass, links_of
from shared.methods import MENU, Looking, Request
from shared.parameters.audit import Plan, Probe, Waiver
from shared.parameters.subjects import TrueBox
from shared.registration import NewRelease, Registration
from shared.schedules import (
    Announced,
    Announcement,
    NewAnnouncement,
    NewSchedule,
    Outcome,
    Schedule,
    Schedules,
    WriteBack,
)
from shared.storage import Layer
from shared.uploads import ArchiveFacts, Image
from shared.webhooks import Deliveries, Delivery, Secret, Secrets, Try

WHEN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
JOB, DIGEST, KEY_ID = (
    "01k9v0m2q7gq5n9w3t8yx4r6zs",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "0123456789abcdef",
)

PLACES: dict[str, str] = {
    "job_id": JOB,
    "audit_id": JOB,
    "image_id": DIGEST,
    "reference": "shapes@1",
    "model": "shapes",
    "name": "0000-lemon.png",
    "key_id": KEY_ID,
    "delivery_id": JOB,
    "schedule_id": JOB,
}
"""Parts of paths, by the name of the part."""

HEADERS: dict[str, str] = {
    "Idempotency-Key": "nightly-2026-11-21-lemon",
    "Cancel-After": "15m",
    "Prefer": "wait=30",
    "Last-Event-ID": "1763717400000-0",
}

PICTURE = Artifact(
    name="0000-lemon.png", media_type="image/png", bytes=14_210, sha256=DIGEST,
    href=f"/v1/jobs/{JOB}/artifacts/0000-lemon.png", target=TargetClass(index=0, name="lemon"),
)  # fmt: skip
DONE = Job(
    id=JOB, method="class_model", model="shapes@1", state=State.SUCCEEDED, tags=["nightly"],
    progress=Progress(done=128, total=128), attempt=1, created_at=WHEN, deadline=WHEN + timedelta(hours=1),
    started_at=WHEN + timedelta(seconds=0.03), finished_at=WHEN + timedelta(seconds=2.4), artifacts=[PICTURE],
    metrics={"targets": [{"target": {"index": 0, "name": "lemon"}, "score": 21.4, "probability": 0.9998}]},
    provenance={"device": "cpu", "seed": 0}, links=links_of(JOB),
)  # fmt: skip
LISTED = DONE.model_copy(update={"artifacts": [], "metrics": {}, "provenance": {}})

NEW_KEY = NewKey(
    tenant="vision", name="nightly audits", expires_at=WHEN + timedelta(days=90),
    limits=Limits(submits_per_minute=60, queued_targets=5000),
)  # fmt: skip
KEY = Key(**dict(NEW_KEY), id=KEY_ID, created_at=WHEN)
NEW_RELEASE = NewRelease(
    name="fruit", release="2026-11-21", architecture="torchvision:resnet18", upload=DIGEST,
    classes=["apple", "lemon", "pear"], preprocessing=Preprocessing(resize=256),
)  # fmt: skip
DELIVERY = Delivery(
    id=JOB, url="https://platform.example.com/hooks/archetype", event="job.succeeded", created_at=WHEN,
    data={"id": JOB, "method": "class_model", "model": "shapes@1", "state": "succeeded"}, state="delivered",
    tries=[Try(at=WHEN, seconds=0.041, status=200)],
)  # fmt: skip
NEW_AUDIT = NewAudit(
    model="fruit@2026-11-21",
    plan=Plan(
        name="nightly", judges=["mobilenetv2"],
        probes=[Probe(id=DIGEST, target="lemon", boxes=[TrueBox(left=12, top=8, right=60, bottom=55)])],
        waivers=[
            Waiver(gate="appearance", target="pear", owner="ann", reason="new pictures", expires=date(2026, 12, 31))
        ],
    ),
)  # fmt: skip
AUDIT = AuditView(
    id=JOB, model="fruit@2026-11-21", baselines=["fruit@2026-10-30"], plan="nightly",
    plan_version=NEW_AUDIT.plan.version, state=State.SUCCEEDED, verdict="fail", tags=["audit"],
    summary="fail: 1 finding, the worst of lemon: a small mark in a corner makes others a lemon",
    findings=[
        Finding(
            gate="shortcut", severity="fail", target="lemon", baseline="fruit@2026-10-30", tolerance=0.25, noise=0.02,
            change=Measured(value=0.94, low=0.88, high=0.98), reason="a small mark in a corner makes others a lemon",
        )
    ],
    progress=Progress(done=7, total=7, unit="job"), created_at=WHEN, finished_at=WHEN + timedelta(minutes=4),
    members=[Member(role="subject/class_models", job=JOB, state=State.SUCCEEDED, href=f"/v1/jobs/{JOB}")],
    links={"self": f"/v1/audits/{JOB}", "report": f"/v1/audits/{JOB}/report"},
)  # fmt: skip
NEW_SCHEDULE = NewSchedule(
    model="fruit", plan=Plan(name="nightly"), cron="30 3 * * 1-5", timezone="Europe/Berlin", jitter_seconds=300,
    write_back=WriteBack(alias="audited"),
)  # fmt: skip
OUTCOME = Outcome(release="2026-11-21", at=WHEN, audit=JOB)
SCHEDULE = Schedule(
    **dict(NEW_SCHEDULE), id=JOB, created_at=WHEN, next_at=WHEN + timedelta(hours=17), outcomes=[OUTCOME]
)
ANNOUNCED = Announced(schedule=JOB, outcome=OUTCOME)
EVENT = RegistryEvent(entity="model_version", action="created", data={"name": "fruit", "version": "3"})
SECRETS = Secrets(items=[Secret(secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", created_at=WHEN)])  # noqa: S106
IMAGE = Image(id=DIGEST, format="PNG", width=80, height=80, bytes=11_873)
FIT = Preprocessing(size=(80, 80), mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])

ANSWERS: list[BaseModel] = [
    DONE,
    Jobs(items=[LISTED], next_cursor="MDFrOXYwbTJxN2dxNW45dzN0OHl4NHI2enM="),
    IMAGE,
    ArchiveFacts(id=DIGEST, pictures=1200, bytes=84_113_020),
    StoredWeights(id=DIGEST, bytes=46_830_571),
    Methods(items=[Method(method="filters", description=(MENU["filters"].__doc__ or ""), schema={"type": "object"})]),
    Models(items=[ModelSummary(name="shapes", releases=["1"], classes=12, size=(80, 80), href="/v1/models/shapes")]),
    ModelView(
        name="shapes", release="1", class_names=["lemon", "strawberry"],
        releases=[
            ReleaseView(
                release="1", architecture="factory:shapes", preprocessing=FIT, classes=2, sha256=DIGEST,
                parameters=250_000,
            )
        ],
        layers=[Layer(name="features.0", kind="Conv2d", shape=[24, 40, 40], channels=24, filters=24)],
    ),
    Registration(entry=NEW_RELEASE.to_release(["apple", "lemon", "pear"], None), registered_at=WHEN, attempt=0),
    Health(status="ok", parts={"redis": "ok", "object store": "ok"}),
    KEY,
    Keys(items=[KEY]),
    IssuedKey(**dict(KEY), token=f"archetype_{KEY_ID}_9Yb0s0wqT3dXbR5m2m0yqv4x1w6h8k3p7r2c5n9t0z4"),
    SECRETS,
    DELIVERY,
    Deliveries(items=[DELIVERY]),
    AUDIT,
    Audits(items=[LISTED.model_copy(update={"method": "audit", "tags": ["audit"]})]),
    Trend(
        model="fruit",
        points=[
            TrendPoint(
                release="2026-11-21", audit=JOB, plan="nightly", plan_version=NEW_AUDIT.plan.version,
                baselines=AUDIT.baselines, verdict="fail", summary=AUDIT.summary or "", findings={"fail": 1},
                figures={"accuracy": 0.97, "confidence": 0.91, "focus": 0.62, "recognised": 1.0}, finished_at=WHEN,
            )
        ],
    ),
    SCHEDULE,
    Schedules(items=[SCHEDULE]),
    Announcement(model="fruit@2026-11-21", audits=[ANNOUNCED]),
    Heard(model="fruit@3", known=True, audits=[ANNOUNCED]),
]  # fmt: skip
"""One of every type that is answered."""

PROBLEMS: dict[int, Problem] = {
    400: errors.MalformedJSON("the body is not JSON: Expecting value, line 1, column 12"),
    401: errors.Unauthorized("send Authorization: Bearer and a key that has not ended"),
    403: errors.Forbidden("this call needs the scope 'operate'; this key has read, submit"),
    404: errors.NotFound(f"there is no job {JOB}; GET /v1/jobs lists those there are"),
    409: errors.NotFinished(f"job {JOB} is running; cancel it first with POST /v1/jobs/{JOB}/cancel"),
    410: errors.Gone(f"the result of job {JOB} was kept for as long as results are; run it again"),
    411: errors.LengthRequired("send the body with a Content-Length"),
    413: errors.TooLarge("the body is larger than 50000000 bytes"),
    415: errors.UnsupportedMediaType("send the body as application/json"),
    422: errors.UnknownTarget(
        "'lemmon' is not a class of shapes@1: did you mean 'lemon'?; GET /v1/models/shapes lists its classes",
        FieldError(field="/targets/0", detail="not a class of shapes@1", given="lemmon", allowed=["lemon"]),
    ),
    429: errors.QueueFull("1000 jobs are queued, which is as many as may be; try again later"),
    503: errors.Unavailable("the object store does not answer; try again in a moment"),
}
"""What a refusal looks like, by status."""

ASKED: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["lemon", "bee"], "params": {"preset": "lucid", "steps": 200}},
    "saliency": {"targets": {"top": 3}, "params": {"kind": "smoothgrad"}},
    "localization": {"targets": {"top": 1}},
    "patches": {"params": {"square": 28, "stride": 4}},
    "fool": {"targets": ["daisy"]},
    "feature_inversion": {"params": {"layers": ["features.0", "features.4"]}},
    "deep_dream": {"params": {"objective": {"kind": "norm", "layer": "features.3"}}},
    "activations": {"params": {"layers": ["features.2"]}},
    "filters": {},
}
"""What is asked of each method, beside the model and pictures."""


def show_examples() -> Examples:
    """All of them, as JSON."""
    return Examples(
        bodies={
            Request: {method: write_request(method) for method in MENU},
            NewKey: {"for a tenant": NEW_KEY.model_dump(mode="json", exclude_none=True)},
            NewAudit: {"with one probe": NEW_AUDIT.model_dump(mode="json", exclude_unset=True)},
            NewSchedule: {"on releases and at night": NEW_SCHEDULE.model_dump(mode="json", exclude_unset=True)},
            NewAnnouncement: {"by name and release": {"model": "fruit@2026-11-21"}},
            RegistryEvent: {"a new version": EVENT.model_dump(mode="json")},
            NewRelease: {"with uploaded weights": NEW_RELEASE.model_dump(mode="json", exclude_unset=True)},
        },
        answers={type(answer): answer.model_dump(mode="json", by_alias=True) for answer in ANSWERS},
        problems={status: problem.document.model_dump(mode="json") for status, problem in PROBLEMS.items()},
        parameters=PLACES | HEADERS,
    )


def write_request(method: str) -> dict[str, Any]:
    """What asks for a job of a method."""
    looks = {"images": [DIGEST]} if issubclass(MENU[method], Looking) else {}
    return {"method": method, "model": "shapes", **looks, **ASKED[method]}
