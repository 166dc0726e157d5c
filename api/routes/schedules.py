"""Schedules: create, get, list and delete schedules of audits, and announce releases."""

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.openapi import describes
from api.http.parsing import read_body
from api.http.responses import make_json_response
from api.services.schedules import create_schedule, find_schedule, view_schedule
from api.services.trigger_audits import announce_release
from archetype.contract.api_key import Scope
from archetype.contract.schedule import Announcement, NewAnnouncement, NewSchedule, Schedule, Schedules

blueprint = Blueprint("schedules", __name__, url_prefix="/v1")


@blueprint.post("/schedules")
@describes(
    "Schedule audits",
    scope=Scope.SUBMIT,
    body=NewSchedule,
    responses={201: Schedule},
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def post_schedule() -> Response:
    """Creates a schedule, which audits the releases of a model automatically: when they are new, by cron, or both."""
    services = get_services()
    schedule = create_schedule(read_body(NewSchedule), caller(), services)
    return make_json_response(view_schedule(schedule, services), 201, location=f"/v1/schedules/{schedule.id}")


@blueprint.get("/schedules")
@describes("List schedules", scope=Scope.READ, responses={200: Schedules}, problems=(503,))
def list_schedules() -> Response:
    """Lists all schedules, oldest first."""
    services = get_services()
    schedules = services.schedules.walk(caller().tenant)
    return make_json_response(Schedules(items=[view_schedule(schedule, services) for schedule in schedules]))


@blueprint.get("/schedules/<schedule_id>")
@describes("Get a schedule", scope=Scope.READ, responses={200: Schedule}, problems=(404, 503))
def get_schedule(schedule_id: str) -> Response:
    """Returns a schedule with the time of its next run and its outcome for every release."""
    services = get_services()
    return make_json_response(view_schedule(find_schedule(schedule_id, caller().tenant, services), services))


@blueprint.delete("/schedules/<schedule_id>")
@describes("Delete a schedule", scope=Scope.SUBMIT, responses={204: None}, problems=(404, 503))
def delete_schedule(schedule_id: str) -> Response:
    """Deletes a schedule. Audits that it has started continue."""
    services = get_services()
    services.schedules.delete(find_schedule(schedule_id, caller().tenant, services))
    return Response(status=204)


@blueprint.post("/releases")
@describes(
    "Announce a release",
    scope=Scope.SUBMIT,
    body=NewAnnouncement,
    responses={202: Announcement},
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def post_release() -> Response:
    """Starts the audits of a release immediately, instead of at the next poll of the scheduler."""
    announcement = announce_release(read_body(NewAnnouncement).model, caller().tenant, get_services())
    return make_json_response(announcement, 202)
