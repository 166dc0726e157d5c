"""Accepts an audit: the jobs that it is made of, and after them the job that says what they come to."""

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress

from api.limits import check_submit
from api.lookup import find_job
from api.services import Services
from api.submission import check_room, enqueue, place_order
from shared.access import Caller
from shared.addresses import check_url
from shared.audits import NewAudit, check_plan, choose_baselines, explain_difference, plan_members
from shared.catalogue import Catalogue
from shared.checks import check_request
from shared.errors import Gone, NotFound
from shared.jobs import Job, State, new_job_id
from shared.methods import AnyRequest, Audit
from shared.retention import AUDIT
from shared.version import VERSION

OTHER_SECONDS = 5.0
"""For so long whoever asks for the same at the same moment is waited for."""


def submit_audit(new: NewAudit, here: Services, caller: Caller) -> Job:
    """Accepts an audit, or returns the one that was made of the same releases under the same plan.

    Raises:
        Problem: It is not accepted, and nothing is enqueued.
    """
    if new.webhook is not None:
        check_url(new.webhook, loopback=here.settings.keyless_loopback, networks=here.settings.webhook_networks)
    catalogue = here.catalogue.of(caller.tenant)
    audit = pin(new, catalogue)
    name = name_audit(audit)
    if not new.again and (known := find_audit(name, caller.tenant, here)) is not None:
        return known
    return enqueue_audit(audit, name, here, caller, again=new.again)


def pin(new: NewAudit, catalogue: Catalogue) -> Audit:
    """The audit with every release named, as it is stored. Raises `UnknownModel`, `UnknownTarget`, `InvalidRequest`."""
    subject = catalogue.find(new.model)
    check_plan(new.plan, subject)
    wanted = new.plan.baselines if new.baselines is None else new.baselines
    baselines = choose_baselines(wanted, subject, catalogue)
    return Audit(
        model=subject.reference, plan=new.plan, baselines=[one.reference for one in baselines],
        priority=new.priority, tags=list(dict.fromkeys([AUDIT, *new.tags])), webhook=new.webhook,
    )  # fmt: skip


def name_audit(audit: Audit) -> str:
    """What is the same for two audits of the same releases under the same plan."""
    said = "\n".join([audit.model, audit.plan.version, *audit.baselines])
    return hashlib.sha256(said.encode()).hexdigest()


def find_audit(name: str, tenant: str, here: Services) -> Job | None:
    """The audit that was made under this name, or is being made, unless it did not come to a verdict."""
    job_id = here.storage.find_audit(tenant, name)
    try:
        job = None if job_id is None else find_job(job_id, tenant, here)
    except (NotFound, Gone):
        return None
    return None if job is None or job.state in (State.FAILED, State.CANCELLED) else job


def name_member(request: AnyRequest) -> str:
    """What is the same for two jobs that would make the same: of a baseline that is pinned, every night."""
    said = request.model_dump_json(exclude={"tags", "priority", "webhook"})
    return hashlib.sha256(f"{VERSION}\n{said}".encode()).hexdigest()


def find_made(requests: Mapping[str, AnyRequest], tenant: str, here: Services) -> dict[str, str]:
    """The jobs of earlier audits that have made what is asked for, by role."""
    found: dict[str, str] = {}
    for role, request in requests.items():
        job_id = here.storage.find_member(tenant, name_member(request))
        with suppress(NotFound, Gone):
            if job_id is not None and find_job(job_id, tenant, here).state is State.SUCCEEDED:
                found[role] = job_id
    return found


def wait_for_other(audit_id: str, here: Services) -> Job | None:
    """The audit that somebody else is just then accepting under the same name; None if they never finish with it."""
    limit = time.monotonic() + OTHER_SECONDS
    while (job := here.records.find(audit_id)) is None and time.monotonic() < limit:
        time.sleep(0.1)
    return None if job is None or job.state in (State.FAILED, State.CANCELLED) else job


def enqueue_audit(audit: Audit, name: str, here: Services, caller: Caller, *, again: bool) -> Job:
    """Every job's request to S3 before the audit's own: whatever dies meanwhile, what was accepted is all there."""
    catalogue, settings = here.catalogue.of(caller.tenant), here.settings
    subject = catalogue.find(audit.model)
    baselines = [catalogue.find(reference) for reference in audit.baselines]
    comparable = [one for one in baselines if explain_difference(subject, one) is None]
    uploads = here.storage.of(caller.tenant)
    requests = plan_members(audit, subject, comparable)
    made = {} if again else find_made(requests, caller.tenant, here)
    orders = {}
    for role, request in requests.items():
        checked = check_request(request, catalogue, here.storage, uploads, prefixes=settings.picture_prefixes)
        if role not in made:
            orders[role] = place_order(checked, caller, settings)
    check_room(here)
    check_submit(caller, sum(sum(order.shares) for order in orders.values()), here.records, here.pace)
    audit_id = new_job_id()
    reserved = here.records.reserve(caller.tenant, f"audit:{name}", audit_id, settings.idempotency_seconds)
    if reserved != audit_id and not again and (other := wait_for_other(reserved, here)) is not None:
        return other
    members = {role: made.get(role) or new_job_id() for role in requests}
    for role, order in orders.items():
        enqueue(members[role], order, here)
        here.storage.bind_member(caller.tenant, name_member(requests[role]), members[role])
    whole = check_request(audit.model_copy(update={"members": members}), catalogue, here.storage, uploads)
    order = place_order(whole, caller, settings).model_copy(update={"after": [members[role] for role in orders]})
    job = enqueue(audit_id, order, here)
    here.storage.bind_audit(caller.tenant, name, audit_id)
    return job
