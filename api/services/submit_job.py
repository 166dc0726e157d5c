"""Accepts a job: checks the request, stores it, records the job, and then enqueues it."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import Any

import structlog

from api.adapters.queue_room import check_memory, hold_room
from api.adapters.rate_limits import check_submit
from api.dependencies import Services
from api.services.find_job import find_job
from archetype.contract.job import Job, State
from archetype.contract.parameters.inputs import StorePrefix
from archetype.contract.parameters.types import dump_with_old_names
from archetype.contract.problem import FieldError
from archetype.contract.request import AnyRequest, ImageRequest
from shared.errors import IdempotencyConflict, InvalidRequest, NotFinished, NotFound, Unavailable
from shared.lifecycle.rebuild import load_spec
from shared.process.tracing import inject_trace
from shared.queue.celery_app import send_job
from shared.queue.lanes import name_lane
from shared.queue.sharding import split_job
from shared.settings import Settings
from shared.state.idempotency import Binding, digest_body
from shared.state.job_ids import new_job_id
from shared.state.metrics import increment
from shared.state.worker_registry import name_queue
from shared.storage.api_keys import Caller
from shared.storage.documents import JobSpec
from shared.validation.job_inputs import check_pairs
from shared.validation.request import CheckedRequest, check_request, parse_request
from shared.validation.store_keys import expand_prefixes
from shared.validation.stored_request import dump_stored, parse_stored
from shared.validation.webhook_url import check_url

log = structlog.get_logger()

MAX_COUNTED = 5000
"""Images under a prefix that limits count."""

MAX_LISTED = 20_000
"""Images under a prefix by which a job is split: a page of the list, with 1,000 keys, takes some 20 ms."""

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def submit(
    body: object,
    services: Services,
    caller: Caller,
    *,
    idempotency_key: str | None,
    seconds: int | None = None,
    retry_of: str | None = None,
) -> Job:
    """Accepts a job, or returns the job that this idempotency key was used for before.

    Args:
        body: The request as JSON.
        services: The services.
        caller: The caller.
        idempotency_key: The header `Idempotency-Key`.
        seconds: The deadline, counted from now, if it is shorter than the service's own.
        retry_of: Id of the job that this job retries.

    Raises:
        Problem: The request is not accepted, and nothing is enqueued.
    """
    request, body_digest = parse_request(body), digest_body(body)
    bound = None if idempotency_key is None else find_binding(idempotency_key, caller.tenant, services)
    if bound is not None and bound.body_digest == body_digest:
        with suppress(NotFound):  # the first submission with the key was interrupted
            return find_job(bound.job_id, caller.tenant, services)
    check_webhook(request.webhook, services.settings)
    checked = check_request(
        request,
        services.catalogue.of(caller.tenant),
        services.storage,
        services.storage.of(caller.tenant),
        prefixes=expand_prefixes(services.settings.picture_prefixes, caller.tenant),
    )
    keys = list_keys(checked, services)
    if isinstance(checked.request, ImageRequest) and keys:
        check_pairs(checked.request, checked.work * len(keys))
    spec = build_spec(checked, caller, services, seconds=seconds, keys=keys)
    work = checked.work * max(1, min(len(keys), MAX_COUNTED))
    spec = spec.model_copy(update={"retry_of": retry_of, "in_audit": False, "work": work})
    if idempotency_key is None:
        return accept(new_job_id(spec.created_at), spec, caller, services)
    proposed = Binding(new_job_id(spec.created_at), digest_request(checked.request), body_digest)
    return accept_once(idempotency_key, bound, proposed, spec, caller, services)


def list_keys(checked: CheckedRequest, services: Services) -> list[str]:
    """Returns the keys of the images under a prefix of the store, at most `MAX_LISTED`; none for other images."""
    images = checked.request.images if isinstance(checked.request, ImageRequest) else None
    if not isinstance(images, StorePrefix):
        return []
    return list(islice(services.storage.list_images(images.prefix), MAX_LISTED))


def retry(job_id: str, services: Services, caller: Caller, *, idempotency_key: str | None) -> Job:
    """Submits the request of a job that has failed or was cancelled again, as a new job.

    Raises:
        NotFound: The tenant has no such job.
        Gone: The result has expired.
        NotFinished: The job has not failed and was not cancelled.
        UnsupportedFormat: A newer version accepted the job; it can also retry it.
        Problem: The request is no longer accepted.
    """
    job = find_job(job_id, caller.tenant, services)
    if job.state not in (State.FAILED, State.CANCELLED):
        raise NotFinished(f"job {job_id} is {job.state}; only a failed or cancelled job can be retried")
    new_job = submit(load_body(job_id, services), services, caller, idempotency_key=idempotency_key, retry_of=job_id)
    increment(services.redis_client, "archetype_jobs_retried")
    return new_job


def load_body(job_id: str, services: Services) -> dict[str, Any]:
    """Returns the request of a job, to submit it again.

    Raises:
        UnsupportedFormat: A newer version accepted it. To this version it only looks invalid.
    """
    body = load_spec(services.storage, job_id).request
    parse_stored(body)
    return body


def check_webhook(url: str | None, settings: Settings) -> None:
    """Raises `InvalidRequest` if a webhook may not be sent to this URL."""
    if url is not None:
        check_url(url, loopback=settings.keyless_loopback, networks=settings.webhook_networks)


def build_spec(
    checked: CheckedRequest,
    caller: Caller,
    services: Services,
    *,
    seconds: int | None = None,
    keys: Sequence[str] = (),
) -> JobSpec:
    """Builds the stored form of a request, from which the job's record can be rebuilt if Redis loses it."""
    split = split_job(checked.request, checked.targets, keys or checked.images)
    accepted_at, longest = services.redis_client.now(), services.settings.deadline_seconds
    return JobSpec(
        tenant=caller.tenant,
        request=dump_stored(checked.request),
        lane=name_lane(checked.request, checked.release.identity),
        **split.stored_fields,
        work=checked.work,
        created_at=accepted_at,
        deadline=accepted_at + timedelta(seconds=min(seconds or longest, longest)),
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", "")),
        trace=inject_trace(),
    )


def accept(job_id: str, spec: JobSpec, caller: Caller, services: Services) -> Job:
    """Enqueues a job if queue, memory and limits have room. Raises `QueueFull`, `MemoryFull` and `LimitReached`."""
    held_targets = services.admission.hold(caller.tenant, spec.counted_targets)
    with hold_room(caller.tenant, len(spec.shards), services), held_targets as others:
        check_submit(caller, spec.counted_targets + others, services.job_index, services.submit_limiter)
        return enqueue(job_id, spec, services)


def enqueue(job_id: str, spec: JobSpec, services: Services) -> Job:
    """Writes the request to S3, the record to Redis and the message to the queue, in this order, to lose nothing."""
    services.storage.save_spec(job_id, spec)
    job = spec.job(job_id)
    log.info("job.accepted", job_id=job_id, method=job.method, model=job.model, tenant=job.tenant)
    try:
        if services.claims.create(job_id, spec) and not spec.after:
            send_job(services.broker, job_id, choose_queue(job, services))
    except Unavailable as problem:  # the stored request is accepted; recovery records and sends it later
        log.warning("job.unsent", job_id=job_id, error=problem.detail)
    return job


def choose_queue(job: Job, services: Services) -> str:
    """Returns the queue of an idle worker that has loaded the job's network; else, or for bulk jobs, the shared one."""
    if job.priority != "interactive":
        return job.priority
    release = services.catalogue.of(job.tenant).find(job.model)
    worker = services.worker_registry.find_idle(release.identity)
    return job.priority if worker is None else name_queue(worker)


def find_binding(key: str, tenant: str, services: Services) -> Binding | None:
    """Returns what an idempotency key is bound to in the store, which also knows it after Redis has lost it.

    Raises:
        InvalidRequest: The key is not 1 to 255 printable characters.
    """
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces",
            FieldError(field="Idempotency-Key", detail="not 1 to 255 printable characters", given=key[:80]),
        )
    text = services.storage.find_idempotency_key(tenant, key)
    return None if text is None else Binding.read(text)


def digest_request(request: AnyRequest) -> str:
    """Returns the digest of a checked request, which earlier versions compare."""
    return hashlib.sha256(dump_with_old_names(request)).hexdigest()


def accept_once(
    key: str, known: Binding | None, proposed: Binding, spec: JobSpec, caller: Caller, services: Services
) -> Job:
    """Accepts a job with an idempotency key, or returns the job that another request with the key has submitted.

    Args:
        key: The idempotency key.
        known: What the key is bound to in the store.
        proposed: What to bind the key to, if it is not bound.
        spec: The checked request.
        caller: The caller.
        services: The services.

    Raises:
        IdempotencyConflict: The key was used with another body.
        MemoryFull: The key is new, and no new work is accepted.
    """
    if known is None:
        check_memory(services)
    wanted, seconds = known or proposed, services.settings.idempotency_seconds
    reserved = Binding.read(services.idempotency.reserve(caller.tenant, key, wanted.short_text, seconds))
    bound = wanted if wanted.job_id == reserved.job_id else reserved
    if not bound.has_same_body(proposed):
        raise IdempotencyConflict(
            f"Idempotency-Key {key!r} was used for job {bound.job_id} with another body; use a new key for a new "
            "request",
            FieldError(field="Idempotency-Key", detail="used with another body", given=key),
        )
    if bound != proposed:
        with suppress(NotFound):  # the first submission with the key was interrupted
            return find_job(bound.job_id, caller.tenant, services)
    complete = Binding(bound.job_id, bound.request_digest, proposed.body_digest)
    services.storage.save_idempotency_key(caller.tenant, key, complete.text)
    return accept(bound.job_id, spec, caller, services)
