"""Schedules over HTTP: audits that come by themselves, and what starts them at once."""

from datetime import datetime

from flask import Blueprint, Response
from pydantic import BaseModel

from api.access import caller
from api.body import read_body
from api.openapi import describes
from api.services import Services, services
from api.triggering import announce
from shared.access import Scope
from shared.addresses import check_url
from shared.audits import check_plan, choose_baselines
from shared.cron import Cron, spread
from shared.errors import FieldError, InvalidRequest, LimitReached, NotFound
from shared.jobs import new_job_id, now
from shared.schedules import (
    Announced,
    Announcement,
    NewAnnouncement,
    NewSchedule,
    Schedule,
    Schedules,
    ScheduleStore,
    StoredSchedule,
)

blueprint = Blueprint("schedules", __name__, url_prefix="/v1")

MOST_SCHEDULES = 200
"""Of a tenant."""


@blueprint.post("/schedules")
@describes(
    "Schedule audits",
    scope=Scope.SUBMIT,
    body=NewSchedule,
    answers={201: Schedule},
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def post_schedule() -> Response:
    """From now on the model's releases are audited by themselves, under this plan."""
    new = read_body(NewSchedule)
    here, tenant = services(), caller().tenant
    since = check_schedule(new, here, tenant)
    stored = StoredSchedule(**dict(new), id=new_job_id(), tenant=tenant, since=since, created_at=now())
    store_of(here).save(stored)
    answer = _json(view(stored, here), 201)
    answer.headers["Location"] = f"/v1/schedules/{stored.id}"
    return answer


@blueprint.get("/schedules")
@describes("List schedules", scope=Scope.READ, answers={200: Schedules}, problems=(503,))
def list_schedules() -> Response:
    """All of them, the oldest first."""
    here = services()
    return _json(Schedules(items=[view(one, here) for one in store_of(here).walk(caller().tenant)]))


@blueprint.get("/schedules/<schedule_id>")
@describes("Get a schedule", scope=Scope.READ, answers={200: Schedule}, problems=(404, 503))
def get_schedule(schedule_id: str) -> Response:
    """When it is due, and what came of it for every release."""
    return _json(view(find_schedule(schedule_id, services()), services()))


@blueprint.delete("/schedules/<schedule_id>")
@describes("Delete a schedule", scope=Scope.SUBMIT, answers={204: None}, problems=(404, 503))
def delete_schedule(schedule_id: str) -> Response:
    """It starts no more audits; those that it has started stay."""
    store_of(services()).delete(find_schedule(schedule_id, services()))
    return Response(status=204)


@blueprint.post("/releases")
@describes(
    "Announce a release",
    scope=Scope.SUBMIT,
    body=NewAnnouncement,
    answers={202: Announcement},
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def post_release() -> Response:
    """Starts the audits that the schedules of its model ask for, now instead of at their next look."""
    new = read_body(NewAnnouncement)
    here, tenant = services(), caller().tenant
    release = here.catalogue.of(tenant).find(new.model)
    started = announce(release, tenant, here)
    if not started:
        detail = f"no schedule waits for releases of {release.name}"
        field = FieldError(field="/model", detail=detail, given=new.model)
        raise InvalidRequest(f"{detail}; make one with POST /v1/schedules, or audit it with POST /v1/audits", field)
    audits = [Announced(schedule=schedule.id, outcome=outcome) for schedule, outcome in started]
    return _json(Announcement(model=release.reference, audits=audits), 202)


def check_schedule(new: NewSchedule, here: Services, tenant: str) -> str:
    """The release from which on it audits. Raises `UnknownModel`, `UnknownTarget`, `InvalidRequest`, `LimitReached`."""
    catalogue = here.catalogue.of(tenant)
    newest = catalogue.find(new.model)
    check_plan(new.plan, newest)
    choose_baselines(new.plan.baselines, newest, catalogue)
    if new.webhook is not None:
        check_url(new.webhook, loopback=here.settings.keyless_loopback, networks=here.settings.webhook_networks)
    if new.write_back is not None and here.settings.mlflow_url is None:
        field = FieldError(field="/write_back", detail="there is no registry")
        raise InvalidRequest("verdicts cannot be written back: the operator names no registry with mlflow_url", field)
    if sum(1 for _ in store_of(here).walk(tenant)) >= MOST_SCHEDULES:
        raise LimitReached(f"there are {MOST_SCHEDULES} schedules, which is as many as may be; delete one first")
    return newest.release


def find_schedule(schedule_id: str, here: Services) -> StoredSchedule:
    """The caller's schedule of this id. Raises `NotFound`."""
    found = store_of(here).find(caller().tenant, schedule_id) if schedule_id.isalnum() else None
    if found is None:
        raise NotFound(f"there is no schedule {schedule_id[:40]!r}; GET /v1/schedules lists those there are")
    return found


def store_of(here: Services) -> ScheduleStore:
    return ScheduleStore(here.storage.bucket)


def view(schedule: StoredSchedule, here: Services) -> Schedule:
    """A schedule as it is shown."""
    outcomes = store_of(here).list_outcomes(schedule)
    return Schedule(
        **dict(schedule.narrowed(NewSchedule)),
        id=schedule.id,
        created_at=schedule.created_at,
        next_at=find_next(schedule),
        outcomes=outcomes,
    )


def find_next(schedule: StoredSchedule) -> datetime | None:
    """When its line of cron is due."""
    if schedule.cron is None:
        return None
    late = spread(schedule.id, schedule.jitter_seconds)
    return Cron(schedule.cron, schedule.timezone, late).next_after(now())


def _json(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status=status, mimetype="application/json")
