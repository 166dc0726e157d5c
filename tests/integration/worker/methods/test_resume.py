"""Jobs with steps whose worker is killed continue in another attempt."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import DeepDream
from deploy.local import Stack, run_stack
from shared.settings import Settings
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.run_method import encode, noise
from tests.support.slow_network import SLOW

STEPS = 40
STEP_SECONDS = 0.1
"""Least duration of a step with the network `slow`."""


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose worker this test may kill, with frequent checkpoints."""
    settings = Settings(
        **SLOW,
        lease_seconds=3,
        sweep_seconds=0.5,
        checkpoint_seconds=0.3,
        cache=tmp_path / "cache",
    )
    with run_stack(tmp_path, settings) as running:
        yield running


@pytest.mark.slow
def test_a_deep_dream_whose_worker_is_killed_continues_where_it_was(own_stack: Stack) -> None:
    objective = {"kind": "norm", "layer": "layer"}
    with Client(own_stack.url) as client:
        # Images of different sizes run one after the other.
        images = [client.upload(encode(noise(*size, seed=3))).id for size in ((60, 90), (90, 60))]
        params = {"objective": objective, "steps": STEPS, "octaves": 2, "frames": 3}
        job_id = client.submit(DeepDream(method="deep_dream", model="slow", images=images, params=params)).id
        for job in client.watch(job_id, timeout=400):
            if job.progress.done >= 1.7 * STEPS:
                break
        time.sleep(1)  # for a checkpoint
        own_stack.processes.kill("worker")
        assert client.job(job_id).state is State.RUNNING
        own_stack.processes.start("worker")
        job = client.wait(job_id, timeout=400)
        assert (job.state, job.attempt) == (State.SUCCEEDED, 2), job.error
        assert [pair["steps"] for pair in job.metrics["pairs"]] == [STEPS] * 2
        attempt_seconds = (job.finished_at - job.created_at).total_seconds() - job.provenance["seconds"]["claimed"]
        assert attempt_seconds < 2 * STEPS * STEP_SECONDS  # all steps take longer
        for artifact in job.artifacts:
            if artifact.name.endswith(".png"):
                Image.open(io.BytesIO(client.fetch(artifact))).load()
    manifest = JobStore(Bucket(own_stack.settings)).load_manifest(job_id)
    fences = [{key.split("/")[3] for name, key in manifest.keys.items() if name[:12] == id_[:12]} for id_ in images]
    assert len(fences[0]) == len(fences[1]) == 1
    assert int(*fences[0]) < int(*fences[1]) == manifest.fence
