"""Accepts a job: checked, stored, recorded, and only then enqueued."""

import hashlib
import re
from datetime import timedelta

import structlog

from api.limits import check_submit
from api.lookup import find_job
from api.request_ids import request_id
from api.services import Services
from shared.access import Caller
from shared.addresses import check_url
from shared.broker import send_job
from shared.checks import Checked, check_request, parse_request
from shared.errors import FieldError, IdempotencyConflict, InvalidRequest, NotFound, QueueFull, Unavailable
from shared.jobs import Job, Order, State, new_job_id, now
from shared.lanes import cut, name_lane
from shared.methods import AnyRequest
from shared.presence import name_queue
from shared.settings import Settings
from shared.tracing import carry

log = structlog.get_logger()

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
    """Accepts a job, or returns the one that this key was used for before.

    Args:
        seconds: After so many it is cancelled, if that is sooner than the service would.
        retry_of: The job that this one tries again.

    Raises:
        Problem: The request is not accepted, and nothing is enqueued.
    """
    request = parse_request(body)
    if request.webhook is not None:
        settings = services.settings
        check_url(request.webhook, loopback=settings.keyless_loopback, networks=settings.webhook_networks)
    checked = check_request(
        request, services.catalogue.of(caller.tenant), services.storage, services.storage.of(caller.tenant),
        prefixes=services.settings.picture_prefixes,
    )  # fmt: skip
    order = place_order(checked, caller, services.settings, seconds=seconds)
    order = order.model_copy(update={"retry_of": retry_of})
    if idempotency_key is None:
        return accept(new_job_id(), order, caller, services)
    job_id, bound = choose_id(checked.request, caller.tenant, services, idempotency_key)
    try:
        return find_job(job_id, caller.tenant, services)  # this idempotency key was used before
    except NotFound:
        services.storage.bind_key(caller.tenant, idempotency_key, bound)
        return accept(job_id, order, caller, services)


def place_order(checked: Checked, caller: Caller, settings: Settings, *, seconds: int | None = None) -> Order:
    """All that it takes to make the job's record, also when Redis has forgotten it."""
    shares, weight = cut(checked.request, checked.targets)
    accepted = now()
    return Order(
        tenant=caller.tenant,
        request=checked.request.model_dump(mode="json"),
        lane=name_lane(checked.request),
        shares=shares,
        weight=weight,
        created_at=accepted,
        deadline=accepted + timedelta(seconds=min(seconds or settings.deadline_seconds, settings.deadline_seconds)),
        request_id=request_id(),
        trace=carry(),
    )


def accept(job_id: str, order: Order, caller: Caller, services: Services) -> Job:
    """Enqueues a job where there is room for it. Raises `QueueFull` and `LimitReached`."""
    check_room(services)
    check_submit(caller, sum(order.shares), services.records, services.pace)
    return enqueue(job_id, order, services)


def enqueue(job_id: str, order: Order, services: Services) -> Job:
    """The request to S3, the record to Redis, the message to the queue: in this order, so that nothing is lost."""
    services.storage.save_order(job_id, order)
    job = order.job(job_id)
    log.info("job.accepted", job_id=job_id, method=job.method, model=job.model, tenant=job.tenant)
    try:
        if services.claims.create(job_id, order) and not order.after:
            send_job(services.broker, job_id, choose_queue(job, services))
    except Unavailable as problem:  # it is stored, and so it is accepted: the sweep records and sends what was not
        log.warning("job.unsent", job_id=job_id, error=problem.detail)
    return job


def choose_queue(job: Job, services: Services) -> str:
    """That of an idle worker which holds the network, where one is known; bulk jobs wait for whoever has the time."""
    if job.priority != "interactive":
        return job.priority
    worker = services.presence.find_idle(job.model)
    return job.priority if worker is None else name_queue(worker)


def check_room(services: Services) -> None:
    """Raises `QueueFull` when as many jobs wait as may."""
    limit = services.settings.max_queued_jobs
    if services.records.count(State.QUEUED) >= limit:
        raise QueueFull(f"{limit} jobs are queued, which is as many as may be; try again later")


def choose_id(request: AnyRequest, tenant: str, services: Services, key: str) -> tuple[str, str]:
    """The id that an idempotency key stands for, and what the key is bound to.

    Raises:
        InvalidRequest: The key is not 1 to 255 printable characters.
        IdempotencyConflict: It was used with another body.
    """
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces",
            FieldError(field="Idempotency-Key", detail="not 1 to 255 printable characters", given=key[:80]),
        )
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    records, lifetime = services.records, services.settings.idempotency_seconds
    bound = records.find_reserved(tenant, key) or services.storage.find_key(tenant, key)  # Redis may have forgotten it
    bound = records.reserve(tenant, key, bound or f"{new_job_id()} {digest}", lifetime)
    job_id, _, earlier = bound.partition(" ")
    if earlier != digest:
        raise IdempotencyConflict(
            f"Idempotency-Key {key!r} was used for job {job_id} with another body; use a new key for a new request",
            FieldError(field="Idempotency-Key", detail="used with another body", given=key),
        )
    return job_id, bound


CANCEL_AFTER = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?")


def read_cancel_after(header: str | None) -> int | None:
    """Seconds, from `90`, `90s`, `15m`, `1h30m`. Raises `InvalidRequest`."""
    if header is None:
        return None
    found = CANCEL_AFTER.fullmatch(header.strip())
    hours, minutes, seconds = (int(number or 0) for number in found.groups()) if found else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        detail = "not a length of time such as 90s, 15m or 1h30m"
        raise InvalidRequest(
            f"Cancel-After is {detail}", FieldError(field="Cancel-After", detail=detail, given=header[:80])
        )
    return total
