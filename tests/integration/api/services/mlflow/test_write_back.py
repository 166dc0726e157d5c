"""Verdicts of scheduled audits are written to a registry."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from api.dependencies import connect
from api.services.mlflow import write_back as module
from api.services.mlflow.write_back import write_pending_verdicts, write_verdict
from archetype.client import Client
from archetype.contract.audit import NewAudit, WriteBackResult
from archetype.contract.job import now
from archetype.contract.schedule import WriteBack
from deploy.local import Stack
from shared.state.job_ids import new_job_id
from shared.storage.schedules import PendingWriteBack, ScheduleStore
from tests.support.receiver import Receiver
from tests.support.schedules import scheduled
from tests.support.waiting import wait_until


def test_the_verdict_of_a_scheduled_audit_is_written_to_the_registry(
    client: Client, plan: dict[str, Any], registry: Receiver
) -> None:
    target = {"registered_model": "Shapes", "alias": "audited"}
    with scheduled(client, plan, write_back=target) as schedule:
        outcome = wait_until(lambda: client.get_schedule(schedule.id).outcomes)[0]
        assert outcome.release == "1"
        *_, audit = client.watch_audit(outcome.audit)
        registry.wait_for(3)
        verdict, report, alias = (json.loads(body) for _, body in registry.taken)
        assert verdict == {"name": "Shapes", "version": "1", "key": "archetype.verdict", "value": audit.verdict}
        assert report["value"] == f"/v1/audits/{audit.id}/report"
        assert alias == {"name": "Shapes", "version": "1", "alias": "audited"}
        assert registry.paths[-1] == "/api/2.0/mlflow/registered-models/alias"
        (result,) = wait_until(lambda: find_results(client, audit.id, schedule.id))
        assert (result.model, result.version, result.state) == ("Shapes", "1", "written")


def test_a_verdict_is_written_again_after_the_registry_was_down(
    client: Client, plan: dict[str, Any], stack: Stack, registry: Receiver
) -> None:
    registry.answer = 503
    with scheduled(client, plan, write_back={}) as schedule:
        store = ScheduleStore(connect(stack.settings).storage.bucket)
        pending = wait_until(lambda: [pending for pending in store.list_write_backs() if pending.tries])[0]
        assert (pending.schedule, pending.version) == (schedule.id, "1")
        registry.answer = 200
        store.put_write_back(pending.model_copy(update={"next_at": now()}))
        registry.wait_for(2)
        wait_until(lambda: not list(store.list_write_backs()))


def find_results(client: Client, audit_id: str, schedule_id: str) -> list[WriteBackResult]:
    """How the verdict was written for a schedule; other tests have schedules of the same audit."""
    return [result for result in client.get_audit(audit_id).write_backs if result.schedule == schedule_id]


def store_write_back(client: Client, stack: Stack, **changes: Any) -> PendingWriteBack:
    """Stores an order to write the verdict of an audit that has ended, as an earlier version could have accepted it."""
    seeds = {"seeds": [71, 72], "noise_seeds": [73, 74], "baselines": [], "classes": ["lemon"]}
    plan = {"name": "stored", "class_models": {"steps": 2, "extras": False}} | seeds
    *_, audit = client.watch_audit(
        client.audit(NewAudit.model_validate({"model": "shapes", "plan": plan})).id, timeout=60
    )
    fields = {"schedule": new_job_id(), "tenant": "default", "audit": audit.id, "model": "Shapes", "version": "1"}
    times = {"begun_at": now(), "next_at": now()}
    pending = PendingWriteBack.model_validate(fields | times | {"write_back": WriteBack()} | changes)
    ScheduleStore(connect(stack.settings).storage.bucket).put_write_back(pending)
    return pending


def find_result(client: Client, pending: PendingWriteBack) -> WriteBackResult:
    results = wait_until(
        lambda: [
            result for result in client.get_audit(pending.audit).write_backs if result.schedule == pending.schedule
        ]
    )
    return results[0]


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"model": "Foreign"}, "the registered model 'Foreign'"),
        ({"write_back": WriteBack(alias="champion")}, "the alias 'champion'"),
        ({"write_back": WriteBack(tag="owner")}, "the tag 'owner'"),
    ],
)
def test_a_write_that_the_operator_no_longer_allows_is_refused_and_recorded_on_the_audit(
    client: Client, stack: Stack, registry: Receiver, changes: dict[str, Any], refused: str
) -> None:
    pending = store_write_back(client, stack, **changes)
    write_pending_verdicts(connect(stack.settings))  # so does the scheduler, every few seconds
    result = find_result(client, pending)
    assert result.state == "refused"
    assert refused in (result.detail or "")
    assert registry.paths == []
    assert pending not in list(ScheduleStore(connect(stack.settings).storage.bucket).list_write_backs())


def test_a_verdict_that_was_written_is_not_written_again(client: Client, stack: Stack, registry: Receiver) -> None:
    pending = store_write_back(client, stack)
    assert find_result(client, pending).state == "written"
    services = connect(stack.settings)
    services.schedules.put_write_back(pending)  # as a process does that was slow
    write_pending_verdicts(services)
    assert len(registry.paths) == 2
    assert pending not in list(services.schedules.list_write_backs())


def test_an_order_that_cannot_be_read_does_not_stop_the_others(
    client: Client, stack: Stack, registry: Receiver
) -> None:
    bucket, key = connect(stack.settings).storage.bucket, "writebacks/0/broken.json"
    bucket.put(key, b'{"model": 1}', media_type="application/json")
    try:
        assert find_result(client, store_write_back(client, stack)).state == "written"
    finally:
        bucket.delete(key)


def test_a_registry_that_answers_byte_by_byte_is_left_after_the_time_limit(
    client: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_SECONDS", 2.0)
    pending = PendingWriteBack(
        schedule="s",
        tenant="default",
        audit="a",
        model="m",
        version="1",
        write_back=WriteBack(),
        begun_at=now(),
        next_at=now(),
    )
    with dripping() as url, pytest.raises(TimeoutError, match="within 2 s"):
        write_verdict(pending, "pass", stack.settings.model_copy(update={"mlflow_url": url}))


@contextmanager
def dripping() -> Iterator[str]:
    """A server that sends one byte of its response every tenth of a second, without end."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not ended.wait(0.1):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join(10)
