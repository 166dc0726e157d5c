"""A backup of the store restores results and unfinished jobs; with the data of Redis also the metrics."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.backup import copy, restore, save
from deploy.local import Stack, run_stack
from shared.errors import Unavailable
from shared.settings import Settings
from tests.support.paths import PICTURES
from tests.support.slow_network import SLOW, draw_slowly
from tests.support.waiting import wait_until

SETTINGS = Settings(**SLOW, checkpoint_seconds=1, lease_seconds=3, sweep_seconds=0.5, reconcile_seconds=1)
IMAGE = PICTURES / "bee.png"


QUICK = ClassModel(
    method="class_model", model="shapes", targets=["lemon"], params=ClassModelParameters(steps=8, extras=False)
)


@dataclass(frozen=True)
class Lost:
    """A service that no longer exists.

    Attributes:
        backup: The backup of its store, made while it ran.
        redis: The folder of its Redis, copied while it ran.
        ended: A job that had ended.
        files: The artifacts of that job.
        running: A job that was running.
        image: The id of an uploaded image.
    """

    backup: Path
    redis: Path
    ended: Job
    files: list[bytes]
    running: Job
    image: str


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    folder = tmp_path_factory.mktemp("lost")
    with run_stack(folder / "stack", SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        image = client.upload(IMAGE.read_bytes()).id
        ended = client.wait(client.submit(QUICK).id, timeout=400)
        files = [client.fetch(artifact) for artifact in ended.artifacts]
        save(stack.settings, folder / "backup")
        running = client.submit(draw_slowly(200))
        wait_until(lambda: client.job(running.id).progress.done >= 10, 120)
        save(stack.settings, folder / "backup")
        shutil.copytree(folder / "stack" / "redis", folder / "redis")
    return Lost(folder / "backup", folder / "redis", ended, files, running, image)


def test_a_backup_of_the_store_restores_results_and_unfinished_jobs(lost: Lost, tmp_path: Path) -> None:
    with run_stack(tmp_path, SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        assert restore(stack.settings, lost.backup) == 1
        restored = client.job(lost.ended.id)
        assert restored.state is State.SUCCEEDED
        assert [client.fetch(artifact) for artifact in restored.artifacts] == lost.files
        assert client.picture(lost.image) == IMAGE.read_bytes()
        assert client.wait(lost.running.id, timeout=400).state is State.SUCCEEDED


@pytest.mark.slow
def test_a_copy_of_the_data_of_redis_also_restores_the_metrics(lost: Lost, tmp_path: Path) -> None:
    shutil.copytree(lost.redis, tmp_path / "redis")
    with run_stack(tmp_path, SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        restore(stack.settings, lost.backup)
        assert client.wait(lost.running.id, timeout=400).state is State.SUCCEEDED
        assert [job.id for job in client.jobs()] == [lost.running.id, lost.ended.id]
        lines = [line for line in client.metrics().splitlines() if line.startswith("archetype_jobs_ended_total")]
        assert sum(float(line.rpartition(" ")[2]) for line in lines) == 2


def test_save_needs_a_bucket_and_restore_needs_a_backup(tmp_path: Path) -> None:
    nowhere = SETTINGS.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})
    with pytest.raises(Unavailable):
        save(nowhere, tmp_path)
    with pytest.raises(RuntimeError, match="contains no backup"):
        restore(nowhere, tmp_path / "typo")


def test_a_failed_copy_raises_an_error_with_the_reason(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"some objects were not copied from archetype:nowhere/jobs .*not found"):
        copy(stack.settings, "archetype:nowhere/jobs", str(tmp_path), ())
