"""The work of the scheduler: audits at the times of cron expressions, of new releases, and of missed ones."""

import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from api.adapters.schedule_owners import adopt, explain_pause
from api.dependencies import Services
from api.services.trigger_audits import TRANSIENT, find_unaudited, list_due, list_missing, trigger
from archetype.contract.job import now
from shared.catalogue.release import Release
from shared.state.metrics import increment, set_gauge
from shared.storage.schedules import StoredSchedule, interleave

log = structlog.get_logger()

POLL_SECONDS = 20.0
"""Limit for the audits of one poll: longer than that, the scheduler would neither run cron times nor keep its lock."""

FindReleases = Callable[[StoredSchedule, Services], Iterable[Release]]


def run_schedule(tenant: str, schedule_id: str, services: Services) -> None:
    """Audits the newest release of a schedule's model if it has no usable audit yet. Runs when cron is due."""
    schedule = services.schedules.find(tenant, schedule_id)
    reason = None if schedule is None else explain_pause(schedule, services)
    result = "gone" if schedule is None else "paused" if reason else "fired"
    increment(services.redis_client, "archetype_schedules_fired", result)
    if schedule is None or reason is not None:
        log.warning("schedule.not_run", schedule=schedule_id, reason=reason or "it was deleted")
        return
    log.info("schedule.fired", schedule=schedule.id, model=schedule.model)
    for release in find_unaudited(schedule, list_due(schedule, services)[-1:], services):
        trigger(schedule, release, services)


def list_schedules(services: Services) -> list[StoredSchedule]:
    """Returns the schedules of all tenants. Those of an earlier version get a creator."""
    return [_adopt(schedule, services) for schedule in services.schedules.walk()]


def _adopt(schedule: StoredSchedule, services: Services) -> StoredSchedule:
    try:
        return adopt(schedule, services)
    except Exception:
        log.exception("schedule.not_adopted", schedule=schedule.id)
        return schedule


def audit_new_releases(schedules: Sequence[StoredSchedule], services: Services) -> None:
    """Audits the new releases of all schedules, and reports how many are still without an audit.

    A tenant whose limits are reached, and what is left after `POLL_SECONDS`, waits for the next poll.
    """
    end, waiting = time.monotonic() + POLL_SECONDS, set[str]()
    for schedule in interleave(schedules):
        if time.monotonic() > end:
            log.warning("schedules.postponed", seconds=POLL_SECONDS)
            break
        if schedule.tenant not in waiting and not audit_releases(schedule, list_missing, services):
            waiting.add(schedule.tenant)
    missing = sum(count_missing(schedule, services) for schedule in schedules)
    set_gauge(services.redis_client, "archetype_audits_missing", missing)
    set_gauge(services.redis_client, "archetype_scheduler_looked_timestamp_seconds", now().timestamp())


def count_missing(schedule: StoredSchedule, services: Services) -> int:
    """Returns the number of releases without an audit; 1 if the schedule cannot be evaluated, to raise the alert.

    A paused schedule counts none: its creator decides whether it continues.
    """
    try:
        if explain_pause(schedule, services) is not None:
            return 0
        return len(list_missing(schedule, services)) if schedule.on_release else 0
    except Exception:
        return 1


def reconcile(services: Services) -> None:
    """Audits every release again whose audit is missing, was refused, failed, was cancelled or was deleted."""
    for schedule in services.schedules.walk():
        audit_releases(schedule, _find_all_unaudited, services)


def _find_all_unaudited(schedule: StoredSchedule, services: Services) -> Iterable[Release]:
    return find_unaudited(schedule, list_due(schedule, services), services)


def audit_releases(schedule: StoredSchedule, find_releases: FindReleases, services: Services) -> bool:
    """Audits the releases that `find_releases` returns. Errors are logged, so that other schedules still run.

    Returns:
        False if audits of the tenant cannot be accepted now.
    """
    try:
        if explain_pause(schedule, services) is not None:
            return True
        for release in find_releases(schedule, services) if schedule.on_release else ():
            trigger(schedule, release, services)
    except TRANSIENT as problem:
        log.warning("schedule.waits", schedule=schedule.id, error=problem.detail)
        return False
    except Exception:
        log.exception("schedule.failed", schedule=schedule.id)
    return True
