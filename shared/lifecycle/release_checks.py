"""Checks of registered releases that were interrupted, and the deletion of refused releases."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from celery import Celery

from shared.catalogue.release import Release
from shared.queue.release_queue import MAX_REFUSED, ReleaseQueue, send_next_check
from shared.state.locks import Locks
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore

REFUSED_SECONDS = 86_400
"""How long a refused release is kept."""

LOCK_SECONDS = 30
"""Deleting a registration never takes longer."""

log = structlog.get_logger()


def resume_checks(registrations: Iterable[Registration], release_queue: ReleaseQueue, broker: Celery) -> None:
    """Puts every release that is not decided into the queue of its tenant, and sends a message for each tenant.

    Raises:
        Unavailable: Redis does not answer.
    """
    waiting = [each.entry for each in registrations if each.state is RegistrationState.TRYING]
    for entry in waiting:
        release_queue.add(entry)
    for tenant in {entry.namespace for entry in waiting}:
        send_next_check(tenant, release_queue, broker)


def delete_refused(registrations: Iterable[Registration], storage: JobStore, locks: Locks, moment: datetime) -> None:
    """Deletes refused releases that are old at a moment, or of which a tenant has too many. The newest stay."""
    counts: Counter[str | None] = Counter()
    refused = [each for each in registrations if each.state is RegistrationState.REFUSED]
    for registration in sorted(refused, key=lambda each: each.registered_at, reverse=True):
        counts[registration.entry.tenant] += 1
        is_old = moment - registration.registered_at > timedelta(seconds=REFUSED_SECONDS)
        if is_old or counts[registration.entry.tenant] > MAX_REFUSED:
            delete_if_refused(registration.entry, storage, locks)


def delete_if_refused(entry: Release, storage: JobStore, locks: Locks) -> None:
    """Deletes a registration, unless it was registered again meanwhile."""
    with locks.try_lock(f"release:{entry.identity}", LOCK_SECONDS) as held:
        registration = (
            storage.load_registration(entry.name, entry.release, entry.namespace) if held is not None else None
        )
        if registration is not None and registration.state is RegistrationState.REFUSED:
            storage.delete_registration(entry)
            log.info("release.deleted", model=entry.reference, tenant=entry.tenant)
