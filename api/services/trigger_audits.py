"""Starts audits automatically: for a new release, for a registry's event, and for a schedule."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import structlog
from pydantic import Field

from api.adapters.schedule_owners import find_owner
from api.dependencies import Services
from api.services.find_job import find_job
from api.services.mlflow.import_versions import announce_version
from api.services.submit_audit import submit_audit
from archetype.contract.audit import NewAudit
from archetype.contract.job import Document, Job, State, now
from archetype.contract.problem import FieldError
from archetype.contract.schedule import Announced, Announcement, Outcome, WriteBack
from shared.catalogue.release import Release
from shared.errors import Forbidden, Gone, InvalidRequest, LimitReached, NotFound, Problem, QueueFull, Unavailable
from shared.state.metrics import increment
from shared.storage.schedules import PendingWriteBack, StoredSchedule

log = structlog.get_logger()

TRANSIENT = (Unavailable, QueueFull, LimitReached)
"""Problems that do not depend on the release: the same audit can be accepted later."""


class RegistryEventResult(Document):
    """The audits that an event of a model registry has started."""

    model: str | None = Field(default=None, description="The release that the event names; null if it names none.")
    known: bool = Field(
        default=False, description="Whether the catalogue has the release. If not, it is audited once it does."
    )
    imported: bool = Field(default=False, description="Whether the service fetches the version and registers it.")
    audits: list[Announced] = Field(default=[])


def trigger(schedule: StoredSchedule, release: Release, services: Services) -> Outcome:
    """Audits a release as its schedule requires, in the name of the caller that created the schedule.

    Repeated calls return the same audit and have no further effect: the verdict is written to a registry once.

    Returns:
        The audit, or the problem if the schedule or the release does not allow one.

    Raises:
        Unavailable, QueueFull, LimitReached: The audit cannot be accepted now.
    """
    try:
        owner = find_owner(schedule, services)
    except Forbidden as problem:  # not stored as the outcome: the release is audited if the schedule continues
        increment(services.redis_client, "archetype_audits_triggered", "paused")
        log.warning("schedule.paused", schedule=schedule.id, model=release.reference, error=problem.detail)
        return Outcome(release=release.release, at=now(), problem=problem.document)
    new = NewAudit(
        model=release.reference,
        plan=schedule.plan,
        priority=schedule.priority,
        tags=schedule.tags,
        webhook=schedule.webhook,
    )
    try:
        job = submit_audit(new, services, owner)
    except TRANSIENT:
        raise
    except Problem as problem:
        increment(services.redis_client, "archetype_audits_triggered", "refused")
        log.warning("schedule.refused", schedule=schedule.id, model=release.reference, error=problem.detail)
        outcome = Outcome(release=release.release, at=now(), problem=problem.document)
    else:
        increment(services.redis_client, "archetype_audits_triggered", "accepted")
        log.info("schedule.triggered", schedule=schedule.id, model=release.reference, audit=job.id)
        outcome = Outcome(release=release.release, at=now(), audit=job.id)
        request_write_back(schedule, release, job, services)
    services.schedules.save_outcome(schedule, outcome)
    return outcome


def request_write_back(schedule: StoredSchedule, release: Release, job: Job, services: Services) -> None:
    """Stores the order to write the verdict of an audit to the schedule's registry, unless it was stored before."""
    if schedule.write_back is None or services.schedules.has_write_back(schedule, job.id):
        return
    order = make_write_back(schedule, schedule.write_back, release, job, services.redis_client.now())
    services.schedules.put_write_back(order)


def make_write_back(
    schedule: StoredSchedule, target: WriteBack, release: Release, job: Job, moment: datetime
) -> PendingWriteBack:
    """Returns the order, given at a moment, to write the verdict of an audit to the schedule's registry."""
    return PendingWriteBack(
        schedule=schedule.id,
        tenant=schedule.tenant,
        audit=job.id,
        model=target.registered_model or release.name,
        version=release.release,
        write_back=target,
        begun_at=moment,
        next_at=moment,
    )


def announce_release(reference: str, tenant: str, services: Services) -> Announcement:
    """Audits a release under every schedule of its model that audits new releases.

    Raises:
        UnknownModel: The catalogue does not have the release.
        InvalidRequest: No schedule audits new releases of the model.
        Unavailable, QueueFull, LimitReached: The audits cannot be accepted now.
    """
    release = services.catalogue.of(tenant).find(reference)
    schedules = [
        schedule
        for schedule in services.schedules.walk(tenant)
        if schedule.on_release and schedule.model == release.name
    ]
    if not schedules:
        detail = f"no schedule audits new releases of {release.name}"
        field = FieldError(field="/model", detail=detail, given=reference)
        raise InvalidRequest(f"{detail}; create one with POST /v1/schedules, or audit it with POST /v1/audits", field)
    audits = [Announced(schedule=schedule.id, outcome=trigger(schedule, release, services)) for schedule in schedules]
    return Announcement(model=release.reference, audits=audits)


def announce_registered_version(model: str, version: str, services: Services) -> RegistryEventResult:
    """Notes a version of the MLflow registry for import, and audits it under every schedule of its registered model.

    A version that a schedule has an audit for is not audited again: the registry also sends an event when the service
    itself gives an alias to a version, and it can send an event repeatedly.

    Args:
        model: Name of the model in the registry.
        version: Its version, which is the name of the release in the catalogue.
        services: The services.

    Raises:
        Unavailable, QueueFull, LimitReached: The audits cannot be accepted now.
    """
    is_imported = announce_version(model, version, services)
    audits, reference, is_known = [], None, False
    for schedule in services.schedules.walk(services.settings.mlflow_tenant):
        if name_in_registry(schedule) != model:
            continue
        reference = f"{schedule.model}@{version}"
        releases = services.catalogue.of(schedule.tenant).releases(schedule.model)
        release = next((release for release in releases if release.release == version), None)
        is_known = is_known or release is not None
        if release is not None and schedule.on_release:
            audits.append(Announced(schedule=schedule.id, outcome=trigger_once(schedule, release, services)))
    return RegistryEventResult(model=reference, known=is_known, imported=is_imported, audits=audits)


def trigger_once(schedule: StoredSchedule, release: Release, services: Services) -> Outcome:
    """Audits a release unless the schedule has an audit of it, whatever became of it. Returns the outcome."""
    outcome = services.schedules.find_outcome(schedule, release.release)
    return outcome if outcome is not None and outcome.audit is not None else trigger(schedule, release, services)


def name_in_registry(schedule: StoredSchedule) -> str:
    """Returns the name that a schedule's model has in the MLflow registry."""
    target = schedule.write_back
    return (target.registered_model if target is not None else None) or schedule.model


def list_due(schedule: StoredSchedule, services: Services) -> list[Release]:
    """Returns the releases that a schedule must audit, oldest first: those since it was created."""
    releases = services.catalogue.of(schedule.tenant).releases(schedule.model)
    names = [release.release for release in releases]
    return releases[names.index(schedule.since) if schedule.since in names else 0 :]


def list_missing(schedule: StoredSchedule, services: Services) -> list[Release]:
    """Returns the due releases of a schedule that have no outcome yet."""
    seen = services.schedules.list_seen(schedule)
    return [release for release in list_due(schedule, services) if release.release not in seen]


def find_unaudited(schedule: StoredSchedule, releases: Iterable[Release], services: Services) -> Iterator[Release]:
    """Yields the releases whose audit is missing, was refused, failed, was cancelled or was deleted."""
    for release in releases:
        outcome = services.schedules.find_outcome(schedule, release.release)
        if outcome is None or not has_usable_audit(outcome, schedule.tenant, services):
            yield release


def has_usable_audit(outcome: Outcome, tenant: str, services: Services) -> bool:
    """Whether the audit of an outcome has a verdict, or can still reach one."""
    if outcome.audit is None:
        return False
    try:
        return find_job(outcome.audit, tenant, services).state not in (State.FAILED, State.CANCELLED)
    except (NotFound, Gone):
        return False
