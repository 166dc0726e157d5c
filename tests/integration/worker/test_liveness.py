"""Liveness files: a worker touches its file on every message and while it works, other processes while they run."""

from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import ClassModel, ClassModelParameters
from deploy.local import Stack
from tests.support.waiting import wait_until


def delete_liveness_file(stack: Stack, process: str) -> Path:
    """Deletes the liveness file of a process; returns its path."""
    assert stack.settings.liveness_dir is not None
    path = stack.settings.liveness_dir / process
    path.unlink(missing_ok=True)
    return path


def test_a_worker_that_receives_messages_touches_its_liveness_file(stack: Stack) -> None:
    path = delete_liveness_file(stack, "worker")
    assert wait_until(path.exists, 60)


@pytest.mark.parametrize("process", ["webhook-sender", "scheduler"])
def test_the_webhook_sender_and_the_scheduler_touch_their_liveness_files(stack: Stack, process: str) -> None:
    path = delete_liveness_file(stack, process)
    assert wait_until(path.exists, 30)


def test_a_worker_touches_its_liveness_file_while_it_runs_a_job(stack: Stack, client: Client) -> None:
    params = ClassModelParameters(steps=3000, extras=False)
    job = client.submit(ClassModel(method="class_model", model="shapes", targets=["lemon"], params=params))
    wait_until(lambda: client.job(job.id).state is State.RUNNING, 60)
    for _ in range(2):
        path = delete_liveness_file(stack, "worker")
        assert wait_until(path.exists, 3)
    assert client.job(job.id).state is State.RUNNING
    client.cancel(job.id)
