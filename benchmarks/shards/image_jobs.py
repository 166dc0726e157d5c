"""Compares the time of a job over many images on one worker and on several.

python -m benchmarks.shards.image_jobs --images 20000 --workers 1 2

Only the network is simulated: it waits for a fixed time per image, as for a GPU, so that workers on one machine do not
compete for the time of its network. Everything else is real: the archive, decoding, rendering, Redis, the store. Give
every worker two cores; with fewer, the workers compete for the rest, and the ratio is too low.
"""

import argparse
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.parameters.inputs import Archive
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import Saliency
from deploy.local import Stack, run_stack
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.state.worker_registry import WORKERS

SECONDS = 0.25
"""Time per image that the simulated network takes."""

SIDE = 32

CATALOGUE = f"""
[[model]]
name = "paced"
architecture = "factory:paced"
classes = ["one", "two", "three"]
preprocessing = {{ size = [{SIDE}, {SIDE}] }}
"""

FACTORIES = {"paced": "benchmarks.shards.image_jobs:paced"}

START_SECONDS = 120


class Paced(nn.Module):
    """A network that takes `SECONDS` per image, and no processor time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the class scores (N, 3) of images (N, 3, H, W)."""
        if torch.is_grad_enabled():  # once per map, and not for the predictions
            time.sleep(SECONDS * len(x))
        scores: Tensor = self.layer(x).mean((2, 3))
        return scores


def paced() -> nn.Module:
    """Returns the simulated network."""
    torch.manual_seed(0)
    return Paced()


def draw_archive(path: Path, count: int) -> Path:
    """Writes an archive of so many different images."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            buffer = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(buffer, "PNG")
            archive.writestr(f"{number:05}.png", buffer.getvalue())
    return path


@contextmanager
def paced_stack(folder: Path, workers: int, **settings: float) -> Iterator[Stack]:
    """Runs a stack whose workers are ready, with the simulated network in its catalogue."""
    folder.mkdir(exist_ok=True)
    (folder / "models.toml").write_text(CATALOGUE)
    options = Settings(catalogue=folder / "models.toml", factories=FACTORIES, cache=folder / "cache")
    with run_stack(folder, options.model_copy(update=settings), workers=workers) as stack:
        wait_for_workers(RedisClient(stack.settings), workers)
        yield stack


def wait_for_workers(redis_client: RedisClient, workers: int) -> None:
    """Waits until all workers are registered."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        with redis_client.connection() as redis:
            if redis.scard(WORKERS) == workers:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{workers} workers were not ready after {START_SECONDS} s")


def submit(client: Client, archive: Path) -> str:
    """Submits a saliency job over an archive with one file per image; returns its id."""
    images = Archive(archive=client.upload_archive(archive).id)
    params = SaliencyParameters(outputs=["heat_map"])
    return client.submit(Saliency(method="saliency", model="paced", images=images, params=params)).id


def measure(folder: Path, images: int, workers: int) -> float:
    """Returns the seconds from the first claim of a job to its end; the network is loaded by then."""
    with paced_stack(folder, workers) as stack, Client(stack.url) as client:
        warm_up = client.wait(submit(client, draw_archive(folder / "warm-up.zip", 65 * workers)), timeout=3600)
        job = client.wait(submit(client, draw_archive(folder / "images.zip", images)), timeout=24 * 3600)
        for each in (warm_up, job):
            check(each)
        return ((job.finished_at or job.created_at) - (job.started_at or job.created_at)).total_seconds()


def check(job: Job) -> None:
    """Raises `RuntimeError` if a job has not succeeded."""
    if job.state is not State.SUCCEEDED:
        raise RuntimeError(f"job {job.id} {job.state}: {job.error}")


def main() -> None:
    """Prints the seconds for each number of workers, and how much faster the job is than with the first number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="number of images")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers to compare")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    seconds: dict[int, float] = {}
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as folder:
            seconds[workers] = measure(Path(folder), options.images, workers)
        ratio = seconds[options.workers[0]] / seconds[workers]
        print(f"{options.images} images, {workers} workers: {seconds[workers]:.1f} s, {ratio:.2f} times as fast")
    if options.json:
        options.json.write_text(json.dumps({"images": options.images, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
