"""`activations` and `filters`, beyond what timm-vis does."""

import io
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch

from deploy.local import Stack
from shared.client import Client, ServiceError
from shared.errors import InvalidRequest
from shared.jobs import State
from shared.methods import Activations, Filters
from tests.networks import Functional, Small, seeded
from tests.tasks import encode, noise, work
from worker.engine.filters import cut_tiles
from worker.methods.filters import find_filters
from worker.task import file_name


def test_the_strongest_channels_come_first() -> None:
    params = {"layers": ["features.4"], "channels": "strongest", "count": 5}
    result = work(seeded(Small), {"method": "activations", "params": params}, [noise(16, 16)])
    assert result.arrays("000000000000-features-4.npz")["maps"].shape == (5, 4, 4)
    for picture in result.metrics["pictures"]:
        layer = picture["layers"]["features.4"]
        assert layer["means"] == sorted(layer["means"], reverse=True)
        assert len(set(layer["channels"])) == 5


def test_tokens_are_laid_out_as_a_grid(client: Client, described: Callable[[str], None]) -> None:
    described("vit")
    images = [client.upload(encode(noise(64, 64, seed=seed))).id for seed in range(3)]
    params = {"layers": ["blocks.5", "patch_embed.proj", "head"], "channels": [0, 7]}
    request = Activations(method="activations", model="vit", images=images, params=params)
    with pytest.raises(ServiceError, match="'head' of vit@1 has 3 channels"):
        client.submit(request)
    request = Activations(method="activations", model="vit", images=images, params=params | {"channels": [0, 1]})
    job = client.wait(client.submit(request).id, timeout=120)
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


def test_what_is_no_convolution_is_refused_with_one(stack: Stack, described: Callable[[str], None]) -> None:
    described("shapes")
    body = {"method": "filters", "model": "shapes", "params": {"layer": "classifier"}}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "no convolution" in answer.json()["detail"]
    body["params"] = {"filters": [9999], "layer": answer.json()["errors"][0]["allowed"][0]}
    assert httpx2.post(f"{stack.url}/v1/jobs", json=body).json()["errors"][0]["field"] == "/params/filters"


def test_filters_are_those_of_the_file_not_folded(client: Client, models: Path) -> None:
    job = client.wait(client.submit(Filters(method="filters", model="resnet20", params={"count": 3})).id, timeout=60)
    assert job.state is State.SUCCEEDED, job.error
    assert job.metrics["layer"] == "conv1"
    assert job.metrics["shape"] == [16, 3, 3, 3]


def test_three_inputs_are_colours_and_others_the_one_that_weighs_most() -> None:
    weights = torch.randn(4, 3, 5, 5)
    tiles = cut_tiles(weights, [2, 0], inputs="strongest", count=64, seed=0)
    assert [tile.name for tile in tiles] == ["2", "0"]
    assert np.array_equal(tiles[0].weights, weights[2].permute(1, 2, 0).numpy())
    grey = (torch.ones(7, 3, 3) * torch.arange(7)[:, None, None])[None]
    (tile,) = cut_tiles(grey, "first", inputs="strongest", count=9, seed=0)
    assert (tile.input, tile.weights.max()) == (6, 6)


def test_filters_at_random_are_the_seeds() -> None:
    weights = torch.randn(50, 3, 3, 3)
    first, again, other = (cut_tiles(weights, "random", inputs="all", count=20, seed=seed) for seed in (1, 1, 2))
    assert [tile.name for tile in first] == [tile.name for tile in again] != [tile.name for tile in other]
    assert len({tile.name for tile in first}) == 20


def test_a_network_says_which_convolutions_it_has() -> None:
    with pytest.raises(InvalidRequest, match=r"features\.0"):
        find_filters(seeded(Small), "feature.0")
    assert find_filters(seeded(Functional), None)[0] == "first"
    with pytest.raises(InvalidRequest, match="no convolution"):
        find_filters(torch.nn.Linear(2, 2), None)


def test_a_job_warns_of_values_outside_the_range_that_the_network_was_trained_on(client: Client) -> None:
    values = np.random.default_rng(0).uniform(-0.5, 1.5, (40, 28, 7)).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, values)
    image = client.upload(buffer.getvalue()).id
    job = client.wait(client.submit(Activations(method="activations", model="multispectral", images=[image])).id)
    assert job.state is State.SUCCEEDED, job.error
    (warning,) = job.metrics["warnings"]
    assert "outside 0 to 1" in warning


def test_pictures_of_other_channels_are_refused_at_once(stack: Stack, client: Client) -> None:
    image = client.upload(encode(noise(20, 20))).id
    body = {"method": "saliency", "model": "multispectral", "images": [image]}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "(height, width, 7)" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "/images/0"


class Listed(torch.nn.Module):
    """A network with a list that is never called, and a layer that folds places into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList([torch.nn.Conv2d(3, 5, 1)])
        self.folded = torch.nn.Identity()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.parts[0](pictures)
        return features.mean((2, 3)) + 0 * self.folded(features.flatten(0, 1)).sum()


@pytest.mark.parametrize("method", ["activations", "feature_inversion", "deep_dream"])
@pytest.mark.parametrize("layer", ["parts", "folded"])
def test_a_layer_that_gives_no_features_is_refused_by_name(method: str, layer: str) -> None:
    params = {"objective": {"kind": "norm", "layer": layer}} if method == "deep_dream" else {"layers": [layer]}
    with pytest.raises(ValueError, match=f"layer '{layer}'"):
        work(Listed(), {"method": method, "params": params}, [noise(16, 16)])


def test_every_layer_has_a_file_name_of_its_own() -> None:
    names = ["a.b", "a_b", "a-b", "a.b-", "ä", "b" * 100, "b" * 101, "a"]
    assert len({file_name(name) for name in names}) == len(names)
    assert file_name("features.0") == "features-0"
