"""Schedules act in the name of the caller that created them: its limits count, and they end with its key."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from api.adapters.schedule_owners import find_owner
from api.dependencies import Services, connect
from api.services.run_schedules import count_missing, list_schedules, run_schedule
from api.services.trigger_audits import trigger
from archetype.client import Client
from archetype.contract.api_key import IssuedKey, Limits, NewKey, Scope
from archetype.contract.job import now
from archetype.contract.schedule import NewSchedule, Schedule
from deploy.local import Stack
from shared.errors import LimitReached
from shared.storage.schedules import StoredSchedule
from tests.support.schedules import NEVER_SOON

PLAN = {
    "name": "owned",
    "classes": ["lemon", "bee"],
    "seeds": [1, 2],
    "noise_seeds": [3, 4],
    "baselines": [],
    "class_models": {"steps": 2, "extras": False},
}
QUIET = {"model": "shapes", "plan": PLAN, "on_release": False, "cron": NEVER_SOON}
"""A schedule that the scheduler of the stack does not run during the tests."""


@pytest.fixture(scope="module")
def services(stack: Stack) -> Services:
    return connect(stack.settings)


@pytest.fixture
def issued(operator: Client) -> IssuedKey:
    """A key of a tenant of its own, with limits."""
    limits = Limits(submits_per_minute=2, queued_targets=1000)
    return operator.issue_key(NewKey(tenant="planner", scopes=[Scope.SUBMIT, Scope.READ], limits=limits))


@pytest.fixture
def planner(stack: Stack, issued: IssuedKey) -> Iterator[Client]:
    with Client(stack.url, key=issued.token) as client:
        yield client


@pytest.fixture
def schedule(planner: Client, services: Services) -> Iterator[Schedule]:
    """A schedule of the key."""
    created = planner.schedule(NewSchedule.model_validate(QUIET))
    yield created
    if (stored := services.schedules.find("planner", created.id)) is not None:
        services.schedules.delete(stored)


def load(schedule: Schedule, services: Services) -> StoredSchedule:
    stored = services.schedules.find("planner", schedule.id)
    assert stored is not None
    return stored


def with_seed(schedule: StoredSchedule, seed: int) -> StoredSchedule:
    """A schedule under another plan, whose audit shares no jobs with earlier ones."""
    changes = {"seeds": [seed, seed + 1], "noise_seeds": [seed + 2, seed + 3]}
    return schedule.model_copy(update={"plan": schedule.plan.model_copy(update=changes)})


def test_every_job_of_an_audit_counts_against_the_key_that_created_the_schedule(
    schedule: Schedule, issued: IssuedKey, services: Services
) -> None:
    stored, release = load(schedule, services), services.catalogue.of("planner").find("shapes")
    assert find_owner(stored, services).key == issued.id
    assert trigger(with_seed(stored, 100), release, services).audit is not None
    with pytest.raises(LimitReached, match="submits per minute"):
        trigger(with_seed(stored, 200), release, services)


def test_an_audit_counts_all_its_jobs_if_it_is_submitted_by_hand(stack: Stack, issued: IssuedKey) -> None:
    headers = {"Authorization": f"Bearer {issued.token}"}
    small = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2}}
    with httpx2.Client(base_url=stack.url, headers=headers, timeout=30) as http:
        body = {"model": "shapes", "plan": PLAN | {"name": "by-hand", "seeds": [301, 302]}, "again": True}
        assert http.post("/v1/audits", json=body).status_code == 202
        refused = http.post("/v1/jobs", json=small)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (429, "submits_per_minute")


def test_the_targets_of_scheduled_audits_are_limited(stack: Stack, operator: Client, services: Services) -> None:
    key = operator.issue_key(NewKey(tenant="planner", limits=Limits(queued_targets=1)))
    with Client(stack.url, key=key.token) as client:
        schedule = client.schedule(NewSchedule.model_validate(QUIET))
        stored = with_seed(load(schedule, services), 400)
        with pytest.raises(LimitReached, match="queued targets"):
            trigger(stored, services.catalogue.of("planner").find("shapes"), services)
        client.delete_schedule(schedule.id)


def test_a_schedule_is_paused_when_its_key_is_revoked(
    schedule: Schedule, planner: Client, issued: IssuedKey, operator: Client, stack: Stack, services: Services
) -> None:
    assert planner.get_schedule(schedule.id).paused is None
    operator.revoke_key(issued.id)
    fresh = connect(stack.settings)  # without keys in memory
    run_schedule("planner", schedule.id, fresh)
    stored = load(schedule, services)
    outcome = trigger(stored, fresh.catalogue.of("planner").find("shapes"), fresh)
    assert outcome.audit is None
    assert outcome.problem is not None
    assert f"the key {issued.id} was revoked" in outcome.problem.detail
    assert services.schedules.list_outcomes(stored) == []
    assert count_missing(stored.model_copy(update={"on_release": True}), fresh) == 0
    with Client(stack.url, key=operator.issue_key(NewKey(tenant="planner")).token) as colleague:
        shown = colleague.get_schedule(schedule.id)
        assert "revoked" in (shown.paused or "")
        assert shown.outcomes == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_at": now() - timedelta(seconds=1)}, "expired at"),
        ({"tenant": "another"}, "there is no key"),
        ({"scopes": [Scope.READ]}, "does not have the scope 'submit'"),
    ],
)
def test_a_schedule_is_paused_when_its_key_may_no_longer_submit(
    schedule: Schedule, issued: IssuedKey, stack: Stack, changes: dict[str, Any], reason: str
) -> None:
    fresh = connect(stack.settings)
    key = fresh.api_keys.find_by_id(issued.id)
    assert key is not None
    fresh.storage.bucket.put_document(f"access/keys/{key.id}.json", key.model_copy(update=changes))
    fresh = connect(stack.settings)
    outcome = trigger(load(schedule, fresh), fresh.catalogue.of("planner").find("shapes"), fresh)
    assert outcome.problem is not None
    assert reason in outcome.problem.detail


def test_schedules_of_the_operator_and_of_users_of_an_identity_provider_end_with_these(
    client: Client, stack: Stack
) -> None:
    schedule = client.schedule(NewSchedule.model_validate(QUIET))
    services = connect(stack.settings)
    stored = services.schedules.find("default", schedule.id)
    client.delete_schedule(schedule.id)
    assert stored is not None
    assert stored.created_by is not None
    assert find_owner(stored, services).key is None
    without = connect(stack.settings.model_copy(update={"operator_token": None, "oidc_issuer": None}))
    release = services.catalogue.of("default").find("shapes")
    for key in ("operator", "oidc:someone"):
        creator = stored.created_by.model_copy(update={"key": key})
        outcome = trigger(stored.model_copy(update={"created_by": creator}), release, without)
        assert outcome.problem is not None
        assert "paused" in outcome.problem.detail


def test_a_schedule_of_an_earlier_version_gets_a_valid_key_of_its_tenant(
    schedule: Schedule, services: Services
) -> None:
    services.schedules.save(load(schedule, services).model_copy(update={"created_by": None}))
    list_schedules(services)
    creator = load(schedule, services).created_by
    assert creator is not None
    keys = {key.id: key for key in services.api_keys if key.tenant == "planner"}
    assert creator.key is not None
    assert keys[creator.key].is_valid


def test_a_schedule_of_an_earlier_version_stays_paused_if_the_keys_of_its_tenant_have_ended(
    operator: Client, services: Services, client: Client
) -> None:
    ended = operator.issue_key(NewKey(tenant="gone"))
    operator.revoke_key(ended.id)
    created = client.schedule(NewSchedule.model_validate(QUIET))
    stored = services.schedules.find("default", created.id)
    client.delete_schedule(created.id)
    assert stored is not None
    earlier = stored.model_copy(update={"created_by": None, "tenant": "gone"})
    outcome = trigger(earlier, services.catalogue.of("gone").find("shapes"), services)
    assert outcome.problem is not None
    assert "revoked" in outcome.problem.detail
