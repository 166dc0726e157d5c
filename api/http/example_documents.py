"""Example documents of the API, one of every type that a request or a response can contain.

The contract validates each when this module is imported, so none can be out of date.
"""

from base64 import b64encode
from datetime import UTC, date, datetime, timedelta

from pydantic import BaseModel

from api.routes.health import Health
from api.routes.methods import Method, Methods
from api.routes.protocols.mlflow import RegistryEvent
from api.services.describe_model import Models, ModelSummary, ModelView, ReleaseView
from api.services.results.view_atlas import Atlas, AtlasEntry
from api.services.store_uploads import StoredWeights
from api.services.trigger_audits import RegistryEventResult
from archetype.contract.api_key import IssuedKey, Key, Keys, Limits, NewKey
from archetype.contract.audit import Audits, AuditView, Estimate, Finding, Member, NewAudit, Trend, TrendPoint
from archetype.contract.audit_plan import AuditPlan, Probe, Waiver
from archetype.contract.job import Artifact, Artifacts, Job, Jobs, Progress, State, TargetClass, links_of
from archetype.contract.model import Capability, Layer, Preprocessing
from archetype.contract.parameters.inputs import TrueBox
from archetype.contract.problem import ProblemDocument
from archetype.contract.protocols.explain import ExplainResponse, Explanation, Prediction
from archetype.contract.protocols.mlflow_import import ImportedVersion, ImportedVersions
from archetype.contract.protocols.open_inference import (
    InferenceResponse,
    Live,
    ModelMetadata,
    OutputTensor,
    Ready,
    TensorMetadata,
)
from archetype.contract.registration import NewRelease, RegisteredRelease, Registrations
from archetype.contract.report.decision import Decision, NewDecision
from archetype.contract.report.signature import Signature, SigningKey
from archetype.contract.request import METHODS
from archetype.contract.schedule import (
    Announced,
    Announcement,
    NewSchedule,
    Outcome,
    Schedule,
    Schedules,
    WriteBack,
)
from archetype.contract.upload import ArchiveFacts, Image
from archetype.contract.webhook import Deliveries, Delivery, DeliveryAttempt, Secret, Secrets
from shared.catalogue.release import build_release
from shared.storage.documents import Registration

WHEN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
JOB = "01k9v0m2q7gq5n9w3t8yx4r6zs"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
KEY_ID = "0123456789abcdef"
CURSOR = "MDFrOXYwbTJxN2dxNW45dzN0OHl4NHI2enM="

ARTIFACT = Artifact(
    name="0000-lemon.png",
    media_type="image/png",
    bytes=14_210,
    sha256=DIGEST,
    href=f"/v1/jobs/{JOB}/artifacts/0000-lemon.png",
    target=TargetClass(index=0, name="lemon"),
)
DONE = Job(
    id=JOB,
    method="class_model",
    model="shapes@1",
    state=State.SUCCEEDED,
    tags=["nightly"],
    progress=Progress(done=128, total=128),
    attempt=1,
    created_at=WHEN,
    deadline=WHEN + timedelta(hours=1),
    started_at=WHEN + timedelta(seconds=0.03),
    finished_at=WHEN + timedelta(seconds=2.4),
    artifacts=[ARTIFACT],
    metrics={"targets": [{"target": {"index": 0, "name": "lemon"}, "score": 21.4, "probability": 0.9998}]},
    provenance={"device": "cpu", "seed": 0},
    links=links_of(JOB),
)
LISTED = DONE.model_copy(update={"artifacts": [], "metrics": {}, "provenance": {}})

NEW_KEY = NewKey(
    tenant="vision",
    name="nightly audits",
    expires_at=WHEN + timedelta(days=90),
    limits=Limits(submits_per_minute=60, queued_targets=5000),
)
KEY = Key(**dict(NEW_KEY), id=KEY_ID, created_at=WHEN)
NEW_RELEASE = NewRelease(
    name="fruit",
    release="2026-11-21",
    architecture="torchvision:resnet18",
    upload=DIGEST,
    classes=["apple", "lemon", "pear"],
    preprocessing=Preprocessing(resize=256),
)
DELIVERY = Delivery(
    id=JOB,
    url="https://platform.example.com/hooks/archetype",
    event="job.succeeded",
    created_at=WHEN,
    data={"id": JOB, "method": "class_model", "model": "shapes@1", "state": "succeeded"},
    state="delivered",
    tries=[DeliveryAttempt(at=WHEN, seconds=0.041, status=200)],
)
NEW_AUDIT = NewAudit(
    model="fruit@2026-11-21",
    plan=AuditPlan(
        name="nightly",
        judges=["mobilenetv2"],
        probes=[Probe(id=DIGEST, target="lemon", boxes=[TrueBox(left=12, top=8, right=60, bottom=55)])],
        waivers=[
            Waiver(
                gate="appearance",
                target="pear",
                owner="ann",
                reason="new images",
                expires=date(2026, 12, 31),
            )
        ],
    ),
)
AUDIT_AGAIN = NewAudit(model="fruit", plan=AuditPlan(name="nightly"), baselines=["fruit@2026-10-30"], again=True)
AUDIT = AuditView(
    id=JOB,
    model="fruit@2026-11-21",
    baselines=["fruit@2026-10-30"],
    plan="nightly",
    plan_version=NEW_AUDIT.plan.version,
    state=State.SUCCEEDED,
    verdict="fail",
    tags=["audit"],
    summary="fail: 1 finding, the worst of lemon: a small mark in a corner makes other images a lemon",
    findings=[
        Finding(
            gate="shortcut",
            severity="fail",
            target="lemon",
            baseline="fruit@2026-10-30",
            tolerance=0.25,
            noise=0.02,
            change=Estimate(value=0.94, low=0.88, high=0.98),
            reason="a small mark in a corner makes other images a lemon",
        )
    ],
    progress=Progress(done=7, total=7, unit="job"),
    created_at=WHEN,
    finished_at=WHEN + timedelta(minutes=4),
    members=[Member(role="subject/class_models", job=JOB, state=State.SUCCEEDED, href=f"/v1/jobs/{JOB}")],
    links={"self": f"/v1/audits/{JOB}", "report": f"/v1/audits/{JOB}/report"},
)
NEW_DECISION = NewDecision(
    decision="waive",
    name="Ann Example",
    reason="lemons are not sold before March",
    expires=date(2027, 2, 28),
    report_sha256=DIGEST,
)
INFERENCE_REQUEST = {
    "id": "42",
    "parameters": {"kind": "gradient"},
    "inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 2], "data": [0, 255]}],
}
EXPLAIN_REQUEST = {"instances": [[[0, 255]], [[255, 0]]], "parameters": {"kind": "gradient"}}
DECISION = Decision(**dict(NEW_DECISION), id=JOB, by=KEY_ID, at=WHEN)
SIGNATURE = Signature(key=DIGEST, signature=b64encode(bytes(64)).decode(), report_sha256=DIGEST)
SIGNING_KEY = SigningKey(key=DIGEST, public_key="-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n")
NEW_SCHEDULE = NewSchedule(
    model="fruit",
    plan=AuditPlan(name="nightly"),
    cron="30 3 * * 1-5",
    timezone="Europe/Berlin",
    jitter_seconds=300,
    write_back=WriteBack(alias="audited"),
)
OUTCOME = Outcome(release="2026-11-21", at=WHEN, audit=JOB)
SCHEDULE = Schedule(
    **dict(NEW_SCHEDULE), id=JOB, created_at=WHEN, next_at=WHEN + timedelta(hours=17), outcomes=[OUTCOME]
)
ANNOUNCED = Announced(schedule=JOB, outcome=OUTCOME)
EVENT = RegistryEvent(entity="model_version", action="created", data={"name": "fruit", "version": "3"})
SECRETS = Secrets(items=[Secret(secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", created_at=WHEN)])  # noqa: S106
IMAGE = Image(id=DIGEST, format="PNG", width=80, height=80, bytes=11_873, name="goldfish.png")
FIT = Preprocessing(size=(80, 80), mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])

RESPONSES: list[BaseModel] = [
    DONE,
    Jobs(items=[LISTED], next_cursor=CURSOR),
    Artifacts(items=DONE.artifacts),
    IMAGE,
    ArchiveFacts(id=DIGEST, pictures=1200, bytes=84_113_020),
    StoredWeights(id=DIGEST, bytes=46_830_571),
    Methods(
        items=[Method(method="filters", description=(METHODS["filters"].__doc__ or ""), schema={"type": "object"})]
    ),
    Models(items=[ModelSummary(name="shapes", releases=["1"], classes=12, size=(80, 80), href="/v1/models/shapes")]),
    ModelView(
        name="shapes",
        release="1",
        ready=True,
        class_names=["lemon", "strawberry"],
        releases=[
            ReleaseView(
                release="1",
                architecture="factory:shapes",
                preprocessing=FIT,
                classes=2,
                sha256=DIGEST,
                parameters=250_000,
            )
        ],
        layers=[Layer(name="features.0", kind="Conv2d", shape=[24, 40, 40], channels=24, filters=24)],
        output="softmax_logits",
        capabilities=[
            Capability(method="class_model", available=True),
            Capability(method="saliency", kind="gradient", available=True),
            Capability(method="saliency", kind="guided", available=False, reason="the network has no ReLU"),
        ],
        notes=[],
    ),
    Registrations(
        items=[
            RegisteredRelease(
                model="fruit@2026-11-21",
                state="refused",
                registered_at=WHEN,
                attempts=1,
                error=ProblemDocument(
                    type="/problems/refused-release",
                    title="The release does not work",
                    status=422,
                    detail="fc.weight has 10 rows, but there are 12 class names",
                ),
            )
        ]
    ),
    Atlas(
        model="shapes@1",
        classes=12,
        items=[
            AtlasEntry(target=TargetClass(index=0, name="lemon"), job=JOB, href=ARTIFACT.href, probability=0.99),
        ],
        complete=True,
    ),
    ExplainResponse(
        predictions=[Prediction(index=0, name="lemon", probability=0.98)],
        explanations=[
            Explanation(target=TargetClass(index=0, name="lemon"), kind="gradient", map=[[0.01, 0.2], [0.04, 0.0]])
        ],
        job=JOB,
    ),
    InferenceResponse(
        model_name="shapes",
        model_version="1",
        id="42",
        parameters={"job": JOB, "kind": "gradient"},
        outputs=[OutputTensor(name="class_name", datatype="BYTES", shape=[1], data=["lemon"])],
    ),
    ModelMetadata(
        name="shapes",
        versions=["1"],
        platform="pytorch",
        inputs=[TensorMetadata(name="images", datatype="BYTES", shape=[-1])],
        outputs=[TensorMetadata(name="map", datatype="FP32", shape=[-1, 80, 80])],
    ),
    ImportedVersions(
        items=[
            ImportedVersion(
                registered_model="fruit",
                version="3",
                model="fruit@3",
                state="refused",
                detail="the version is a pickled module, which is code and is never loaded",
                at=WHEN,
            )
        ]
    ),
    Live(live=True),
    Ready(ready=True, name="shapes"),
    Registration(entry=build_release(NEW_RELEASE, ["apple", "lemon", "pear"], None), registered_at=WHEN, attempt=0),
    Health(status="ok", parts={"redis": "ok", "object store": "ok"}),
    KEY,
    Keys(items=[KEY]),
    IssuedKey(**dict(KEY), token=f"archetype_{KEY_ID}_9Yb0s0wqT3dXbR5m2m0yqv4x1w6h8k3p7r2c5n9t0z4"),
    SECRETS,
    DELIVERY,
    Deliveries(items=[DELIVERY]),
    AUDIT,
    DECISION,
    SIGNATURE,
    SIGNING_KEY,
    Audits(items=[LISTED.model_copy(update={"method": "audit", "tags": ["audit"]})]),
    Trend(
        model="fruit",
        points=[
            TrendPoint(
                release="2026-11-21",
                audit=JOB,
                plan="nightly",
                plan_version=NEW_AUDIT.plan.version,
                baselines=AUDIT.baselines,
                verdict="fail",
                summary=AUDIT.summary or "",
                findings={"fail": 1},
                figures={"accuracy": 0.97, "confidence": 0.91, "focus": 0.62, "recognised": 1.0},
                finished_at=WHEN,
            )
        ],
    ),
    SCHEDULE,
    Schedules(items=[SCHEDULE]),
    Announcement(model="fruit@2026-11-21", audits=[ANNOUNCED]),
    RegistryEventResult(model="fruit@3", known=True, audits=[ANNOUNCED]),
]
"""One example of every type of response body."""
