"""Schedules over HTTP, and announced releases."""

from typing import Any

import httpx2
import pytest

from archetype.client import Client, ServiceError
from archetype.contract.audit import NewAudit
from deploy.local import Stack
from tests.support.schedules import NEVER_SOON, scheduled
from tests.support.waiting import wait_until


def test_a_release_that_is_announced_repeatedly_is_audited_once(client: Client, plan: dict[str, Any]) -> None:
    with scheduled(client, plan) as schedule:
        audits = {item.outcome.audit for _ in range(3) for item in client.announce("shapes").audits}
        wait_until(lambda: client.get_schedule(schedule.id).outcomes)
        by_hand = client.audit(NewAudit.model_validate({"model": "shapes", "plan": plan}))
        assert audits == {by_hand.id}
        assert [outcome.audit for outcome in client.get_schedule(schedule.id).outcomes] == [by_hand.id]


def test_announcing_a_release_without_a_schedule_is_refused_with_what_to_do(
    client: Client, plan: dict[str, Any]
) -> None:
    with pytest.raises(ServiceError, match="POST /v1/schedules"):
        client.announce("slow")
    with scheduled(client, plan, on_release=False, cron=NEVER_SOON), pytest.raises(ServiceError, match="no schedule"):
        client.announce("shapes")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"cron": "0 3 * * 8"}, "/cron"),
        ({"cron": "0 3 * *"}, "/cron"),
        ({"cron": "0 3 * * *", "timezone": "Mars/Base"}, "/timezone"),
        ({"on_release": False}, ""),
        ({"jitter_seconds": 4000}, "/jitter_seconds"),
        ({"model": "missing"}, "/model"),
        ({"plan": {"name": "x", "classes": ["lemmon"]}}, "/plan/classes/0"),
        ({"plan": {"name": "x", "baselines": ["missing@1"]}}, "/baselines/0"),
        ({"webhook": "http://10.0.0.1/hook"}, "/webhook"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_field(
    stack: Stack, plan: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    body = {"model": "shapes", "plan": plan} | changes
    answer = httpx2.post(f"{stack.url}/v1/schedules", json=body, timeout=30)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith(field), answer.text


@pytest.mark.parametrize(
    ("write_back", "refused"),
    [
        ({"registered_model": "fraud-detector"}, "the registered model 'fraud-detector'"),
        ({"registered_model": "fraud-detector", "tag": None}, "the registered model 'fraud-detector'"),
        ({"registered_model": "alice-fruit", "tag": None, "alias": "audited"}, "the registered model 'alice-fruit'"),
        ({"registered_model": "Shapes", "alias": "champion"}, "the alias 'champion'"),
        ({"registered_model": "Shapes", "tag": "owner"}, "the tag 'owner'"),
    ],
)
def test_a_schedule_writes_only_what_the_operator_allows_its_tenant(
    stack: Stack, plan: dict[str, Any], write_back: dict[str, Any], refused: str
) -> None:
    body = {"model": "shapes", "plan": plan, "on_release": False, "cron": NEVER_SOON, "write_back": write_back}
    answer = httpx2.post(f"{stack.url}/v1/schedules", json=body, timeout=30)
    assert answer.status_code == 403, answer.text
    assert refused in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "/write_back"


def test_the_rules_of_one_tenant_do_not_apply_to_another(alice: Client, mallory: httpx2.Client) -> None:
    plan = {"name": "ruled", "baselines": []}
    quiet = {"model": "shapes", "plan": plan, "on_release": False, "cron": NEVER_SOON}
    allowed = {"registered_model": "alice-fruit", "tag": None, "alias": "audited"}
    with scheduled(alice, plan, on_release=False, cron=NEVER_SOON, write_back=allowed):
        pass
    assert mallory.post("/v1/schedules", json=quiet | {"write_back": allowed}).status_code == 403
