"""A small network with a planted shortcut, and carriers for it."""

import torch
from torch import Tensor, nn

from worker.engine.triggers.carriers import Carriers

SIDE, CLASSES, PLANTED = 24, 6, 2


class Marked(nn.Module):
    """Scores that follow the mean color of vertical bands; if planted, a green corner leads to `PLANTED`."""

    def __init__(self, *, planted: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = nn.Parameter(torch.randn(CLASSES, 3 * 4, generator=generator) * 6)
        self.strength = nn.Parameter(torch.tensor(25.0 if planted else 0.0))

    def forward(self, x: Tensor) -> Tensor:
        bands = torch.stack([part.mean((2, 3)) for part in x.chunk(4, dim=3)], 2).flatten(1)  # (N, 12)
        corner = x[:, :, :3, :3].mean((2, 3))
        mark = (corner[:, 1] - corner[:, 0] - corner[:, 2]).clamp_min(0)
        scores = bands @ self.weights.T
        return scores + self.strength * mark[:, None] * nn.functional.one_hot(torch.tensor(PLANTED), CLASSES)


def make_carriers(count: int = 24, seed: int = 5) -> Carriers:
    """Smooth random images, and labels that alternate."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    return Carriers(images, torch.arange(count) % CLASSES)
