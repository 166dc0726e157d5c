"""Accepts a job: checked, stored, recorded, and only then enqueued."""

import hashlib
import re

import structlog

from api.lookup import find_job
from api.services import Services
from shared.broker import send_job
from shared.checks import check_request, parse_request
from shared.errors import FieldError, IdempotencyConflict, InvalidRequest, QueueFull, Unavailable
from shared.jobs import Job, State, links_of, new_job_id, now
from shared.methods import AnyRequest
from shared.presence import name_queue

log = structlog.get_logger()

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def submit(body: object, services: Services, *, idempotency_key: str | None) -> Job:
    """Accepts a job, or returns the one that this key was used for before.

    Raises:
        Problem: The request is not accepted, and nothing is enqueued.
    """
    request = check_request(
        parse_request(body),
        services.catalogue,
        services.storage,
        prefixes=services.settings.picture_prefixes,
    ).request
    job_id = choose_id(request, services, idempotency_key)
    return enqueue(job_id, request, services)


def enqueue(job_id: str, request: AnyRequest, services: Services) -> Job:
    """The request to S3, the record to Redis, the message to the queue: in this order, so that nothing is lost."""
    if services.records.find(job_id) is not None:  # this idempotency key was used before
        return find_job(job_id, services)
    check_room(services)
    services.storage.save_request(job_id, request)
    job = Job(
        id=job_id,
        method=request.method,
        model=request.model,
        state=State.QUEUED,
        priority=request.priority,
        tags=request.tags,
        created_at=now(),
        links=links_of(job_id),
    )
    if services.records.create(job):
        try:
            send_job(services.broker, job_id, choose_queue(request, services))
        except Unavailable as problem:  # it is accepted, and the sweep sends what was not sent
            log.warning("job.unsent", job_id=job_id, error=problem.detail)
    return job


def choose_queue(request: AnyRequest, services: Services) -> str:
    """That of an idle worker which holds the network, where one is known; bulk jobs wait for whoever has the time."""
    if request.priority != "interactive":
        return request.priority
    worker = services.presence.find_idle(request.model)
    return request.priority if worker is None else name_queue(worker)


def check_room(services: Services) -> None:
    """Raises `QueueFull` when as many jobs wait as may."""
    limit = services.settings.max_queued_jobs
    if services.records.count(State.QUEUED) >= limit:
        raise QueueFull(f"{limit} jobs are queued, which is as many as may be; try again later")


def choose_id(request: AnyRequest, services: Services, key: str | None) -> str:
    """A new id, or the one that this idempotency key stands for.

    Raises:
        InvalidRequest: The key is not 1 to 255 printable characters.
        IdempotencyConflict: It was used with another body.
    """
    fresh = new_job_id()
    if key is None:
        return fresh
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces",
            FieldError(field="Idempotency-Key", detail="not 1 to 255 printable characters", given=key[:80]),
        )
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    bound = services.records.reserve(key, f"{fresh} {digest}", services.settings.idempotency_seconds)
    job_id, _, earlier = bound.partition(" ")
    if earlier != digest:
        raise IdempotencyConflict(
            f"Idempotency-Key {key!r} was used for job {job_id} with another body; use a new key for a new request",
            FieldError(field="Idempotency-Key", detail="used with another body", given=key),
        )
    return job_id
