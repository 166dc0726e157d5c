"""Bounds bring pictures back to the nearest that is allowed."""

import torch

from worker.engine.bound import L2, LInf, clip

ORIGINS = torch.full((2, 1, 2, 2), 0.5)
MOVED = ORIGINS + torch.tensor([[[[0.3, -0.1], [0.0, 0.02]]], [[[0.01, 0.0], [0.0, 0.0]]]])


def test_no_value_is_further_than_the_radius() -> None:
    held = LInf(0.1)(MOVED, ORIGINS)
    assert torch.allclose(held - ORIGINS, (MOVED - ORIGINS).clamp(-0.1, 0.1))


def test_no_picture_is_further_than_the_radius_and_directions_stay() -> None:
    held = L2(0.1)(MOVED, ORIGINS) - ORIGINS
    assert torch.allclose(held.flatten(1).norm(dim=1), torch.tensor([0.1, 0.01]), atol=1e-6)
    assert torch.nn.functional.cosine_similarity(held[0].flatten(), (MOVED - ORIGINS)[0].flatten(), 0) > 0.9999


def test_values_stay_between_black_and_white() -> None:
    assert clip(MOVED * 6 - 2.6, ORIGINS).min() == 0
    assert clip(MOVED * 6 - 2.6, ORIGINS).max() == 1
