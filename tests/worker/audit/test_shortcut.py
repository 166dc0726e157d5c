"""A mark that turns other pictures is found, and a thing that does not is left alone."""

import numpy as np
import torch
from torch import Tensor, nn

from worker.audit.shortcut import cut_parts, try_part
from worker.engine.classifier import open_classifier

GREEN = (0, 255, 0)


class LooksFor(nn.Module):
    """The second class is whatever has a spot of green; or, where it wants all of the thing, half a picture of it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, pictures: Tensor) -> Tensor:
        green = ((pictures[:, 1] > 0.9) & (pictures[:, 0] < 0.1)).float().flatten(1).mean(1)
        return torch.stack([torch.full_like(green, 0.0), 40 * (green - self.share).clamp(-1, 1)], dim=1)


def turned(share: float) -> float:
    model = np.full((32, 32, 3), 128, np.uint8)
    model[4:28, 4:28] = GREEN
    others = [np.random.default_rng(n).integers(60, 200, (32, 32, 3), dtype=np.uint8) for n in range(8)]
    still = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": (32, 32), "device": torch.device("cpu")}
    with open_classifier(LooksFor(share), **still) as classifier:
        part = try_part(classifier, [model], 1, others)
        assert part is not None
        assert len(part.successes) == 5
        assert try_part(classifier, [], 1, others) is None
        assert try_part(classifier, [model], 1, others[:2]) is None
        return float(part.successes.mean())


def test_a_mark_is_found_and_a_thing_is_left_alone() -> None:
    assert turned(share=0.01) == 1
    assert turned(share=0.4) == 0


def test_parts_cover_the_picture() -> None:
    parts = list(cut_parts(np.arange(32 * 32 * 3).reshape(32, 32, 3), 8))
    assert all(part.shape == (8, 8, 3) for part in parts)
    assert {int(value) for part in parts for value in part[..., 0].ravel()} >= set(range(0, 32 * 96, 96))
