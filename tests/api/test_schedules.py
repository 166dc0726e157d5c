"""Audits that come by themselves: on a release, at a time, by a registry's event; each once."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from redbeat.schedulers import ensure_conf
from safetensors.torch import save_file

from api.scheduler import Due, create_scheduler, reconcile
from api.services import connect
from deploy.local import Stack
from shared.audits import NewAudit
from shared.client import Client, ServiceError
from shared.jobs import now
from shared.registration import NewRelease
from shared.schedules import NewSchedule, Schedule, ScheduleStore
from tests.audits import write_plan
from tests.receiver import Receiver
from tests.releases import ENTRY, STATE

NEVER_SOON = "0 0 29 2 *"


@pytest.fixture(scope="module")
def plan(client: Client) -> dict[str, Any]:
    return write_plan(client, name="scheduled", baselines=[], probes=[])


@pytest.fixture
def registry(stack: Stack) -> Iterator[Receiver]:
    """What stands where the service believes an MLflow to be."""
    made = Receiver(urlsplit(stack.settings.mlflow_url or "").port or 0)
    made.start()
    yield made
    made.stop()


@contextmanager
def scheduled(client: Client, plan: dict[str, Any], **more: Any) -> Iterator[Schedule]:
    made = client.schedule(NewSchedule.model_validate({"model": "shapes", "plan": plan} | more))
    try:
        yield made
    finally:
        client.delete_schedule(made.id)


def wait_for(found: Callable[[], Any], seconds: float = 60) -> Any:
    limit = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < limit
        time.sleep(0.2)
    return value


def test_a_release_is_audited_by_itself_and_its_verdict_written_back(
    client: Client, plan: dict[str, Any], registry: Receiver
) -> None:
    back = {"registered_model": "Shapes", "alias": "audited"}
    with scheduled(client, plan, write_back=back) as made:
        outcome = wait_for(lambda: client.get_schedule(made.id).outcomes)[0]
        assert outcome.release == "1"
        *_, audit = client.watch_audit(outcome.audit)
        registry.wait_for(3)
        verdict, report, alias = (json.loads(body) for _, body in registry.taken)
        assert verdict == {"name": "Shapes", "version": "1", "key": "archetype.verdict", "value": audit.verdict}
        assert report["value"] == f"/v1/audits/{audit.id}/report"
        assert alias == {"name": "Shapes", "version": "1", "alias": "audited"}
        assert registry.paths[-1] == "/api/2.0/mlflow/registered-models/alias"


def test_a_registry_that_is_down_gets_the_verdict_later(
    client: Client, plan: dict[str, Any], stack: Stack, registry: Receiver
) -> None:
    registry.answer = 503
    with scheduled(client, plan, write_back={}) as made:
        store = ScheduleStore(connect(stack.settings).storage.bucket)
        pending = wait_for(lambda: [one for one in store.list_write_backs() if one.tries])[0]
        assert (pending.schedule, pending.version) == (made.id, "1")
        registry.answer = 200
        store.put_write_back(pending.model_copy(update={"next_at": now()}))
        registry.wait_for(2)
        wait_for(lambda: not list(store.list_write_backs()))


def test_what_is_announced_is_audited_once_however_often(client: Client, plan: dict[str, Any]) -> None:
    with scheduled(client, plan) as made:
        audits = {one.outcome.audit for _ in range(3) for one in client.announce("shapes").audits}
        wait_for(lambda: client.get_schedule(made.id).outcomes)
        by_hand = client.audit(NewAudit.model_validate({"model": "shapes", "plan": plan}))
        assert audits == {by_hand.id}
        assert [outcome.audit for outcome in client.get_schedule(made.id).outcomes] == [by_hand.id]


def test_a_release_that_is_registered_is_audited_beside_the_one_before(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(STATE, path)
    assert stack.settings.operator_token is not None
    short = {"steps": 2, "extras": False}
    plan = {"name": "watched", "seeds": [1, 2], "noise_seeds": [3, 4], "class_models": short}
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        entry = ENTRY | {"name": "watched", "upload": operator.upload_weights(path)}
        operator.register(NewRelease.model_validate(entry | {"release": "1"}))
        with scheduled(operator, plan, model="watched") as made:
            operator.register(NewRelease.model_validate(entry | {"release": "2"}))
            outcomes = wait_for(lambda: len(found := operator.get_schedule(made.id).outcomes) == 2 and found)
            audits = {one.release: operator.get_audit(one.audit) for one in outcomes}
            assert audits["1"].baselines == []
            assert audits["2"].baselines == ["watched@1"]


def test_an_audit_that_came_to_nothing_is_made_again_once_a_day(
    client: Client, plan: dict[str, Any], stack: Stack
) -> None:
    endless = plan | {"name": "endless", "class_models": {"steps": 3000, "extras": False}}
    with scheduled(client, endless) as made:
        first = wait_for(lambda: client.get_schedule(made.id).outcomes)[0]
        client.cancel_audit(first.audit)
        wait_for(lambda: client.get_audit(first.audit).state.terminal)
        time.sleep(3)  # several looks
        assert client.get_schedule(made.id).outcomes == [first]
        reconcile(connect(stack.settings))
        second = client.get_schedule(made.id).outcomes[0]
        assert second.audit not in (None, first.audit)
        client.cancel_audit(second.audit)


def test_a_schedule_that_cannot_be_read_is_in_no_others_way(client: Client, plan: dict[str, Any], stack: Stack) -> None:
    bucket, place = connect(stack.settings).storage.bucket, "schedules/default/00-broken.json"
    bucket.put(place, b'{"model": 1}', media_type="application/json")
    try:
        with scheduled(client, plan) as made:
            assert wait_for(lambda: client.get_schedule(made.id).outcomes)
            assert made.id in [one.id for one in client.schedules()]
    finally:
        bucket.delete(place)


def test_a_release_that_no_schedule_waits_for_is_refused_with_what_to_do(client: Client, plan: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="POST /v1/schedules"):
        client.announce("slow")
    with scheduled(client, plan, on_release=False, cron=NEVER_SOON), pytest.raises(ServiceError, match="no schedule"):
        client.announce("shapes")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"cron": "0 3 * *"}, "/cron"),
        ({"cron": "0 3 * * *", "timezone": "Mars/Base"}, "/timezone"),
        ({"on_release": False}, ""),
        ({"jitter_seconds": 4000}, "/jitter_seconds"),
        ({"model": "nobody"}, "/model"),
        ({"plan": {"name": "x", "classes": ["lemmon"]}}, "/plan/classes/0"),
        ({"plan": {"name": "x", "baselines": ["nobody@1"]}}, "/baselines/0"),
        ({"webhook": "http://10.0.0.1/hook"}, "/webhook"),
    ],
)
def test_a_schedule_that_is_wrong_is_refused_with_the_field(
    stack: Stack, plan: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    body = {"model": "shapes", "plan": plan} | changes
    answer = httpx2.post(f"{stack.url}/v1/schedules", json=body, timeout=30)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith(field), answer.text


def sign(stack: Stack, body: bytes, *, at: float | None = None) -> dict[str, str]:
    """As MLflow does (`mlflow/webhooks/delivery.py`, 3.3)."""
    assert stack.settings.mlflow_secret is not None
    sent = str(int(at if at is not None else time.time()))
    secret = stack.settings.mlflow_secret.get_secret_value().encode()
    digest = hmac.new(secret, b"7f1c." + sent.encode() + b"." + body, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": "7f1c", "X-MLflow-Timestamp": sent, "Content-Type": "application/json",
        "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode(),
    }  # fmt: skip


def write_event(action: str = "created", entity: str = "model_version", version: str = "1") -> bytes:
    data = {"name": "Shapes", "version": version, "source": "models:/1", "run_id": "0", "tags": {}, "description": None}
    return json.dumps({"entity": entity, "action": action, "timestamp": "2026-11-22T01:00:00", "data": data}).encode()


def test_a_registrys_event_starts_the_audits_of_its_model(client: Client, stack: Stack, plan: dict[str, Any]) -> None:
    back = {"registered_model": "Shapes", "tag": None}
    with scheduled(client, plan, write_back=back) as made, httpx2.Client(base_url=stack.url, timeout=30) as http:
        for entity in ("model_version", "model_version_alias"):
            body = write_event(entity=entity)
            said = http.post("/v1/registry/mlflow", content=body, headers=sign(stack, body)).json()
            assert (said["model"], said["known"]) == ("shapes@1", True)
            assert [one["schedule"] for one in said["audits"]] == [made.id]
        body = write_event(version="17")
        said = http.post("/v1/registry/mlflow", content=body, headers=sign(stack, body)).json()
        assert said == {"model": "shapes@17", "known": False, "audits": []}
        body = write_event(entity="prompt")
        said = http.post("/v1/registry/mlflow", content=body, headers=sign(stack, body))
        assert (said.status_code, said.json()["model"]) == (202, None)


def test_a_message_that_is_not_the_registrys_is_refused(stack: Stack) -> None:
    body = write_event()
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        for headers, sent in [
            ({"Content-Type": "application/json"}, body),
            (sign(stack, body), body + b" "),
            (sign(stack, body) | {"X-MLflow-Delivery-Id": "another"}, body),
            (sign(stack, body, at=time.time() - 3600), body),
        ]:
            assert http.post("/v1/registry/mlflow", content=sent, headers=headers).status_code == 401


def test_of_two_schedulers_one_fires_and_once(client: Client, stack: Stack, plan: dict[str, Any]) -> None:
    here = connect(stack.settings)
    scheduler = create_scheduler(stack.settings, here)
    prefix = ensure_conf(scheduler).key_prefix
    environment = {**os.environ, **stack.settings.environment()}
    other = subprocess.Popen([sys.executable, "-m", "api.scheduler"], env=environment)
    try:
        with scheduled(client, plan, on_release=False, cron=NEVER_SOON, timezone="Asia/Kolkata") as made:
            name = f"{prefix}schedule:{made.id}"
            entry = wait_for(lambda: find_entry(name, scheduler))
            assert str(entry.schedule.tz) == "Asia/Kolkata"
            assert client.get_schedule(made.id).outcomes == []
            before = count_fired(client)
            entry.reschedule(datetime(2020, 1, 1, tzinfo=UTC))
            outcome = wait_for(lambda: client.get_schedule(made.id).outcomes)[0]
            assert outcome.release == "1"
            time.sleep(5)  # two ticks and more of each
            assert count_fired(client) - before == 1
            assert other.poll() is None
        wait_for(lambda: find_entry(name, scheduler) is None)
    finally:
        other.terminate()
        assert other.wait(10) == 0


def find_entry(name: str, scheduler: Any) -> Due | None:
    try:
        return Due.from_key(name, app=scheduler)
    except KeyError:
        return None


def count_fired(client: Client) -> float:
    lines = [line for line in client.metrics().splitlines() if line.startswith("archetype_schedules_fired_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
