"""Ascents that become NaN or infinite end alone, with an error for their target; a job of these alone fails with it."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import DeadTarget, NotFinite
from tests.support.cases import PREPROCESSING
from tests.support.run_method import Result, noise, work

GRAY = np.full((32, 32, 3), 128, np.uint8)


class Fragile(nn.Module):
    """Classes left, bright and contrast; every score is NaN for an image brighter than 0.55."""

    def __init__(self, poison: float = torch.nan) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, padding=1)
        self.poison = poison

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean((1, 2, 3))
        left = x[..., :16].mean((1, 2, 3)) - x[..., 16:].mean((1, 2, 3))
        scores = torch.stack([left, bright, self.layer(x).square().mean((1, 2, 3))], 1)
        return torch.where(bright[:, None] > 0.55, self.poison, scores * 10)


def run(method: str, targets: Any, pictures: Any = (), *, network: nn.Module | None = None, **params: Any) -> Result:
    torch.manual_seed(0)
    body = {"method": method, "params": {"learning_rate": 0.2, **params}} | ({"targets": targets} if targets else {})
    return work((network or Fragile()).eval(), body, pictures, classes=3, preprocessing=PREPROCESSING)


def read_strictly(data: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(data, parse_constant=refuse)


PLAIN = {"steps": 24, "image": "pixels", "start": "noise", "transforms": [], "regularizers": [], "optimizer": "adam"}


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_class_model_that_becomes_nan_is_an_error_of_its_target_alone(poison: float) -> None:
    result = run("class_model", [0, 1], network=Fragile(poison), **PLAIN)
    left, bright = result.metrics["targets"]
    assert left["stopped"] == "steps"
    assert bright["error"]["type"] == "/problems/not-finite"
    assert "class 1" in bright["error"]["detail"]
    assert not [name for name in result.files if "0001-class-1" in name]
    alone = run("class_model", [0], network=Fragile(poison), **PLAIN)
    difference = np.abs(result.pixels("0000-class-0.png").astype(int) - alone.pixels("0000-class-0.png"))
    assert difference.max() <= 1


def test_a_job_of_class_models_that_become_nan_fails_with_this_problem() -> None:
    with pytest.raises(NotFinite, match="no image for class 1: the network gives NaN or infinity"):
        run("class_model", [1], **PLAIN)


def test_a_class_model_without_a_gradient_still_fails_for_this_reason() -> None:
    network = Fragile()
    for weight in network.parameters():
        weight.data.zero_()
    with pytest.raises(DeadTarget, match="no gradient"):
        run("class_model", [2], network=network, **PLAIN)


ASCENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "fool": ([0, 1], {"steps": 24, "min_prob": 0.9999, "unit": "one"}),
    "deep_dream": ([0, 1], {"steps": 24, "octaves": 1, "side": 32, "objective": {"kind": "class"}}),
}


@pytest.mark.parametrize("method", ASCENTS)
def test_an_ascent_of_a_picture_that_becomes_nan_is_an_error_of_its_pair_alone(method: str) -> None:
    targets, params = ASCENTS[method]
    result = run(method, targets, [GRAY], **params)
    left, bright = result.metrics["pairs"]
    assert "error" not in left
    assert "NaN or infinity" in bright["error"]
    assert bright["stopped"] == "not_finite"
    assert not [name for name in result.files if "0001-class-1" in name]
    assert read_strictly(result.files["metrics.json"])["pairs"] == result.metrics["pairs"]
    with pytest.raises(NotFinite, match="NaN or infinity"):
        run(method, targets[1:], [GRAY], **params)


def test_a_feature_inversion_that_becomes_nan_fails_the_job_if_there_is_nothing_else() -> None:
    params = {"steps": 10, "layers": ["layer"], "learning_rate": 50}
    with pytest.raises(NotFinite, match="NaN or infinity"):
        run("feature_inversion", None, [noise(32, 32) // 4 * 2], **params)
