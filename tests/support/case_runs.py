"""Runs cases over HTTP: registers each, and submits every job to those that are accepted."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from archetype.client import Client
from archetype.contract.job import Artifact, Job, State
from archetype.contract.registration import NewRelease
from archetype.contract.request import REQUEST
from archetype.errors import ArchetypeError, TimedOut
from shared.media.artifact_names import file_name
from tests.support.case_rows import JOBS, SALIENCY, Case
from tests.support.run_method import encode, noise

DECISION_SECONDS, JOB_SECONDS = 400, 400

START = {"image": "pixels", "start": "uniform", "start_scale": 1.0, "transforms": [], "regularizers": []}
"""Parameters with which even a few steps of an ascent give an image that is not flat."""

Map = NDArray[np.float32]


def draw(case: Case) -> list[NDArray[np.uint8]]:
    """Pictures (H, W, C) of the size of a case's inputs, of different brightness and contrast."""
    height, width = case.size
    pictures = [noise(height, width, case.channels, seed).astype(np.float64) for seed in range(case.pictures)]
    return [(picture / (1 + number / 2)).astype(np.uint8) for number, picture in enumerate(pictures)]


@dataclass
class Run:
    """What the service did with a case.

    Attributes:
        case: The case.
        images: Ids of the pictures.
        refusal: Why the registration was refused; empty if it was accepted.
        model: The model as the API describes it.
        jobs: The jobs that were accepted, by name.
        refusals: Why jobs were refused, by name.
    """

    case: Case
    images: list[str] = field(default_factory=list)
    refusal: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    @cached_property
    def network(self) -> nn.Module:
        """The plain network."""
        return self.case.network()

    @property
    def inputs(self) -> Tensor:
        """The inputs (N, C, H, W) of the plain network."""
        return as_inputs(draw(self.case))

    @property
    def texts(self) -> list[str]:
        """Everything that the service said about what does not work."""
        errors = [job.error.detail for job in self.jobs.values() if job.error is not None]
        return [self.refusal, *self.refusals.values(), *errors, *(str(job.metrics) for job in self.jobs.values())]

    def capability(self, name: str) -> dict[str, Any] | None:
        """What the model says about a job; None if it says nothing."""
        wanted = ("saliency", name) if name in SALIENCY else (name, None)
        found = [entry for entry in self.model["capabilities"] or [] if (entry["method"], entry["kind"]) == wanted]
        return found[0] if found else None

    def succeeded(self, name: str) -> Job:
        """A job, which must have succeeded."""
        assert not self.refusal, f"the registration was refused: {self.refusal}"
        assert name not in self.refusals, f"{name} was refused: {self.refusals[name]}"
        job = self.jobs[name]
        assert job.state is State.SUCCEEDED, f"{name} failed: {job.error.detail if job.error else job.state}"
        return job


def as_inputs(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """The inputs (N, C, H, W) in 0..1 that pictures (H, W, C) become without normalization."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float() / 255


def describe_release(case: Case, upload: str) -> NewRelease:
    """The registration of a case."""
    fields: dict[str, Any] = {
        "name": case.name,
        "architecture": case.architecture,
        "arguments": case.factory if "architecture" not in case.release else {},
        "upload": upload,
        "classes": list(case.classes),
        "preprocessing": {"size": case.size, "mean": [], "channels": case.channels},
    }
    return NewRelease.model_validate(fields | case.release)


def describe_jobs(case: Case, images: list[str]) -> dict[str, dict[str, Any]]:
    """The bodies of the jobs of a case, by name."""
    signed = {"channels": "signed", "outputs": ["raw"]}
    squares = {"square": 16, "stride": 8} if min(case.size) < 64 else {"square": 48, "stride": 48}
    cam = {"layer": case.cam[0]} if case.cam and not case.cam_default else {}
    layers = {"layers": list(case.layers)} if case.layers else {}
    bodies: dict[str, dict[str, Any]] = {
        "gradient": {"targets": "all", "params": signed},
        "guided": {"images": images[:1], "params": signed},
        "integrated_gradients": {"images": images[:2], "params": {**signed, "steps": 4}},
        "grad_cam": {"images": images[:2], "targets": "all", "params": {**cam, "outputs": ["raw"]}},
        "occlusion": {"params": {**squares, "outputs": ["raw", "heat_map"]}},
        "activations": {"params": {**layers, "channels": "first", "outputs": ["raw"]}},
        "patches": {"images": images[:1], "params": {**squares, "outputs": ["raw"]}},
        "fool": {"images": images[:1], "targets": [1], "params": {"steps": 3}},
        "class_model": {"targets": [0, 1], "params": {**START, "steps": 3, "extras": False}},
        "filters": {"params": {"count": 4}},
    }
    for name, body in bodies.items():
        if name in SALIENCY:
            body["params"] = {"kind": name, **body["params"]}
        if name not in ("class_model", "filters"):
            body.setdefault("images", images)
        body |= {"method": "saliency" if name in SALIENCY else name, "model": case.name}
    assert set(bodies) == set(JOBS)
    return bodies


def prepare(client: Client, case: Case, path: Path) -> tuple[Run, str]:
    """Uploads the pictures of a case and, from a path, its weights; returns the run and the id of the weights.

    One case after another: the seeds of torch belong to the process, and rclone refuses one of two equal uploads.
    """
    path.write_bytes(case.weights())
    return Run(case, [client.upload(encode(picture)).id for picture in draw(case)]), client.upload_weights(path)


def start(client: Client, run: Run, upload: str) -> Run:
    """Registers a case and, if it is accepted, submits its jobs."""
    case = run.case
    try:
        client.register(describe_release(case, upload), seconds=DECISION_SECONDS)
    except TimedOut:
        raise
    except ArchetypeError as error:
        run.refusal = str(error)
        return run
    run.model = client.model(case.name)
    for name, body in describe_jobs(case, run.images).items():
        try:
            run.jobs[name] = client.submit(REQUEST.validate_python(body))
        except ArchetypeError as error:
            run.refusals[name] = str(error)
    return run


def run_all(client: Client, cases: list[Case], folder: Path) -> dict[str, Run]:
    """Runs all cases at once; returns the runs by the names of the cases, after all jobs have ended."""
    prepared = [prepare(client, case, folder / f"{case.name}.pth") for case in cases]
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(partial(start, client), *zip(*prepared, strict=True)))
    for run in runs:
        run.jobs = {name: client.wait(job.id, timeout=JOB_SECONDS) for name, job in run.jobs.items()}
    return {run.case.name: run for run in runs}


@dataclass(frozen=True)
class Files:
    """Reads the files of jobs."""

    client: Client

    def arrays(self, artifact: Artifact) -> Any:
        """The arrays of an NPZ file."""
        return np.load(io.BytesIO(self.client.fetch(artifact)))

    def map(self, job: Job, image: str, target: int) -> Map:
        """The raw map (h, w) of a pair, in the view of the network."""
        wanted = [
            artifact
            for artifact in job.artifacts
            if artifact.name.endswith(".npz")
            and artifact.image == image
            and artifact.target is not None
            and artifact.target.index == target
        ]
        found: Map = self.arrays(wanted[0])["view"]
        return found

    def layer(self, job: Job, image: str, name: str) -> Any:
        """The maps and channels of a layer for an image."""
        (artifact,) = [artifact for artifact in job.artifacts if artifact.name == f"{image[:12]}-{file_name(name)}.npz"]
        return self.arrays(artifact)

    def pixels(self, job: Job, target: int) -> NDArray[np.uint8]:
        """The PNG (H, W, C) of a class model."""
        (artifact,) = [
            artifact for artifact in job.artifacts if artifact.target is not None and artifact.target.index == target
        ]
        pixels = np.asarray(Image.open(io.BytesIO(self.client.fetch(artifact))))
        return pixels if pixels.ndim == 3 else pixels[:, :, None]
