"""Finds what got lost and puts it back: jobs whose worker fell silent, and jobs whose message never arrived."""

import threading
from collections.abc import Callable

import structlog
from celery import Celery

from shared.broker import count_messages, send_job, send_release
from shared.ending import end_job, ended
from shared.errors import AttemptsExhausted, Problem
from shared.jobs import State
from shared.records import ClaimLost, Records
from shared.registration import RegistrationState
from shared.settings import Settings
from shared.storage import Storage

TRIAL_SECONDS = 120.0
"""Between two looks for releases that nobody has decided about: to load one may take a while."""

STALE_SECONDS = 10
"""A job that is queued for longer, while there are fewer messages than queued jobs, may have lost its message."""

log = structlog.get_logger()


def sweep(records: Records, storage: Storage, broker: Celery, *, max_attempts: int) -> None:
    """Looks once. Any number of processes may do so at the same time."""
    for job_id in records.expired():
        if records.release(job_id):
            return_job(job_id, records, storage, broker, max_attempts=max_attempts)
    if count_messages(broker) < records.count(State.QUEUED):
        for job_id in records.stale(STALE_SECONDS):
            job = records.find(job_id)
            if job is not None and job.state is State.QUEUED:
                log.warning("job.sent_again", job_id=job_id)
                send_job(broker, job_id, job.priority)


def send_trials(storage: Storage, broker: Celery) -> None:
    """Sends every release again that was registered and that no worker has decided about."""
    for name, release in storage.list_registrations():
        registration = storage.load_registration(name, release)
        if registration is not None and registration.state is RegistrationState.TRYING:
            log.warning("release.sent_again", model=registration.entry.reference)
            send_release(broker, name, release)


def return_job(job_id: str, records: Records, storage: Storage, broker: Celery, *, max_attempts: int) -> None:
    """Enqueues a job that lost its worker, or fails it if that has happened too often."""
    job = records.find(job_id)
    if job is None:
        return
    log.warning("job.abandoned", job_id=job_id, attempt=job.attempt)
    if job.attempt < max_attempts:
        send_job(broker, job_id, job.priority)
        return
    claim = records.claim(job_id, "sweep")
    if claim is not None:
        problem = AttemptsExhausted(
            f"{job.attempt} workers took this job and fell silent; it may need more memory than they have. "
            "Submit it again with fewer targets, and tell the operator"
        )
        end_job(records, storage, claim, ended(job, State.FAILED, problem=problem))


class Sweeper:
    """Sweeps every few seconds from a thread, one process at a time in the whole system."""

    def __init__(self, settings: Settings, records: Records, storage: Storage, broker: Celery) -> None:
        self._settings = settings
        self._records = records
        self._storage = storage
        self._broker = broker
        self._chores: list[Callable[[], None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def also(self, chore: Callable[[], None]) -> None:
        """Something else to do each time, in every process."""
        self._chores.append(chore)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.sweep_seconds):
            try:
                for chore in self._chores:
                    chore()
                if self._records.take_turn("sweep", self._settings.sweep_seconds * 0.9):
                    sweep(self._records, self._storage, self._broker, max_attempts=self._settings.max_attempts)
                if self._records.take_turn("trials", TRIAL_SECONDS):
                    send_trials(self._storage, self._broker)
            except (Problem, ClaimLost) as error:
                log.warning("sweep.interrupted", error=str(error))
            except Exception:  # the sweep must outlive what it finds
                log.exception("sweep.failed")
