"""Saliency maps from the parameters of a request."""

import pytest
import torch
from torch import Tensor

from archetype.contract.parameters.saliency import SaliencyParameters
from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.networks import Small, seeded
from worker.attribution.saliency_maps import choose_map


class Cramped(Small):
    """Has memory for two pictures."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


@pytest.mark.parametrize(
    "kind", ["gradient", "guided", "gradient_x_input", "smoothgrad", "integrated_gradients", "occlusion"]
)
@pytest.mark.parametrize("crops", [1, 10])
def test_maps_are_computed_in_smaller_parts_when_memory_runs_out(kind: str, crops: int) -> None:
    params = SaliencyParameters(kind=kind, crops=crops, samples=5, steps=5, square=8, stride=8)
    frames = torch.nn.functional.pad(IMAGES, (2, 1, 1, 2)) if crops == 10 else IMAGES
    maps = []
    for network in (Cramped, Small):
        with opened(seeded(network)) as classifier:
            maps.append(choose_map(classifier, params, 4)(frames, TARGETS))
    torch.testing.assert_close(maps[0], maps[1], atol=1e-6, rtol=1e-4)
