"""Plans for the form of a new audit: those of earlier audits, and those that are typed in."""

from typing import cast

from pydantic import ValidationError

from api.dependencies import Services
from api.services.view_audits import find_audit
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.problem import FieldError
from archetype.contract.request import Audit
from archetype.contract.strict_json import load_json
from shared.errors import InvalidRequest, Problem
from shared.lifecycle.rebuild import load_spec
from shared.validation.pydantic_errors import explain
from shared.validation.stored_request import parse_stored

MAX_PLANS = 20
"""Newest audits whose plans the form offers."""


def list_plans(tenant: str, services: Services) -> dict[str, str]:
    """Returns the newest plans of a tenant: their descriptions by the id of an audit. Each version occurs once."""
    jobs, _ = services.job_index.page(tenant, filters={"method": "audit"}, limit=MAX_PLANS, after=None)
    plans: dict[str, tuple[str, str]] = {}
    for job in jobs:
        try:
            plan = load_plan(job.id, tenant, services)
        except Problem:  # it was deleted meanwhile, or a newer version stored it
            continue
        description = f"{plan.name} ({plan.version}): {len(plan.probes)} probes, used for {job.model}"
        plans.setdefault(plan.version, (job.id, description))
    return dict(plans.values())


def load_plan(audit_id: str, tenant: str, services: Services) -> AuditPlan:
    """Returns the plan of an audit. Raises `NotFound` and `Gone`."""
    find_audit(audit_id, tenant, services)
    return cast("Audit", parse_stored(load_spec(services.storage, audit_id).request)).plan


def read_plan(text: str, audit_id: str, tenant: str, services: Services) -> AuditPlan:
    """Returns the plan that the text contains as JSON, or, if there is no text, that of an audit.

    Raises:
        InvalidRequest: The text is no audit plan, or there is neither a text nor an audit.
    """
    if not text.strip():
        if not audit_id:
            field = FieldError(field="plan", detail="field required", allowed="a plan in JSON, or an earlier audit")
            raise InvalidRequest("choose the plan of an earlier audit, or enter a plan", field)
        return load_plan(audit_id, tenant, services)
    try:
        return AuditPlan.model_validate(load_json(text))
    except ValidationError as error:
        raise explain(error, AuditPlan) from error
    except ValueError as error:
        field = FieldError(field="plan", detail="is not valid JSON")
        raise InvalidRequest(f"the plan is not valid JSON ({error})", field) from error
