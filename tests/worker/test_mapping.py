"""Requests in the engine's words."""

import pytest
import torch
from torch import Tensor

from shared.parameters.saliency import SaliencyParameters
from tests.attributions import PICTURES, TARGETS, opened
from tests.networks import Small, seeded
from worker.mapping import choose_map


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
def test_when_memory_runs_out_maps_are_made_in_smaller_parts(kind: str, crops: int) -> None:
    params = SaliencyParameters(kind=kind, crops=crops, samples=5, steps=5, square=8, stride=8)
    frames = torch.nn.functional.pad(PICTURES, (2, 1, 1, 2)) if crops == 10 else PICTURES
    maps = []
    for network in (Cramped, Small):
        with opened(seeded(network)) as classifier:
            maps.append(choose_map(classifier, params, 4)(frames, TARGETS))
    torch.testing.assert_close(maps[0], maps[1], atol=1e-6, rtol=1e-4)
