"""Activations, from the view of a client."""

import io
from collections.abc import Callable

import httpx2
import numpy as np
import pytest

from archetype.client import Client, ServiceError
from archetype.contract.job import State
from archetype.contract.request import Activations
from deploy.local import Stack
from tests.support.run_method import encode, noise


def test_tokens_are_arranged_on_a_grid(client: Client, described: Callable[[str], None]) -> None:
    described("vit")
    images = [client.upload(encode(noise(64, 64, seed=seed))).id for seed in range(3)]
    params = {"layers": ["blocks.5", "patch_embed.proj", "head"], "channels": [0, 7]}
    request = Activations(method="activations", model="vit", images=images, params=params)
    with pytest.raises(ServiceError, match="'head' of vit@1 has 3 channels"):
        client.submit(request)
    request = Activations(method="activations", model="vit", images=images, params=params | {"channels": [0, 1]})
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    shapes = {name: layer["shape"] for name, layer in job.metrics["pictures"][2]["layers"].items()}
    assert shapes == {"blocks.5": [192, 4, 4], "patch_embed.proj": [192, 4, 4], "head": [3, 1, 1]}


def test_an_unknown_layer_is_refused_with_the_nearest(
    stack: Stack, client: Client, described: Callable[[str], None]
) -> None:
    described("shapes")
    image = client.upload(encode(noise(20, 20))).id
    for method, params in (("activations", {"layers": ["feature.1"]}), ("filters", {"layer": "feature.1"})):
        body = {"method": method, "model": "shapes", "params": params} | (
            {"images": [image]} if method[0] == "a" else {}
        )
        answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert "features.1" in error["allowed"]


def test_a_job_warns_of_values_outside_the_range_of_the_preprocessing(client: Client) -> None:
    values = np.random.default_rng(0).uniform(-0.5, 1.5, (40, 28, 7)).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, values)
    image = client.upload(buffer.getvalue()).id
    job = client.wait(client.submit(Activations(method="activations", model="multispectral", images=[image])).id)
    assert job.state is State.SUCCEEDED, job.error
    (warning,) = job.metrics["warnings"]
    assert "outside 0 to 1" in warning


def test_images_with_the_wrong_number_of_channels_are_refused_at_submission(stack: Stack, client: Client) -> None:
    image = client.upload(encode(noise(20, 20))).id
    body = {"method": "saliency", "model": "multispectral", "images": [image]}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "(height, width, 7)" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "/images/0"
