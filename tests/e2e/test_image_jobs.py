"""Large jobs over images: all workers compute them, and little work is lost if one of them is killed.

The network takes a quarter of a second per image and no processor time, so that what is counted here does not depend on
the speed of the machine: a slower one computes fewer images in the same time. The short form is a scenario of
tests/chaos, which kills a worker during such a job.
"""

from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import State
from benchmarks.shards.image_jobs import SECONDS, draw_archive, paced_stack, submit
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket

BATCH = 8
"""Largest batch that a network which gains nothing from batches gets."""

LOST_SECONDS = 10
TIMEOUT = 900


@pytest.mark.slow
def test_all_workers_share_a_large_job_over_images(tmp_path: Path) -> None:
    images = 6 * 64
    with paced_stack(tmp_path, workers=2) as stack, Client(stack.url) as client:
        job = client.wait(submit(client, draw_archive(tmp_path / "images.zip", images)), timeout=TIMEOUT)
        logs = [(tmp_path / "log" / f"{name}.log").read_text() for name in ("worker", "worker-2")]
    assert job.state is State.SUCCEEDED, job.error
    assert [pair["name"] for pair in job.metrics["pairs"]] == [f"{number:05}.png" for number in range(images)]
    claims = [log.count("job.claimed") for log in logs]
    assert sum(claims) == 7  # six shards and the assembly
    assert min(claims) >= 2


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_less_than_ten_seconds_of_work(tmp_path: Path) -> None:
    images = 4 * 64
    with paced_stack(tmp_path, workers=2, lease_seconds=3, sweep_seconds=0.5) as stack, Client(stack.url) as client:
        job_id = submit(client, draw_archive(tmp_path / "images.zip", images))
        # Both workers are late in their first shard: without checkpoints, twelve seconds of work would be lost.
        for job in client.watch(job_id, timeout=TIMEOUT):
            if job.progress.done >= 2 * 48:
                break
        stack.processes.kill("worker-2")
        job = client.wait(job_id, timeout=TIMEOUT)
        storage = JobStore(Bucket(stack.settings))
        manifest = storage.load_manifest(job_id)
        stored = set(storage.bucket.keys(f"jobs/{job_id}/attempts/"))
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2), job.error
    assert [pair["name"] for pair in job.metrics["pairs"]] == [f"{number:05}.png" for number in range(images)]
    computed_again = stored - set(manifest.keys.values())
    assert (len(computed_again) + BATCH) * SECONDS < LOST_SECONDS
