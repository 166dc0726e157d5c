"""Registration over HTTP: its cost beyond loading a network, and the checks of `benchmarks.families` for a client.

python -m benchmarks.registration
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.registration import NewRelease
from archetype.contract.request import REQUEST
from benchmarks.architectures import Architecture, build_lively, make_release
from deploy.local import run_stack
from shared.catalogue.release import Release
from shared.settings import Settings
from worker.models.loader import Loader

SQUEEZENET = Architecture("torchvision:squeezenet1_1", "torchvision.squeezenet", 1_235_496, (224, 224))
ROUNDS = 3
MAX_SECONDS = 3.0
"""A registration takes at most so much longer than loading the network."""

SECONDS = 600
"""Limit for a registration and for a job."""


def main() -> int:
    """Measures the registration of SqueezeNet and prints the result; returns the exit code."""
    with open_service() as service:
        loaded, registered = zip(*(measure_round(service, number) for number in range(ROUNDS)), strict=True)
    load, register = statistics.median(loaded), statistics.median(registered)
    print("| network | load, s | register over HTTP, s | longer by, s | at most, s |\n|---|--:|--:|--:|--:|")
    print(f"| {SQUEEZENET.name} | {load:.2f} | {register:.2f} | {register - load:.2f} | {MAX_SECONDS:.1f} |")
    return 0 if register - load <= MAX_SECONDS else 1


def measure_round(service: "Service", number: int) -> tuple[float, float]:
    """Returns the seconds of loading SqueezeNet in this process, and of registering it."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(build_lively(SQUEEZENET).state_dict(), weights)
        release = make_release(SQUEEZENET, weights, name=f"squeezenet-{number}")
        started = time.perf_counter()
        Loader().load(release, torch.device("cpu"))
        load = time.perf_counter() - started
        new = service.describe(release)
        started = time.perf_counter()
        service.client.register(new, seconds=SECONDS)
        return load, time.perf_counter() - started


@contextmanager
def open_service() -> Iterator["Service"]:
    """Starts a stack of its own in a temporary folder, and stops it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(max_wait_seconds=SECONDS, cache=Path(folder) / "cache")
        with run_stack(Path(folder) / "stack", settings) as stack:
            token = stack.settings.operator_token
            with Client(stack.url, key=token.get_secret_value() if token else None, timeout=SECONDS) as client:
                yield Service(client)


@dataclass(frozen=True)
class Service:
    """A running service, to which networks are uploaded.

    Attributes:
        client: A client with the operator's key.
    """

    client: Client

    def describe(self, release: Release) -> NewRelease:
        """Uploads the weights of a catalogue entry and returns its registration."""
        assert release.weights is not None  # noqa: S101
        fields = release.model_dump(
            include={"name", "release", "architecture", "arguments", "classes", "preprocessing"}
        )
        return NewRelease.model_validate(fields | {"upload": self.client.upload_weights(release.weights)})

    def examine(self, release: Release, plain: nn.Module) -> tuple[float, list[str]]:
        """Registers a release and runs three methods; returns the score error and what did not work, in sentences.

        Args:
            release: A catalogue entry with weights on this machine.
            plain: The plain network with these weights.
        """
        self.client.register(self.describe(release), seconds=SECONDS)
        model = self.client.model(release.name)
        failures = [
            f"{capability['method']} {capability['kind'] or ''} is not available: {capability['reason']}"
            for capability in model["capabilities"] or []
            if not capability["available"] and (capability["method"], capability["kind"]) in EXPECTED
        ]
        pixels = draw(release.preprocessing.size)
        picture = self.client.upload(encode(pixels)).id
        jobs = [self._run(body | {"model": release.name}) for body in describe_jobs(picture)]
        failures += [f"{job.method}: {job.error.detail}" for job in jobs if job.error is not None]
        if jobs[0].state is not State.SUCCEEDED:
            return float("nan"), failures
        with torch.no_grad():
            scores = plain(normalize(release, pixels))[0]
        found = torch.tensor([pair["score"] for pair in jobs[0].metrics["pairs"]])
        return float((found - scores).abs().max() / scores.abs().max()), failures

    def _run(self, body: dict[str, Any]) -> Job:
        return self.client.wait(self.client.submit(REQUEST.validate_python(body)).id, timeout=SECONDS)


EXPECTED = {("saliency", "gradient"), ("saliency", "grad_cam"), ("saliency", "occlusion"), ("class_model", None)}
"""Methods and kinds that every network of the sweep supports."""


def describe_jobs(picture: str) -> list[dict[str, Any]]:
    """The bodies of the jobs, without the model; the first one has the scores of all classes."""
    images = {"method": "saliency", "images": [picture]}
    return [
        {**images, "targets": "all", "params": {"kind": "gradient", "outputs": ["raw"]}},
        {**images, "params": {"kind": "grad_cam", "outputs": ["raw"]}},
        {"method": "class_model", "targets": [1], "params": {"steps": 4, "extras": False}},
    ]


def draw(size: tuple[int, int]) -> Any:
    """A picture (H, W, 3) of noise."""
    return np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)


def encode(pixels: Any) -> bytes:
    """The PNG of a picture (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def normalize(release: Release, pixels: Any) -> Tensor:
    """The input (1, 3, H, W) of the plain network for a picture (H, W, 3)."""
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (release.preprocessing.mean, release.preprocessing.std)
    )
    return ((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std)[None]


if __name__ == "__main__":
    sys.exit(main())
