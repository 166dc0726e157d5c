"""An MLflow model registry: its webhooks are understood, and verdicts are written down in it.

MLflow signs the delivery's id, its time and the body, each after a dot, with HMAC-SHA256, and sends the result in
Base64 after `v1,` (mlflow.org/docs/latest/ml/webhooks, read in November 2026).
"""

import base64
import hashlib
import hmac
import time
from datetime import timedelta
from random import uniform
from typing import Any

import httpx2
import structlog
from flask import Blueprint, Response, request
from pydantic import ConfigDict, Field, SecretStr, ValidationError

from api.body import read_json
from api.lookup import find_job
from api.openapi import describes
from api.services import Services, services
from api.triggering import trigger
from shared.catalogue import Release
from shared.errors import FieldError, Forbidden, Gone, NotFound, Unauthorized
from shared.explanation import explain
from shared.jobs import Document, Job, State, now
from shared.schedules import Announced, PendingWriteBack, ScheduleStore, StoredSchedule

blueprint = Blueprint("mlflow", __name__, url_prefix="/v1/registry")
log = structlog.get_logger()

FRESH_SECONDS = 300
"""An older message may be one that somebody has overheard."""

UNDERSTOOD = {("model_version", "created"), ("model_version_alias", "created")}
"""Of its events; the others are taken, and nothing comes of them."""

CALL_SECONDS = 10.0
FIRST_SECONDS, LONGEST_SECONDS = 10.0, 3600.0
"""Between a first and a second try to write back, and between any two."""

GIVEN_UP_AFTER = timedelta(days=1)
"""Counted from the verdict's first try."""


class ModelVersion(Document):
    """What an event is about."""

    name: str = Field(examples=["fruit"])
    version: str = Field(examples=["3"])
    alias: str | None = None


class RegistryEvent(Document):
    """What MLflow sends."""

    model_config = ConfigDict(frozen=True, extra="allow")

    entity: str = Field(examples=["model_version"])
    action: str = Field(examples=["created"])
    data: dict[str, Any] = Field(default={}, examples=[{"name": "fruit", "version": "3"}])


class Heard(Document):
    """What came of an event."""

    model: str | None = Field(default=None, description="The release that it means; null where it means none.")
    known: bool = Field(default=False, description="Whether it is in the catalogue; it is audited once it is.")
    audits: list[Announced] = Field(default=[])


@blueprint.post("/mlflow")
@describes(
    "Hear of a registry's event",
    body=RegistryEvent,
    answers={202: Heard},
    problems=(400, 401, 403, 411, 413, 415, 422, 429, 503),
)
def post_event() -> Response:
    """For MLflow's webhooks, signed: a version that was made, or got an alias, is audited as its schedules say."""
    here = services()
    check_signature(here.settings.mlflow_secret)
    try:
        event = RegistryEvent.model_validate(read_json())
        about = ModelVersion.model_validate(event.data) if (event.entity, event.action) in UNDERSTOOD else None
    except ValidationError as error:
        raise explain(error) from error
    heard = Heard() if about is None else hear(about, here)
    return Response(heard.model_dump_json(), status=202, mimetype="application/json")


def check_signature(secret: SecretStr | None) -> None:
    """Raises `Forbidden` where no messages are expected, and `Unauthorized` for one that is not MLflow's."""
    if secret is None:
        raise Forbidden("no registry is expected here; the operator names its secret with mlflow_secret")
    given = request.headers.get("X-MLflow-Signature", "")
    delivery, sent = (request.headers.get(f"X-MLflow-{name}", "") for name in ("Delivery-Id", "Timestamp"))
    signed = f"{delivery}.{sent}.".encode() + request.get_data(cache=True)
    digest = hmac.new(secret.get_secret_value().encode(), signed, hashlib.sha256).digest()
    if not hmac.compare_digest(given.encode(), b"v1," + base64.b64encode(digest)):
        field = FieldError(field="X-MLflow-Signature", detail="not the signature of this message")
        raise Unauthorized("the message is not signed with this registry's secret", field)
    if not sent.isdecimal() or abs(time.time() - int(sent)) > FRESH_SECONDS:
        field = FieldError(field="X-MLflow-Timestamp", detail="too long ago, or ahead", given=sent[:40])
        raise Unauthorized(f"the message is not of the last {FRESH_SECONDS} seconds; check the clocks", field)


def hear(about: ModelVersion, here: Services) -> Heard:
    """Audits a version as every schedule says whose model it is in the registry. Raises what `trigger` does."""
    tenant = here.settings.mlflow_tenant
    audits, model, known = [], None, False
    for schedule in ScheduleStore(here.storage.bucket).walk(tenant):
        if name_in_registry(schedule) != about.name:
            continue
        model = f"{schedule.model}@{about.version}"
        release = find_version(schedule, about.version, here)
        known = known or release is not None
        if release is not None and schedule.on_release:
            audits.append(Announced(schedule=schedule.id, outcome=trigger(schedule, release, here)))
    return Heard(model=model, known=known, audits=audits)


def name_in_registry(schedule: StoredSchedule) -> str:
    wanted = schedule.write_back
    return (wanted.registered_model if wanted is not None else None) or schedule.model


def find_version(schedule: StoredSchedule, version: str, here: Services) -> Release | None:
    """The release of its model that has a version's number, once somebody has registered it."""
    releases = here.catalogue.of(schedule.tenant).releases(schedule.model)
    return next((one for one in releases if one.release == version), None)


def write_all_back(here: Services) -> None:
    """Writes every verdict down that there is by now; what fails is tried again, for a day."""
    store = ScheduleStore(here.storage.bucket)
    for pending in store.list_write_backs():
        if pending.next_at > now():
            continue
        try:
            job = find_job(pending.audit, pending.tenant, here)
        except (NotFound, Gone):
            store.end_write_back(pending)
            continue
        if job.state.terminal:
            try_to_write_back(pending, job, store, here)


def try_to_write_back(pending: PendingWriteBack, job: Job, store: ScheduleStore, here: Services) -> None:
    try:
        write_back(pending, read_verdict(job), here)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        said = str(error)[:300] or type(error).__name__
        if now() - (job.finished_at or pending.begun_at) > GIVEN_UP_AFTER:
            log.warning("verdict.given_up", audit=job.id, registry_model=pending.model, error=said)
            store.end_write_back(pending)
            return
        log.warning("verdict.unwritten", audit=job.id, registry_model=pending.model, error=said)
        wait = min(LONGEST_SECONDS, FIRST_SECONDS * 2**pending.tries) * uniform(0.8, 1.2)  # noqa: S311
        later = {"tries": min(pending.tries + 1, 20), "next_at": now() + timedelta(seconds=wait)}
        store.put_write_back(pending.model_copy(update=later))
    else:
        log.info("verdict.written", audit=job.id, registry_model=pending.model, version=pending.version)
        store.end_write_back(pending)


def read_verdict(job: Job) -> str:
    """What is written down of an audit: also that it came to none."""
    return str(job.metrics.get("verdict", "error")) if job.state is State.SUCCEEDED else str(job.state)


def write_back(pending: PendingWriteBack, verdict: str, here: Services) -> None:
    """The tag that says it, the tag that says where the report is, and the alias if it may have it.

    Raises:
        httpx2.HTTPError: The registry does not answer, or refuses.
    """
    settings, wanted = here.settings, pending.write_back
    token = settings.mlflow_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token is not None else {}
    version = {"name": pending.model, "version": pending.version}
    calls: list[tuple[str, dict[str, str]]] = []
    if wanted.tag is not None:
        report = f"/v1/audits/{pending.audit}/report"
        calls += [
            ("model-versions/set-tag", {**version, "key": wanted.tag, "value": verdict}),
            ("model-versions/set-tag", {**version, "key": f"{wanted.tag}.report", "value": report}),
        ]
    if wanted.alias is not None and verdict in ("pass", "warn"):
        calls.append(("registered-models/alias", {**version, "alias": wanted.alias}))
    with httpx2.Client(base_url=settings.mlflow_url or "", headers=headers, timeout=CALL_SECONDS) as http:
        for path, body in calls:
            http.post(f"/api/2.0/mlflow/{path}", json=body).raise_for_status()
