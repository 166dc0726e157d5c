"""Audits that nobody asks for by hand: of a new release, at a time, or because one is missing."""

from collections.abc import Iterable, Iterator

import structlog

from api.auditing import submit_audit
from api.lookup import find_job
from api.services import Services
from shared.access import Caller
from shared.audits import NewAudit
from shared.catalogue import Release
from shared.counters import count
from shared.errors import Gone, LimitReached, NotFound, Problem, QueueFull, Unavailable
from shared.jobs import Job, State, now
from shared.schedules import Outcome, PendingWriteBack, ScheduleStore, StoredSchedule, WriteBack

log = structlog.get_logger()

LATER = (Unavailable, QueueFull, LimitReached)
"""What says nothing of the release: the same may be accepted the next time."""


def trigger(schedule: StoredSchedule, release: Release, here: Services) -> Outcome:
    """Audits a release as its schedule says; once, however often it is called.

    What is wrong with the schedule or the release is in the outcome.

    Raises:
        Unavailable, QueueFull, LimitReached: Not now.
    """
    new = NewAudit(
        model=release.reference, plan=schedule.plan, priority=schedule.priority, tags=schedule.tags,
        webhook=schedule.webhook,
    )  # fmt: skip
    store = ScheduleStore(here.storage.bucket)
    try:
        job = submit_audit(new, here, Caller(tenant=schedule.tenant))
    except LATER:
        raise
    except Problem as problem:
        count(here.records, "archetype_audits_triggered", "refused")
        log.warning("schedule.refused", schedule=schedule.id, model=release.reference, error=problem.detail)
        outcome = Outcome(release=release.release, at=now(), problem=problem.document)
    else:
        count(here.records, "archetype_audits_triggered", "accepted")
        log.info("schedule.triggered", schedule=schedule.id, model=release.reference, audit=job.id)
        outcome = Outcome(release=release.release, at=now(), audit=job.id)
        if schedule.write_back is not None:
            store.put_write_back(plan_write_back(schedule, schedule.write_back, release, job))
    store.note(schedule, outcome)
    return outcome


def plan_write_back(schedule: StoredSchedule, wanted: WriteBack, release: Release, job: Job) -> PendingWriteBack:
    """That the verdict of an audit is to be written down, and where."""
    return PendingWriteBack(
        schedule=schedule.id, tenant=schedule.tenant, audit=job.id, model=wanted.registered_model or release.name,
        version=release.release, write_back=wanted, begun_at=now(), next_at=now(),
    )  # fmt: skip


def announce(release: Release, tenant: str, here: Services) -> list[tuple[StoredSchedule, Outcome]]:
    """Audits a release as every schedule of its model says that waits for releases."""
    schedules = ScheduleStore(here.storage.bucket).walk(tenant)
    waiting = [one for one in schedules if one.on_release and one.model == release.name]
    return [(schedule, trigger(schedule, release, here)) for schedule in waiting]


def find_due(schedule: StoredSchedule, here: Services) -> list[Release]:
    """The releases of its model that it must not leave out."""
    releases = here.catalogue.of(schedule.tenant).releases(schedule.model)
    names = [one.release for one in releases]
    return releases[names.index(schedule.since) if schedule.since in names else 0 :]


def find_missing(schedule: StoredSchedule, here: Services) -> list[Release]:
    """Releases that are to be audited, and of which nothing came yet."""
    seen = ScheduleStore(here.storage.bucket).list_seen(schedule)
    return [release for release in find_due(schedule, here) if release.release not in seen]


def find_failed(schedule: StoredSchedule, releases: Iterable[Release], here: Services) -> Iterator[Release]:
    """Those of the releases without an audit, also where one was refused, came to nothing, or is gone."""
    store = ScheduleStore(here.storage.bucket)
    for release in releases:
        outcome = store.find_outcome(schedule, release.release)
        if outcome is None or not is_good(outcome, schedule.tenant, here):
            yield release


def is_good(outcome: Outcome, tenant: str, here: Services) -> bool:
    """Whether there is an audit that came, or may still come, to a verdict."""
    if outcome.audit is None:
        return False
    try:
        return find_job(outcome.audit, tenant, here).state not in (State.FAILED, State.CANCELLED)
    except (NotFound, Gone):
        return False
