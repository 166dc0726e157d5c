"""Explains predictions while a client waits: a saliency job with a deadline, whose maps are the answer."""

import base64
import binascii
import io
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from PIL import Image

from api.dependencies import Services
from api.services.find_job import find_manifest
from api.services.follow_job import wait_for
from api.services.store_uploads import store_image
from api.services.submit_job import submit
from archetype.contract.job import Job, State
from archetype.contract.problem import FieldError, ProblemDocument
from archetype.contract.protocols.explain import EncodedImage, ExplainRequest, ExplainResponse, Explanation, Prediction
from shared.errors import InvalidRequest, StoredProblem, Unavailable
from shared.storage.api_keys import Caller
from shared.storage.documents import Manifest

TAG = "explain"
DIGITS = 6
"""Significant digits of the values of a map."""


def explain(
    model: str, request: ExplainRequest, services: Services, caller: Caller, *, seconds: int
) -> ExplainResponse:
    """Explains the predicted class of each instance.

    Args:
        model: `name` or `name@release`.
        request: The instances, and how to explain them.
        services: The services.
        caller: The caller.
        seconds: Deadline of the job.

    Raises:
        Problem: The request is not accepted, the job fails, or it does not end in time.
    """
    files = [_read(instance, number) for number, instance in enumerate(request.instances)]
    images = [_store(file, caller, services) for file in files]
    job = submit(_make_body(model, images, request), services, caller, idempotency_key=None, seconds=seconds)
    ended = wait_for(job, services, seconds)
    if not ended.state.terminal or ended.state is State.CANCELLED:
        raise Unavailable(
            f"the explanation did not end within {seconds} s; job {job.id} has its state. Ask again, wait longer with "
            "the header Prefer, or submit a saliency job"
        )
    if ended.error is not None:
        raise StoredProblem(ended.error)
    manifest = find_manifest(job.id, caller.tenant, services)
    return _answer(ended, images, manifest, request.parameters.kind, services)


def _store(data: bytes, caller: Caller, services: Services) -> str:
    """Stores an image and returns its id. The decoder, another process, gets it as a file."""
    with TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return store_image(file, caller, services).id


def _make_body(model: str, images: Sequence[str], request: ExplainRequest) -> dict[str, Any]:
    """The request of the job. Equal instances are one image of it."""
    given = request.parameters.model_dump(mode="json", exclude_unset=True)
    return {
        "method": "saliency",
        "model": model,
        "images": list(dict.fromkeys(images)),
        "targets": {"top": 1},
        "params": {**given, "outputs": ["raw"]},
        "tags": [TAG],
    }


def _answer(job: Job, images: Sequence[str], manifest: Manifest, kind: str, services: Services) -> ExplainResponse:
    """Collects the prediction and the map of each instance.

    Raises:
        StoredProblem: An instance has no map, because the network gives NaN for it, for example.
    """
    for failed in job.metrics.get("failed", []):
        raise StoredProblem(ProblemDocument.model_validate(failed["error"]))
    pairs = {pair["image"]: pair for pair in job.metrics["pairs"]}
    maps = {
        artifact.image: _read_map(services.storage.bucket.get(manifest.keys[artifact.name]))
        for artifact in manifest.job.artifacts
        if artifact.name.endswith(".npz") and artifact.image is not None
    }
    return ExplainResponse(
        predictions=[Prediction(**pairs[image]["predicted"]) for image in images],
        explanations=[Explanation(target=pairs[image]["target"], kind=kind, map=maps[image]) for image in images],
        job=job.id,
    )


def _read_map(data: bytes) -> list[list[float]]:
    """The map in the pixels of the view (h, w), rounded."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        view = arrays["view"].astype(float)
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in view.tolist()]


def _read(instance: EncodedImage | list[Any], number: int) -> bytes:
    """The image file of an instance.

    Raises:
        InvalidRequest: It is not base64, or its rows are not pixels.
    """
    try:
        if isinstance(instance, EncodedImage):
            return base64.b64decode(instance.b64, validate=True)
        return _encode(np.asarray(instance, dtype=np.int64))
    except (binascii.Error, ValueError) as error:
        field = FieldError(field=f"/instances/{number}", detail=str(error))
        raise InvalidRequest("an instance is not an image", field) from error


def _encode(pixels: "np.ndarray[Any, np.dtype[np.int64]]") -> bytes:
    """Pixels (H, W) or (H, W, C), 0 to 255, as a PNG file. Raises `ValueError`."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ValueError(f"pixels have the shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {pixels.shape}")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError("the values of pixels are from 0 to 255")
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
