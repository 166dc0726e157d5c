"""Events of a registry start audits."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from api.dependencies import connect
from archetype.client import Client
from deploy.local import Stack
from shared.storage.schedules import PendingWriteBack
from tests.support.mlflow import sign, write_event
from tests.support.receiver import Receiver
from tests.support.schedules import scheduled
from tests.support.waiting import wait_until


@pytest.fixture
def secret(stack: Stack) -> str:
    assert stack.settings.mlflow_secret is not None
    return stack.settings.mlflow_secret.get_secret_value()


def test_an_event_of_the_registry_starts_the_audits_of_its_model(
    client: Client, stack: Stack, secret: str, plan: dict[str, Any]
) -> None:
    back = {"registered_model": "Shapes", "tag": None}
    with scheduled(client, plan, write_back=back) as schedule, httpx2.Client(base_url=stack.url, timeout=30) as http:
        for entity in ("model_version", "model_version_alias"):
            body = write_event(entity=entity)
            result = http.post("/v1/registry/mlflow", content=body, headers=sign(secret, body)).json()
            assert (result["model"], result["known"]) == ("shapes@1", True)
            assert [audit["schedule"] for audit in result["audits"]] == [schedule.id]
        body = write_event(version="17")
        result = http.post("/v1/registry/mlflow", content=body, headers=sign(secret, body)).json()
        assert result == {"model": "shapes@17", "known": False, "imported": False, "audits": []}
        body = write_event(entity="prompt")
        result = http.post("/v1/registry/mlflow", content=body, headers=sign(secret, body))
        assert (result.status_code, result.json()["model"]) == (202, None)


def test_an_event_that_the_registry_did_not_sign_is_refused(stack: Stack, secret: str) -> None:
    body = write_event()
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        for headers, sent in [
            ({"Content-Type": "application/json"}, body),
            (sign(secret, body), body + b" "),
            (sign(secret, body) | {"X-MLflow-Delivery-Id": "another"}, body),
            (sign(secret, body, at=time.time() - 3600), body),
        ]:
            assert http.post("/v1/registry/mlflow", content=sent, headers=headers).status_code == 401


def test_events_about_our_own_write_back_have_no_further_effect(
    client: Client, stack: Stack, secret: str, plan: dict[str, Any], registry: Receiver
) -> None:
    """The registry sends an event for the alias that the service sets, and may send each event more than once."""
    back = {"registered_model": "Shapes", "alias": "audited"}
    with scheduled(client, plan | {"seeds": [81, 82], "noise_seeds": [83, 84]}, write_back=back) as schedule:
        registry.wait_for(3)
        wait_until(lambda: not list_pending(stack))
        before = client.get_schedule(schedule.id)
        body = write_event(entity="model_version_alias")

        def send(number: int) -> Any:
            headers = sign(secret, body, delivery_id=f"delivery-{number}")
            return httpx2.post(f"{stack.url}/v1/registry/mlflow", content=body, headers=headers, timeout=30).json()

        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(send, range(8)))
        assert {audit["outcome"]["audit"] for result in results for audit in result["audits"]} == {
            before.outcomes[0].audit
        }
        assert list_pending(stack) == []
        assert client.get_schedule(schedule.id) == before
        assert len(registry.paths) == 3


def test_an_event_does_not_repeat_an_audit_that_was_cancelled(
    client: Client, stack: Stack, secret: str, plan: dict[str, Any]
) -> None:
    endless = plan | {"name": "endless", "class_models": {"steps": 3000, "extras": False}}
    with scheduled(client, endless, write_back={"registered_model": "Shapes", "tag": None}) as schedule:
        first = wait_until(lambda: client.get_schedule(schedule.id).outcomes)[0]
        client.cancel_audit(first.audit)
        wait_until(lambda: client.get_audit(first.audit).state.terminal)
        body = write_event()
        for number in range(3):
            headers = sign(secret, body, delivery_id=f"replayed-{number}")
            (audit,) = httpx2.post(f"{stack.url}/v1/registry/mlflow", content=body, headers=headers, timeout=30).json()[
                "audits"
            ]
            assert audit["outcome"]["audit"] == first.audit


def list_pending(stack: Stack) -> list[PendingWriteBack]:
    return list(connect(stack.settings).schedules.list_write_backs())
