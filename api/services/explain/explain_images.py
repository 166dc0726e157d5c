"""Explains predictions while a client waits: a saliency job with a deadline, whose maps are the answer."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from api.dependencies import Services
from api.services.find_job import find_manifest
from api.services.follow_job import wait_for
from api.services.store_uploads import store_image
from api.services.submit_job import submit
from archetype.contract.job import Job, State, TargetClass
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.problem import ProblemDocument
from archetype.contract.protocols.explain import Prediction
from shared.errors import StoredProblem, Unavailable
from shared.storage.api_keys import Caller
from shared.storage.documents import Manifest

TAG = "explain"
DIGITS = 6
"""Significant digits of the values of a map."""


@dataclass(frozen=True)
class ImageExplanation:
    """What the network predicts for an image, and why.

    Attributes:
        prediction: The predicted class.
        target: The class that is explained.
        map: Its saliency map in the pixels of the view (h, w), rounded.
    """

    prediction: Prediction
    target: TargetClass
    map: list[list[float]]


@dataclass(frozen=True)
class ExplainedImages:
    """The explanations of a request, in its order, and the job that computed them."""

    images: Sequence[ImageExplanation]
    job: Job


def explain_images(
    model: str,
    files: Sequence[bytes],
    parameters: SaliencyParameters,
    services: Services,
    caller: Caller,
    *,
    seconds: int,
) -> ExplainedImages:
    """Explains the predicted class of each image.

    Args:
        model: `name` or `name@release`.
        files: Image files.
        parameters: How to explain.
        services: The services.
        caller: The caller.
        seconds: Deadline of the job.

    Raises:
        Problem: The request is not accepted, the job fails, or it does not end in time.
    """
    images = [_store(file, caller, services) for file in files]
    job = submit(_make_body(model, images, parameters), services, caller, idempotency_key=None, seconds=seconds)
    ended = wait_for(job, services, seconds)
    if not ended.state.terminal or ended.state is State.CANCELLED:
        raise Unavailable(
            f"the explanation did not end within {seconds} s; job {job.id} has its state. Ask again, wait longer with "
            "the header Prefer, or submit a saliency job"
        )
    if ended.error is not None:
        raise StoredProblem(ended.error)
    return ExplainedImages(_collect(ended, images, find_manifest(job.id, caller.tenant, services), services), ended)


def _store(data: bytes, caller: Caller, services: Services) -> str:
    """Stores an image and returns its id. The decoder, another process, gets it as a file."""
    with TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return store_image(file, caller, services).id


def _make_body(model: str, images: Sequence[str], parameters: SaliencyParameters) -> dict[str, Any]:
    """The request of the job. Equal files are one image of it."""
    given = parameters.model_dump(mode="json", exclude_unset=True)
    return {
        "method": "saliency",
        "model": model,
        "images": list(dict.fromkeys(images)),
        "targets": {"top": 1},
        "params": {**given, "outputs": ["raw"]},
        "tags": [TAG],
    }


def _collect(job: Job, images: Sequence[str], manifest: Manifest, services: Services) -> list[ImageExplanation]:
    """Collects the prediction and the map of each image.

    Raises:
        StoredProblem: An image has no map, because the network gives NaN for it, for example.
    """
    for failed in job.metrics.get("failed", []):
        raise StoredProblem(ProblemDocument.model_validate(failed["error"]))
    pairs = {pair["image"]: pair for pair in job.metrics["pairs"]}
    maps = {
        artifact.image: _read_map(services.storage.bucket.get(manifest.keys[artifact.name]))
        for artifact in manifest.job.artifacts
        if artifact.name.endswith(".npz") and artifact.image is not None
    }
    return [
        ImageExplanation(
            Prediction(**pairs[image]["predicted"]), TargetClass.model_validate(pairs[image]["target"]), maps[image]
        )
        for image in images
    ]


def _read_map(data: bytes) -> list[list[float]]:
    """Returns the map in the pixels of the view (h, w), rounded."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        view = arrays["view"].astype(float)
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in view.tolist()]
