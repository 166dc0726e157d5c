"""Accepts an audit: enqueues its member jobs, and the audit job, which starts when they have ended."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from api.adapters.queue_room import hold_room
from api.adapters.rate_limits import check_submit
from api.dependencies import Services
from api.services.find_job import find_job
from api.services.review.standing import find_standing
from api.services.submit_job import build_spec, check_webhook, enqueue
from archetype.contract.audit import NewAudit
from archetype.contract.job import Job, State
from archetype.contract.problem import FieldError
from archetype.contract.report.document import Report
from archetype.contract.request import AnyRequest, Audit, Requested
from archetype.version import VERSION
from shared.audits.identical import find_identities
from shared.audits.identical_report import build_identical_report
from shared.audits.pages.files import MEDIA_TYPES, write_files
from shared.audits.report.outcome import describe_outcome
from shared.catalogue.catalogue import Catalogue
from shared.catalogue.release import Release
from shared.errors import Gone, InvalidRequest, NotFound, Unavailable
from shared.lifecycle.audit_baselines import FindStanding, choose_baselines
from shared.lifecycle.audit_jobs import build_members, check_plan, explain_difference, is_black_box
from shared.lifecycle.audit_membership import AUDIT_TAG
from shared.lifecycle.end_at_once import ImmediateEnd
from shared.state.job_ids import new_job_id
from shared.storage.api_keys import Caller
from shared.storage.documents import JobSpec
from shared.validation.request import CheckedRequest, check_request
from shared.validation.store_keys import expand_prefixes

CONCURRENT_SECONDS = 5.0
"""How long to wait for a concurrent request that is accepting the same audit, before completing it."""

MAX_FAILED = 100
"""Failed audits of the same releases under the same plan whose successor is looked up in one request."""


@dataclass(frozen=True)
class PreparedAudit:
    """A checked audit whose jobs can be enqueued.

    Attributes:
        audit: The audit, without the ids of its members.
        digest: Digest of its releases and plan.
        requests: The requests of its members, by role.
        reusable: Ids of jobs of earlier audits that already have a requested result, by role.
        specs: The requests of the other members as they are stored, by role.
        report: The report if the subject is identical to all baselines, so that there is nothing to compute.
    """

    audit: Audit
    digest: str
    requests: Mapping[str, AnyRequest]
    reusable: Mapping[str, str]
    specs: Mapping[str, JobSpec]
    report: Report | None = None

    @property
    def targets(self) -> int:
        """Number of targets of the jobs to enqueue, as limits count them."""
        return sum(spec.counted_targets for spec in self.specs.values())

    @property
    def shards(self) -> int:
        """Number of shards of the jobs to enqueue and of the audit itself."""
        return sum(len(spec.shards) for spec in self.specs.values()) + 1


def submit_audit(new: NewAudit, services: Services, caller: Caller) -> Job:
    """Accepts an audit, or returns the existing audit of the same releases under the same plan.

    Raises:
        Problem: The audit is not accepted, and nothing is enqueued.
    """
    check_webhook(new.webhook, services.settings)
    audit = pin_releases(
        new,
        services.catalogue.of(caller.tenant),
        partial(find_standing, tenant=caller.tenant, services=services),
        identify(caller, services),
    )
    digest = digest_audit(audit)
    if not new.again and (existing := find_existing(digest, caller.tenant, services)) is not None:
        return existing
    prepared = prepare_audit(audit, digest, services, caller, again=new.again)
    held_targets = services.admission.hold(caller.tenant, prepared.targets)
    with hold_room(caller.tenant, prepared.shards, services), held_targets as others:
        targets, jobs = prepared.targets + others, len(prepared.specs) + 1
        check_submit(caller, targets, services.job_index, services.submit_limiter, jobs=jobs)
        if new.again:
            return enqueue_audit(new_job_id(services.redis_client.now()), prepared, services, caller)
        audit_id, is_new = reserve_audit_id(digest, caller.tenant, services)
        concurrent = None if is_new else wait_for_concurrent(audit_id, caller.tenant, services)
        return concurrent or enqueue_audit(audit_id, prepared, services, caller)


def identify(caller: Caller, services: Services) -> Requested:
    """Returns the requester as the report names it."""
    return Requested(by=caller.key or "local", tenant=caller.tenant, at=services.redis_client.now())


def pin_releases(
    new: NewAudit, catalogue: Catalogue, find_standing: FindStanding, requested: Requested | None = None
) -> Audit:
    """Returns the audit as it is stored: every model is named with its release.

    Raises:
        UnknownModel: The catalogue does not have a model or a release.
        UnknownTarget: The plan names a class that the model does not have.
        InvalidRequest: The plan does not fit the model, or no earlier release is approved.
    """
    subject = catalogue.find(new.model)
    check_plan(new.plan, subject)
    names = new.plan.baselines if new.baselines is None else new.baselines
    baselines = choose_baselines(names, subject, catalogue, find_standing)
    return Audit(
        model=subject.reference,
        plan=new.plan,
        baselines=[baseline.reference for baseline in baselines.releases],
        standings=[each for each in baselines.standings if each.is_known],
        skipped=baselines.skipped,
        priority=new.priority,
        tags=list(dict.fromkeys([AUDIT_TAG, *new.tags])),
        webhook=new.webhook,
        requested=requested,
    )


def digest_audit(audit: Audit) -> str:
    """Returns a digest that is the same for two audits of the same releases under the same plan.

    If something speaks against a baseline by now, the audit is another one: its report says so.
    """
    doubts = [standing.describe() for standing in audit.standings if not standing.is_sound]
    identity = "\n".join([audit.model, audit.plan.version, *audit.baselines, *doubts])
    return hashlib.sha256(identity.encode()).hexdigest()


def find_existing(digest: str, tenant: str, services: Services) -> Job | None:
    """Returns the audit with this digest unless it failed or was cancelled."""
    job_id = services.storage.find_audit_id(tenant, digest)
    job = None if job_id is None else find_own_job(job_id, tenant, services)
    return None if job is None or job.state in (State.FAILED, State.CANCELLED) else job


def find_own_job(job_id: str, tenant: str, services: Services) -> Job | None:
    """Returns a job of a tenant; None if it does not exist, or no longer."""
    try:
        return find_job(job_id, tenant, services)
    except (NotFound, Gone):
        return None


def reserve_audit_id(digest: str, tenant: str, services: Services) -> tuple[str, bool]:
    """Reserves the id of the audit with this digest, so that all concurrent requests use the same one.

    The name of a reservation contains the id of the audit before it, which failed, was cancelled or was deleted, so
    that it can be repeated. It also contains a space, so that no `Idempotency-Key` of a client has the same name.

    Returns:
        The id, and whether this request reserved it.
    """
    previous = services.storage.find_audit_id(tenant, digest) or ""
    for _ in range(MAX_FAILED):
        proposed = new_job_id(services.redis_client.now())
        audit_id = reserve(tenant, f"audit {digest} {previous}", proposed, services)
        job = None if audit_id == proposed else find_own_job(audit_id, tenant, services)
        if job is None or job.state not in (State.FAILED, State.CANCELLED):
            return audit_id, audit_id == proposed
        previous = audit_id
    raise Unavailable(f"this audit failed {MAX_FAILED} times today; repeat it with `again`")


def reserve(tenant: str, name: str, proposed: str, services: Services) -> str:
    """Returns the id that is reserved under a name: the proposed one, or that of an earlier request."""
    return services.idempotency.reserve(tenant, name, proposed, services.settings.idempotency_seconds)


def digest_member(request: AnyRequest) -> str:
    """Returns a digest that is the same for two jobs with the same results, such as those of a pinned baseline."""
    parameters = request.model_dump_json(exclude={"tags", "priority", "webhook"})
    return hashlib.sha256(f"{VERSION}\n{parameters}".encode()).hexdigest()


def find_reusable(requests: Mapping[str, AnyRequest], tenant: str, services: Services) -> dict[str, str]:
    """Returns the ids of jobs of earlier audits that already have the requested results, by role.

    A job that was deleted is not found, so that its result is computed again.
    """
    reusable: dict[str, str] = {}
    catalogue = services.catalogue.of(tenant)
    for role, request in requests.items():
        job_id = services.storage.find_member_id(tenant, digest_member(request))
        job = None if job_id is None else find_own_job(job_id, tenant, services)
        if job is not None and has_result_of(job, catalogue.find(request.model), services):
            reusable[role] = job.id
    return reusable


def has_result_of(job: Job, release: Release, services: Services) -> bool:
    """Whether a job has succeeded with the weights that a release has now."""
    description = services.storage.load_description(release)
    digest = job.provenance.get("model", {}).get("sha256")
    return job.state is State.SUCCEEDED and (description is None or description.sha256 == digest)


def wait_for_concurrent(audit_id: str, tenant: str, services: Services) -> Job | None:
    """Waits for the same audit that a concurrent request is accepting; None if that request does not complete."""
    job = find_own_job(audit_id, tenant, services)  # an audit of an earlier request may have ended
    deadline = time.monotonic() + CONCURRENT_SECONDS
    while job is None and time.monotonic() < deadline:
        time.sleep(0.1)
        job = services.job_index.find(audit_id)
    return None if job is None or job.state in (State.FAILED, State.CANCELLED) else job


def prepare_audit(audit: Audit, digest: str, services: Services, caller: Caller, *, again: bool) -> PreparedAudit:
    """Checks the requests of an audit's members. Raises a `Problem` if one is not accepted."""
    catalogue = services.catalogue.of(caller.tenant)
    subject = catalogue.find(audit.model)
    baselines = [catalogue.find(reference) for reference in audit.baselines]
    identities = find_identities(audit, subject, baselines, services.storage)
    compared = [
        baseline
        for baseline in baselines
        if explain_difference(subject, baseline) is None and baseline.reference not in identities
    ]
    describe = services.storage.load_description
    black_boxes = {each.reference for each in (subject, *compared) if is_black_box(describe(each))}
    requests = build_members(audit, subject, compared, black_boxes)
    checked = check_members(requests, caller, services)
    if baselines and len(identities) == len(baselines):
        known = list(identities.values())
        is_sound = all(standing.is_sound for standing in audit.standings)  # otherwise the worker finds what is wrong
        report = build_identical_report(audit, subject, known, services.redis_client.now()) if is_sound else None
        return PreparedAudit(audit, digest, {}, {}, {}, report)
    if not requests:
        names = ", ".join(sorted(black_boxes))
        detail = f"nothing can be compared: class visualizations need gradients (not: {names}), and there are no probes"
        raise InvalidRequest(detail, FieldError(field="/plan/probes", detail=detail))
    reusable = {} if again else find_reusable(requests, caller.tenant, services)
    specs = {
        role: build_spec(request, caller, services).model_copy(update={"in_audit": True})
        for role, request in checked.items()
        if role not in reusable
    }
    return PreparedAudit(audit, digest, requests, reusable, specs)


def check_members(requests: Mapping[str, AnyRequest], caller: Caller, services: Services) -> dict[str, CheckedRequest]:
    """Checks the requests of an audit's members, by role. Raises a `Problem` if one is not accepted."""
    catalogue, uploads = services.catalogue.of(caller.tenant), services.storage.of(caller.tenant)
    prefixes = expand_prefixes(services.settings.picture_prefixes, caller.tenant)
    return {
        role: check_request(request, catalogue, services.storage, uploads, prefixes=prefixes)
        for role, request in requests.items()
    }


def enqueue_audit(audit_id: str, prepared: PreparedAudit, services: Services, caller: Caller) -> Job:
    """Enqueues the member jobs and then the audit job, so that an accepted audit always has all its members.

    A request that was interrupted is completed by the next one: the ids of the members depend on the id of the audit,
    and jobs that exist are not enqueued again.
    """
    tenant, moment = caller.tenant, services.redis_client.now()
    members = {
        role: prepared.reusable.get(role) or reserve(tenant, f"member {audit_id} {role}", new_job_id(moment), services)
        for role in prepared.requests
    }
    for role, spec in prepared.specs.items():
        enqueue_once(members[role], spec, None, services)
        services.storage.save_member_id(tenant, digest_member(prepared.requests[role]), members[role])
    audit = prepared.audit.model_copy(update={"members": members, "reused": sorted(prepared.reusable)})
    whole = check_request(audit, services.catalogue.of(tenant), services.storage, services.storage.of(tenant))
    after = [members[role] for role in prepared.specs]
    spec = build_spec(whole, caller, services).model_copy(update={"after": after, "in_audit": True})
    job = enqueue_once(audit_id, spec, prepared.report, services)
    services.storage.save_audit_id(tenant, prepared.digest, audit_id)
    return job


def enqueue_once(job_id: str, spec: JobSpec, report: Report | None, services: Services) -> Job:
    """Enqueues a job, unless it exists. With a report, the job is an audit that has ended."""
    return find_own_job(job_id, spec.tenant, services) or (
        enqueue(job_id, spec, services) if report is None else end_with_report(job_id, spec, report, services)
    )


def end_with_report(audit_id: str, spec: JobSpec, report: Report, services: Services) -> Job:
    """Stores an audit that ends when it is accepted, with its report."""
    immediate = ImmediateEnd(services.claims, services.job_index, services.storage, services.outbox)
    files = {name: (data, MEDIA_TYPES[name]) for name, data in write_files(report).items()}
    return immediate.end(audit_id, spec, describe_outcome(report), files)
