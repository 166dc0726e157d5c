"""Every method on every kind of network: of three libraries, with one, three and seven channels."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import METHODS, REQUEST
from tests.support.run_method import encode, noise

MORE = [pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenetv2", "resnet32", "resnet44", "resnet56")]
ARCHIVED = ["squeezenet", "resnet20", *MORE]
OTHERS = ["shapes", "timm_cnn", "vit", "grey", "multispectral"]

SHORT: dict[str, dict[str, Any]] = {
    "class_model": {"targets": [1], "params": {"steps": 3, "frames": 2}},
    "saliency": {},
    "localization": {"targets": [0], "params": {"crops": 1}},
    "patches": {"params": {"count": 2, "stride": 30, "square": 30}},
    "fool": {"targets": [1], "params": {"steps": 3, "frames": 2}},
    "trigger": {"targets": [0, 1, 2], "params": {"steps": 5, "fine_steps": 5, "seeds": [1], "families": ["frame"]}},
    "feature_inversion": {"params": {"steps": 3, "frames": 2}},
    "deep_dream": {"params": {"steps": 4, "octaves": 2, "frames": 2, "side": 96}},
    "activations": {},
    "filters": {"params": {"count": 9}},
}


def test_the_requests_here_cover_every_method() -> None:
    assert set(SHORT) == set(METHODS)


@pytest.mark.parametrize("method", SHORT)
@pytest.mark.parametrize("model", OTHERS)
def test_every_method_works_on_any_network(client: Client, model: str, method: str) -> None:
    run(client, model, method)


@pytest.mark.parametrize("method", SHORT)
@pytest.mark.parametrize("model", ARCHIVED)
def test_every_method_works_on_real_networks(client: Client, models: Path, model: str, method: str) -> None:
    run(client, model, method)


LONG: dict[str, dict[str, Any]] = {
    "fool": {"targets": [1], "params": {"steps": 500, "min_prob": 0.9999}},
    "feature_inversion": {"params": {"layers": ["layer"], "steps": 500}},
    "deep_dream": {"params": {"objective": {"kind": "norm", "layer": "layer"}, "steps": 500}},
    "patches": {"params": {"square": 2, "stride": 1}},
    "trigger": {"params": {"steps": 500}},
}


@pytest.mark.parametrize("method", LONG)
def test_a_long_job_of_any_method_is_cancelled_within_seconds(client: Client, method: str) -> None:
    images = [client.upload(encode(noise(60, 90, seed=3))).id]
    request = REQUEST.validate_python({"method": method, "model": "slow", "images": images, **LONG[method]})
    job_id = client.submit(request).id
    for job in client.watch(job_id, timeout=400):
        if job.state is State.RUNNING:
            break
    time.sleep(2)
    asked = time.monotonic()
    client.cancel(job_id)
    assert client.wait(job_id, timeout=30).state is State.CANCELLED
    assert time.monotonic() - asked < 3


def run(client: Client, model: str, method: str) -> None:
    """A short job ends well, and all that it made can be read."""
    pictures = [noise(60, 90, 7 if model == "multispectral" else 3, seed) for seed in (1, 2)]
    looks = "images" in METHODS[method].model_fields
    images = {"images": [client.upload(encode(levels)).id for levels in pictures]} if looks else {}
    request = REQUEST.validate_python({"method": method, "model": model, **images, **SHORT[method]})
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    assert job.progress.done == job.progress.total > 0
    assert "metrics.json" in {artifact.name for artifact in job.artifacts}
    for artifact in job.artifacts:
        data = client.fetch(artifact)
        if artifact.name.endswith((".npz", ".npy")):
            assert np.load(io.BytesIO(data)) is not None
        elif not artifact.name.endswith(".json"):
            Image.open(io.BytesIO(data)).load()
