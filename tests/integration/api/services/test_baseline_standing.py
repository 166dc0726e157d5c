"""A release that was rejected is no measure for the next one, and a comparison with it is no pass."""

from collections.abc import Iterator
from itertools import count

import pytest

from api.dependencies import Services, connect
from api.services.cancel_job import cancel_with_members
from api.services.find_job import find_artifact, find_job
from api.services.review.decisions import decide
from api.services.review.standing import find_standing
from api.services.submit_audit import submit_audit
from api.services.view_audits import view_audit
from archetype.contract.audit import NewAudit
from archetype.contract.job import Job
from archetype.contract.report.decision import NewDecision
from archetype.contract.report.document import Report
from deploy.local import Stack
from shared.errors import InvalidRequest
from shared.storage.api_keys import Caller
from tests.support.waiting import wait_until

SEEDS = count(7700, 10)
TENANTS = count()
FIRST, SECOND, THIRD = ("drawings@v1", "drawings@v2", "drawings@v3")


@pytest.fixture
def services(stack: Stack) -> Services:
    return connect(stack.settings)


@pytest.fixture
def caller() -> Caller:
    """A tenant of its own, without decisions about its releases."""
    return Caller(tenant=f"standing-{next(TENANTS)}")


def new_audit(model: str, *baselines: str) -> NewAudit:
    seed = next(SEEDS)
    plan = {"name": "standing", "classes": ["lemon"], "seeds": [seed, seed + 1], "baselines": list(baselines)}
    return NewAudit.model_validate({"model": model, "plan": plan})


def audit_itself(model: str, services: Services, caller: Caller) -> Job:
    """An audit of a release against itself, which ends at once."""
    job = submit_audit(new_audit(model, model), services, caller)
    assert view_audit(job, services).verdict == "pass"
    return job


def decide_about(job: Job, decision: str, services: Services, caller: Caller) -> None:
    body = {"decision": decision, "name": "Ann Example", "reason": "fine"}
    decide(NewDecision.model_validate(body), find_job(job.id, caller.tenant, services), caller, services)


@pytest.fixture
def submitted(services: Services, caller: Caller) -> Iterator[list[Job]]:
    """Audits that are cancelled after the test."""
    jobs: list[Job] = []
    yield jobs
    for job in jobs:
        cancel_with_members(find_job(job.id, caller.tenant, services), services)


def test_the_standing_of_a_release_is_its_newest_verdict_and_decision(services: Services, caller: Caller) -> None:
    release = services.catalogue.of(caller.tenant).find(SECOND)
    assert find_standing(release, caller.tenant, services).describe() == f"{SECOND} was not audited"
    job = audit_itself(SECOND, services, caller)
    assert not find_standing(release, caller.tenant, services).is_known  # it was compared with nothing else
    decide_about(job, "reject", services, caller)
    assert not find_standing(release, caller.tenant, services).is_sound
    decide_about(job, "approve", services, caller)
    assert find_standing(release, caller.tenant, services).is_approved
    assert not find_standing(release, "another", services).is_known


def test_previous_passes_over_a_rejected_release(services: Services, caller: Caller, submitted: list[Job]) -> None:
    decide_about(audit_itself(SECOND, services, caller), "reject", services, caller)
    job = submit_audit(new_audit(THIRD, "previous"), services, caller)
    submitted.append(job)
    assert view_audit(job, services).baselines == [FIRST]


def test_approved_needs_a_decision(services: Services, caller: Caller, submitted: list[Job]) -> None:
    with pytest.raises(InvalidRequest, match="no release of drawings before this one is approved"):
        submit_audit(new_audit(THIRD, "approved"), services, caller)
    decide_about(audit_itself(FIRST, services, caller), "approve", services, caller)
    job = submit_audit(new_audit(THIRD, "approved"), services, caller)
    submitted.append(job)
    assert view_audit(job, services).baselines == [FIRST]


def test_a_release_identical_to_a_rejected_one_does_not_pass(services: Services, caller: Caller) -> None:
    new = new_audit(SECOND, SECOND)
    passed = submit_audit(new, services, caller)
    decide_about(passed, "reject", services, caller)
    job = submit_audit(new, services, caller)
    assert job.id != passed.id  # the earlier report does not know of the decision
    wait_until(lambda: find_job(job.id, caller.tenant, services).state.terminal, 240, message="the audit does not end")
    ended = view_audit(find_job(job.id, caller.tenant, services), services)
    assert (ended.error, ended.verdict) == (None, "warn")
    (finding,) = ended.findings
    assert finding.reason.startswith(f"{SECOND} was rejected by Ann Example on ")
    assert "approved" in (finding.action or "")
    stored = find_artifact(job.id, "report.json", caller.tenant, services)
    report = Report.model_validate_json(services.storage.bucket.get(stored.key))
    assert report.standings[0].decision == "reject"
