"""Methods compared with a slow, literal version of timm-vis (github.com/novice03/timm-vis).

Its class model is in test_presets.py, its saliency map and Grad-CAM are in engine/attribution/.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn

from archetype.contract.model import Preprocessing
from shared.catalogue.catalogue import load_catalogue
from tests.support.networks import Small, seeded
from tests.support.run_method import noise, work
from worker.models.loader import Loader
from worker.shapes.drawing import draw_image

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.fixture
def network() -> nn.Module:
    return seeded(Small).eval()


def preprocess(picture: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """As its transforms do: to a tensor, normalised, resized."""
    inputs = (torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255 - MEAN) / STD
    return nn.functional.interpolate(inputs[None], size, mode="bilinear", antialias=True, align_corners=False)


def scale(values: NDArray[Any]) -> NDArray[np.uint8]:
    return ((values - values.min()) * (1 / (values.max() - values.min()) * 255)).astype("uint8")


def test_filters_are_one_gray_tile_per_filter_and_input(network: nn.Module) -> None:
    for name, weights in network.named_parameters():
        if name == "features.4.weight":
            merged = weights.reshape(8 * 8, 3, 3).detach().numpy()
    result = work(network, {"method": "filters", "params": {"layer": "features.4", "inputs": "all", "side": 30}})
    assert len(result.metrics["tiles"]) == 64
    tiles = result.arrays("filters.npz")
    for number in range(64):
        assert np.array_equal(tiles[f"{number // 8}:{number % 8}"], merged[number])
    sheet = result.pixels("filters.png")
    for row, column in ((0, 0), (3, 5), (7, 7)):
        left, top = 6 + column * 36, 6 + row * 58  # a gap of 6 around tiles of 30 with 22 for their names
        drawn = sheet[top + 5 : top + 30 : 10, left + 5 : left + 30 : 10, 0].astype(int)
        assert np.abs(drawn - scale(merged[row * 8 + column])).max() <= 1


def test_activations_are_what_a_hook_sees(network: nn.Module) -> None:
    picture = noise(16, 16)
    seen: list[Tensor] = []
    handle = network.features[4].register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    with torch.no_grad():
        network(preprocess(picture, (16, 16)))
    handle.remove()
    params = {"layers": ["features.4"], "channels": "first"}
    result = work(network, {"method": "activations", "params": params}, [picture])
    maps = result.arrays("000000000000-features-4.npz")["maps"]
    assert np.abs(maps - seen[0][0].numpy()).max() < 1e-5


def rank_patches(
    network: nn.Module, picture: NDArray[np.uint8], size: tuple[int, int], square: int, stride: int
) -> Any:
    """The first class, and the change of its probability with each square covered."""
    mean = int(np.mean(picture))
    with torch.no_grad():
        chances = network(preprocess(picture, size))[0].softmax(0)
    first = int(chances.argmax())
    down, across = (int((side - square) / stride + 1) for side in picture.shape[:2])
    changes = []
    for number in range(down * across):
        left, top = stride * (number % across), stride * (number // across)
        copy = Image.fromarray(picture)
        # Its rectangle is a pixel larger than its square, either way; ours is not.
        ImageDraw.Draw(copy).rectangle((left, top, left + square - 1, top + square - 1), fill=(mean, mean, mean))
        with torch.no_grad():
            covered = network(preprocess(np.asarray(copy), size))[0].softmax(0)
        changes.append(float(chances[first] - covered[first]))
    return first, np.array(changes), across


def test_patches_are_ranked_by_the_change_of_the_first_class(network: nn.Module) -> None:
    picture = noise(16, 16, seed=4)
    first, changes, across = rank_patches(network, picture, (16, 16), 5, 2)
    params = {"square": 5, "stride": 2, "count": 3}
    result = work(network, {"method": "patches", "params": params}, [picture])
    (pair,) = result.metrics["pairs"]
    assert (pair["target"]["index"], pair["squares"]) == (first, len(changes))
    ours = result.arrays(f"000000000000-{first:04d}-class-{first}.npz")["fall"]
    assert np.abs(ours - changes).max() < 1e-5
    assert [(patch["left"], patch["top"]) for patch in pair["patches"]] == [
        (2 * (number % across), 2 * (number // across)) for number in np.abs(changes).argsort()[::-1][:3]
    ]


def test_a_larger_image_is_covered_before_it_is_resized() -> None:
    release = load_catalogue(None).find("shapes")
    network = Loader().load(release, torch.device("cpu")).network
    picture = np.asarray(draw_image(4, np.random.default_rng(54)).image.resize((290, 200)))
    shape = Preprocessing(size=(80, 80), mean=MEAN.flatten().tolist(), std=STD.flatten().tolist())
    first, changes, across = rank_patches(network, picture, (80, 80), 60, 20)
    params = {"square": 60, "stride": 20}
    result = work(network, {"method": "patches", "params": params}, [picture], classes=12, preprocessing=shape)
    (pair,) = result.metrics["pairs"]
    ours = result.arrays(f"000000000000-{first:04d}-class-{first}.npz")["fall"]
    assert changes.max() > 0.1
    assert np.abs(ours - changes).max() < 0.05
    assert np.corrcoef(ours, changes)[0, 1] > 0.99
    best = int(np.abs(changes).argmax())
    assert (pair["patches"][0]["left"], pair["patches"][0]["top"]) == (20 * (best % across), 20 * (best // across))


def climb_inputs(inputs: Tensor, loss: Callable[[Tensor], Tensor], rate: float, every: int, steps: int) -> Tensor:
    """Its loop: torch's own SGD and StepLR on the network's inputs."""
    inputs = inputs.clone().requires_grad_()
    optimizer = torch.optim.SGD([inputs], lr=rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, every, gamma=0.6)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(inputs).backward()
        optimizer.step()
        scheduler.step()
    return inputs.detach()


STEPS = {"steps": 7, "schedule": {"kind": "staircase", "every": 3, "factor": 0.6}, "preset": "timm_vis"}


def float_picture(result: Any, name: str) -> Tensor:
    return torch.from_numpy(result.arrays(name)["picture"])


def test_fool_is_sgd_on_the_score_from_the_picture(network: nn.Module) -> None:
    picture = noise(16, 16, seed=2)
    theirs = climb_inputs(preprocess(picture, (16, 16)), lambda inputs: -network(inputs)[0, 3], 2.0, 3, 7)
    params = STEPS | {"learning_rate": 2.0, "min_prob": 0.9999}
    result = work(network, {"method": "fool", "targets": [3], "params": params}, [picture])
    ours = float_picture(result, "000000000000-0003-class-3.npz")
    assert (ours - (theirs[0] * STD + MEAN)).abs().max() < 1e-4


def test_fool_stops_at_the_probability(network: nn.Module) -> None:
    picture = noise(16, 16, seed=2)
    inputs = preprocess(picture, (16, 16)).requires_grad_()
    optimizer, taken = torch.optim.SGD([inputs], lr=20.0), 0
    while float(network(inputs).detach()[0].softmax(0)[3]) <= 0.6 and taken < 400:
        optimizer.zero_grad()
        (-network(inputs)[0, 3]).backward()
        optimizer.step()
        taken += 1
    params = {"preset": "timm_vis", "learning_rate": 20.0, "schedule": None, "min_prob": 0.6, "steps": 400}
    result = work(network, {"method": "fool", "targets": [3], "params": params}, [picture])
    (pair,) = result.metrics["pairs"]
    assert 5 < taken < 400
    assert abs(pair["steps"] - taken) <= 25  # theirs may leave 0..1, and ours is judged as it is saved


def total_variation(inputs: Tensor) -> Tensor:
    across = (inputs[:, :, :, :-1] - inputs[:, :, :, 1:]).abs().sum()
    return across + (inputs[:, :, :-1, :] - inputs[:, :, 1:, :]).abs().sum()


def test_feature_inversion_is_sgd_on_the_squared_distance_and_total_variation(network: nn.Module) -> None:
    picture = noise(16, 16, seed=3)

    def features(inputs: Tensor) -> Tensor:
        return network.features[:5](inputs)

    wanted = features(preprocess(picture, (16, 16))).detach()
    start = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(5))[None]
    theirs = climb_inputs(
        start, lambda inputs: ((wanted - features(inputs)) ** 2).sum() + 0.1 * total_variation(inputs), 0.002, 3, 7
    )
    params = STEPS | {"learning_rate": 0.002, "layers": ["features.4"], "seed": 5}
    result = work(network, {"method": "feature_inversion", "params": params}, [picture])
    ours = float_picture(result, "000000000000-features-4.npz")
    assert (ours - (theirs[0] * STD + MEAN)).abs().max() < 1e-4


def test_deep_dream_is_sgd_on_the_norm(network: nn.Module) -> None:
    picture = noise(16, 16, seed=6)
    theirs = climb_inputs(preprocess(picture, (16, 16)), lambda inputs: -network.features[:5](inputs).norm(), 0.5, 3, 7)
    params = STEPS | {"learning_rate": 0.5, "objective": {"kind": "norm", "layer": "features.4"}}
    result = work(network, {"method": "deep_dream", "params": params}, [picture])
    ours = float_picture(result, "000000000000-features-4.npz")
    assert (ours - (theirs[0] * STD + MEAN)).abs().max() < 1e-4


def test_the_faults_of_timm_vis_are_not_repeated(network: nn.Module) -> None:
    wide = noise(24, 60, channels=1, seed=7)  # boxes swapped on pictures that are not square; grey ones not saved
    grey = Preprocessing(size=(16, 16), mean=[0.5], std=[0.25])
    params = {"square": 12, "stride": 12}
    small = seeded(Small, channels=1).train()  # eval mode forgotten
    result = work(small, {"method": "patches", "params": params}, [wide], preprocessing=grey)
    assert result.metrics["pairs"][0]["squares"] == 2 * 5
    again = work(small, {"method": "patches", "params": params}, [wide], preprocessing=grey)
    assert again.files == result.files
    with pytest.raises(ValueError, match="no layer 'conv9'"):  # unknown layer names silently replaced
        work(network, {"method": "activations", "params": {"layers": ["conv9"]}}, [noise(16, 16)])
