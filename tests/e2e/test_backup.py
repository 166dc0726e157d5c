"""What was saved is enough to make the service again, also what was under way; with Redis' file, its figures too."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.backup import copy, restore, save
from deploy.local import Stack, run_stack
from shared.client import Client
from shared.errors import Unavailable
from shared.jobs import Job, State
from shared.methods import ClassModel
from shared.parameters.class_model import ClassModelParameters
from shared.settings import Settings

SETTINGS = Settings(checkpoint_seconds=1, lease_seconds=3, sweep_seconds=0.5, reconcile_seconds=1)
PICTURE = Path(__file__).parents[2] / "deploy" / "pictures" / "bee.png"


def ask(steps: int) -> ClassModel:
    params = ClassModelParameters(steps=steps, extras=False)
    return ClassModel(method="class_model", model="shapes", targets=["lemon"], params=params)


@dataclass(frozen=True)
class Lost:
    """A service that is gone.

    Attributes:
        backup: What was saved of its store while it ran.
        redis: The folder of its Redis, copied while it ran.
        ended: A job that had ended, with its files.
        running: One that was under way.
        picture: The id of what was uploaded.
    """

    backup: Path
    redis: Path
    ended: Job
    files: list[bytes]
    running: Job
    picture: str


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    folder = tmp_path_factory.mktemp("lost")
    with run_stack(folder / "stack", SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        picture = client.upload(PICTURE.read_bytes()).id
        ended = client.wait(client.submit(ask(8)).id, timeout=120)
        files = [client.fetch(one) for one in ended.artifacts]
        save(stack.settings, folder / "backup")
        running = client.submit(ask(1200))
        limit = time.monotonic() + 60
        while client.job(running.id).progress.done < 50:
            assert time.monotonic() < limit
            time.sleep(0.1)
        save(stack.settings, folder / "backup")
        shutil.copytree(folder / "stack" / "redis", folder / "redis")
    return Lost(folder / "backup", folder / "redis", ended, files, running, picture)


def test_the_store_alone_is_enough(lost: Lost, tmp_path: Path) -> None:
    with run_stack(tmp_path, SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        assert restore(stack.settings, lost.backup) == 1
        found = client.job(lost.ended.id)
        assert found.state is State.SUCCEEDED
        assert [client.fetch(one) for one in found.artifacts] == lost.files
        assert client.picture(lost.picture) == PICTURE.read_bytes()
        assert client.wait(lost.running.id, timeout=120).state is State.SUCCEEDED


def test_with_redis_file_it_also_knows_what_it_counted(lost: Lost, tmp_path: Path) -> None:
    shutil.copytree(lost.redis, tmp_path / "redis")
    with run_stack(tmp_path, SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        restore(stack.settings, lost.backup)
        assert client.wait(lost.running.id, timeout=120).state is State.SUCCEEDED
        assert [job.id for job in client.jobs()] == [lost.running.id, lost.ended.id]
        counted = [line for line in client.metrics().splitlines() if line.startswith("archetype_jobs_ended_total")]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == 2


def test_a_copy_of_nothing_is_no_copy(tmp_path: Path) -> None:
    nowhere = SETTINGS.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})
    with pytest.raises(Unavailable):
        save(nowhere, tmp_path)
    with pytest.raises(RuntimeError, match="holds no copy"):
        restore(nowhere, tmp_path / "typo")


def test_what_cannot_be_copied_is_said(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"not everything was copied from archetype:nowhere/jobs .*not found"):
        copy(stack.settings, "archetype:nowhere/jobs", str(tmp_path), ())
