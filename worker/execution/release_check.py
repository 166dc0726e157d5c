"""Checks a registered release: loads it once, and accepts it or refuses it with a reason."""

import time
from dataclasses import replace
from functools import partial

import structlog

from archetype.contract.model import Description
from shared.catalogue.release import Release
from shared.errors import ObjectRefused, Problem, RefusedRelease, Unavailable
from shared.lifecycle.release_checks import delete_if_refused
from shared.queue.release_queue import ReleaseQueue
from shared.state.locks import HeldLock
from shared.storage.documents import Registration, RegistrationState
from worker.execution.heartbeat import HeartbeatThread
from worker.execution.worker_context import WorkerContext
from worker.models.download_cache import Report
from worker.models.huggingface.folder import complete_release
from worker.models.tensor_digest import add_tensor_digest
from worker.models.trial import try_network

MAX_ATTEMPTS = 3

LOCK_SECONDS = 120
"""A check that does not renew its lock for longer is dead."""

RENEW_SECONDS = 5.0

log = structlog.get_logger()


class LockRenewal:
    """Renews the lock of a check, from another thread, as long as the check goes on.

    Attributes:
        checked_at: Time of the last progress, in seconds of the monotonic clock.
    """

    def __init__(self, lock: HeldLock) -> None:
        self._lock = lock
        self.checked_at = self._renewed_at = time.monotonic()

    def report(self, _done: int, _total: int) -> None:
        """Notes progress: of a download, or before each forward pass of the trial."""
        self.checked_at = time.monotonic()

    def beat(self) -> None:
        """Renews the lock every `RENEW_SECONDS`; if Redis does not answer, the next beat tries again."""
        if time.monotonic() - self._renewed_at > RENEW_SECONDS:
            try:
                self._lock.extend(LOCK_SECONDS)
                self._renewed_at = time.monotonic()
            except Unavailable as problem:
                log.warning("release.lock_unrenewed", error=problem.detail)


def check_next_release(worker_context: WorkerContext, reference: str, tenant: str | None) -> bool:
    """Checks the release of a tenant that has waited the longest, unless a worker checks one of this tenant.

    Args:
        worker_context: The context of this process.
        reference: The release that is checked if the queue in Redis was lost.
        tenant: The tenant; None for releases of the operator.

    Returns:
        Whether the next one may be checked; False if Redis or the store does not answer, until the recovery sends the
        message again.
    """
    release_queue, lock = ReleaseQueue(worker_context.redis_client), f"trial:{tenant or ''}"
    try:
        release_queue.receive_message(tenant)
        with worker_context.locks.try_lock(lock, LOCK_SECONDS) as held:
            if held is not None:
                reference = release_queue.find_first(tenant) or reference
                check_release(worker_context, reference, tenant, held)
                release_queue.remove(tenant, reference)
    except Unavailable as problem:
        log.warning("release.interrupted", error=problem.detail)
        return False
    return True


def check_release(worker_context: WorkerContext, reference: str, tenant: str | None, lock: HeldLock) -> None:
    """Loads a registered release and stores the decision; a release that is already decided is left alone.

    The worker counts as alive as long as the check goes on. If it hangs, this process ends.
    """
    settings, storage = worker_context.settings, worker_context.storage
    name, _, release = reference.partition("@")
    registration = storage.load_registration(name, release, tenant)
    if registration is None or registration.state is not RegistrationState.TRYING:
        return
    registration = registration.model_copy(update={"attempt": registration.attempt + 1})
    storage.save_registration(registration)
    heartbeats = HeartbeatThread(settings.step_seconds, settings.liveness_dir)
    renewal = LockRenewal(lock)
    heartbeats.add(renewal)
    with heartbeats.beating():
        decided = decide(worker_context, registration, renewal.report)
        lock.extend(LOCK_SECONDS)
        storage.save_registration(decided)
    log.info("release.decided", model=decided.entry.reference, tenant=tenant, state=decided.state)
    if decided.state is RegistrationState.REFUSED:
        delete_surplus(worker_context, decided.entry)


def delete_surplus(worker_context: WorkerContext, refused: Release) -> None:
    """Deletes the oldest refused releases of a tenant if it has too many."""
    for reference in ReleaseQueue(worker_context.redis_client).add_refused(refused):
        name, _, release = reference.partition("@")
        entry = refused.model_copy(update={"name": name, "release": release})
        delete_if_refused(entry, worker_context.storage, worker_context.locks)


def try_release(worker_context: WorkerContext, release: Release, report: Report) -> Description:
    """Loads a release and tries it.

    Raises:
        Problem: The release cannot be used.
    """
    networks = worker_context.networks
    try:
        with networks.open(release, report) as (opened, loaded):
            classifier = replace(opened, before_pass=partial(report, 0, 0))  # each pass is progress
            return try_network(classifier, add_tensor_digest(loaded.description, loaded.network), release)
    except BaseException:
        networks.discard(release.identity)
        raise


def decide(worker_context: WorkerContext, registration: Registration, report: Report) -> Registration:
    """Tries the release, and returns the registration as accepted, with the digest of its weights, or as refused."""
    release = registration.entry
    try:
        if registration.attempt > MAX_ATTEMPTS:
            raise RefusedRelease(
                f"{MAX_ATTEMPTS} workers stopped responding while they loaded it; it may need more memory than there is"
            )
        release = complete_release(release, worker_context.networks.loader.files, report)
        description = try_release(worker_context, release, report)
        worker_context.storage.save_description(release, description)
    except ObjectRefused as problem:  # for ever, if the store accepts the decision
        return refuse(registration, RefusedRelease(problem.detail))
    except Unavailable:
        raise
    except Problem as problem:
        return refuse(registration, RefusedRelease(problem.detail, *problem.errors))
    except Exception as error:  # the network may run any code
        log.exception("release.failed", model=release.reference)
        return refuse(registration, RefusedRelease(f"it cannot be loaded: {type(error).__name__}: {error}"))
    has_file = release.key is not None or release.published
    entry = release.model_copy(update={"sha256": description.sha256}) if has_file else release
    return registration.model_copy(update={"state": RegistrationState.ACCEPTED, "entry": entry})


def refuse(registration: Registration, problem: RefusedRelease) -> Registration:
    """Returns the registration as refused with this problem."""
    return registration.model_copy(update={"state": RegistrationState.REFUSED, "error": problem.document})
