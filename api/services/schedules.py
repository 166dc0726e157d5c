"""Creates, finds and shows schedules of audits."""

from contextlib import suppress
from datetime import datetime
from functools import partial

from api.adapters.schedule_owners import explain_pause
from api.dependencies import Services
from api.services.submit_job import check_webhook
from archetype.contract.job import now
from archetype.contract.problem import FieldError
from archetype.contract.report.standing import Standing
from archetype.contract.schedule import NewSchedule, Schedule
from shared.catalogue.release import Release
from shared.errors import Forbidden, InvalidRequest, LimitReached, NotFound
from shared.lifecycle.audit_baselines import choose_baselines
from shared.lifecycle.audit_jobs import check_plan
from shared.queue.cron import Cron, find_zone, read_cron, spread
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.storage.api_keys import Caller
from shared.storage.schedules import Creator, StoredSchedule
from shared.validation.write_back import explain_refusal

MAX_SCHEDULES = 200
"""Schedules of one tenant."""


def create_schedule(new: NewSchedule, caller: Caller, services: Services) -> StoredSchedule:
    """Stores a schedule. It audits the newest release of its model and all later ones, in the name of the caller.

    Raises:
        UnknownModel: The catalogue does not have the model.
        UnknownTarget: The plan names a class that the model does not have.
        Forbidden: The tenant may not write to this place in the registry.
        InvalidRequest: Another field is not valid.
        LimitReached: The tenant has the maximum number of schedules.
    """
    schedule = StoredSchedule(
        **dict(new),
        id=new_job_id(),
        tenant=caller.tenant,
        since=check_schedule(new, caller.tenant, services),
        created_at=now(),
        created_by=Creator(key=caller.key),
    )
    services.schedules.save(schedule)
    return schedule


def check_schedule(new: NewSchedule, tenant: str, services: Services) -> str:
    """Checks a schedule, and returns the newest release of its model. Raises the problems of `create_schedule`."""
    check_times(new)
    catalogue = services.catalogue.of(tenant)
    newest = catalogue.find(new.model)
    check_plan(new.plan, newest)
    choose_baselines(new.plan.baselines, newest, catalogue, assume_approved)
    check_webhook(new.webhook, services.settings)
    check_write_back(new, tenant, services.settings)
    if sum(1 for _ in services.schedules.walk(tenant)) >= MAX_SCHEDULES:
        raise LimitReached(f"you have {MAX_SCHEDULES} schedules, which is the maximum; delete one first")
    return newest.release


def assume_approved(release: Release) -> Standing:
    """The standing of a release when a schedule is created: later releases may be approved until it runs."""
    return Standing(release=release.reference, decision="approve")


def check_write_back(new: NewSchedule, tenant: str, settings: Settings) -> None:
    """Checks the place in a registry to which a schedule writes verdicts.

    Raises:
        InvalidRequest: No registry is configured.
        Forbidden: The operator does not allow the tenant to write there.
    """
    if new.write_back is None:
        return
    if settings.mlflow_url is None:
        field = FieldError(field="/write_back", detail="no registry is configured")
        raise InvalidRequest(
            "verdicts cannot be written to a registry; the operator configures one with ARCHETYPE_MLFLOW_URL", field
        )
    model = new.write_back.registered_model or new.model
    refusal = explain_refusal(tenant, model, new.write_back, settings.mlflow_write_back)
    if refusal is not None:
        raise Forbidden(refusal, FieldError(field="/write_back", detail="not allowed for this tenant"))


def check_times(new: NewSchedule) -> None:
    """Raises `InvalidRequest` if the time zone does not exist or the cron expression is not valid."""
    for name, text, parse in (
        ("timezone", new.timezone, find_zone),
        ("cron", new.cron, partial(read_cron, timezone="UTC")),
    ):
        try:
            if text is not None:
                parse(text)
        except ValueError as error:
            field = FieldError(field=f"/{name}", detail=str(error), given=text)
            raise InvalidRequest(f"/{name}: {error}", field) from error


def find_schedule(schedule_id: str, tenant: str, services: Services) -> StoredSchedule:
    """Returns a schedule of a tenant. Raises `NotFound`."""
    schedule = services.schedules.find(tenant, schedule_id) if schedule_id.isalnum() else None
    if schedule is None:
        raise NotFound(f"there is no schedule {schedule_id[:40]!r}; GET /v1/schedules lists your schedules")
    return schedule


def view_schedule(schedule: StoredSchedule, services: Services) -> Schedule:
    """Returns a schedule as the API shows it, with its next run and its outcomes."""
    return Schedule(
        **dict(schedule.narrowed(NewSchedule)),
        id=schedule.id,
        created_at=schedule.created_at,
        next_at=find_next_run(schedule),
        paused=explain_pause(schedule, services) if schedule.created_by is not None else None,
        outcomes=services.schedules.list_outcomes(schedule),
    )


def find_next_run(schedule: StoredSchedule) -> datetime | None:
    """Returns the next time of a schedule's cron expression.

    Returns:
        None if the schedule has no expression, or one that an earlier version accepted and that never matches.
    """
    if schedule.cron is None:
        return None
    jitter = spread(schedule.id, schedule.jitter_seconds)
    with suppress(ValueError):
        return Cron(schedule.cron, schedule.timezone, jitter).next_after(now())
    return None
