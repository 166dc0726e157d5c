"""The work of the scheduler: new releases are audited, and failed audits repeated."""

import time
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from api.dependencies import connect
from api.services.run_schedules import reconcile
from archetype.client import Client
from archetype.contract.registration import NewRelease
from deploy.local import Stack
from tests.support.releases import ENTRY, STATE
from tests.support.schedules import scheduled
from tests.support.waiting import wait_until


def test_a_registered_release_is_compared_with_the_previous_one(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(STATE, path)
    assert stack.settings.operator_token is not None
    short = {"steps": 2, "extras": False}
    plan = {"name": "watched", "seeds": [1, 2], "noise_seeds": [3, 4], "class_models": short}
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        entry = ENTRY | {"name": "watched", "upload": operator.upload_weights(path)}
        operator.register(NewRelease.model_validate(entry | {"release": "1"}))
        with scheduled(operator, plan, model="watched") as schedule:
            operator.register(NewRelease.model_validate(entry | {"release": "2"}))
            outcomes = wait_until(
                lambda: len(outcomes := operator.get_schedule(schedule.id).outcomes) == 2 and outcomes
            )
            audits = {outcome.release: operator.get_audit(outcome.audit) for outcome in outcomes}
            assert audits["1"].baselines == []
            assert audits["2"].baselines == ["watched@1"]


def test_a_cancelled_audit_is_repeated_by_the_daily_reconciliation_only(
    client: Client, plan: dict[str, Any], stack: Stack
) -> None:
    endless = plan | {"name": "endless", "class_models": {"steps": 3000, "extras": False}}
    with scheduled(client, endless) as schedule:
        first = wait_until(lambda: client.get_schedule(schedule.id).outcomes)[0]
        client.cancel_audit(first.audit)
        wait_until(lambda: client.get_audit(first.audit).state.terminal)
        time.sleep(3)  # several polls
        assert client.get_schedule(schedule.id).outcomes == [first]
        reconcile(connect(stack.settings))
        second = client.get_schedule(schedule.id).outcomes[0]
        assert second.audit not in (None, first.audit)
        client.cancel_audit(second.audit)


def test_an_unreadable_schedule_does_not_stop_other_schedules(
    client: Client, plan: dict[str, Any], stack: Stack
) -> None:
    bucket, key = connect(stack.settings).storage.bucket, "schedules/default/00-broken.json"
    bucket.put(key, b'{"model": 1}', media_type="application/json")
    try:
        with scheduled(client, plan) as schedule:
            assert wait_until(lambda: client.get_schedule(schedule.id).outcomes)
            assert schedule.id in [item.id for item in client.schedules()]
    finally:
        bucket.delete(key)
