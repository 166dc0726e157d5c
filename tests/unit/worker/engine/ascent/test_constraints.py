"""Constraints project images to the nearest allowed ones."""

import torch

from worker.engine.ascent.constraints import L2, LInf, clip, round_to_8_bits, round_toward

ORIGINS = torch.full((2, 1, 2, 2), 0.5)
MOVED = ORIGINS + torch.tensor([[[[0.3, -0.1], [0.0, 0.02]]], [[[0.01, 0.0], [0.0, 0.0]]]])


def test_linf_limits_the_change_of_every_value() -> None:
    projected = LInf(0.1)(MOVED, ORIGINS)
    assert torch.allclose(projected - ORIGINS, (MOVED - ORIGINS).clamp(-0.1, 0.1))


def test_l2_limits_the_length_of_the_change_and_keeps_its_direction() -> None:
    projected = L2(0.1)(MOVED, ORIGINS) - ORIGINS
    assert torch.allclose(projected.flatten(1).norm(dim=1), torch.tensor([0.1, 0.01]), atol=1e-6)
    assert torch.nn.functional.cosine_similarity(projected[0].flatten(), (MOVED - ORIGINS)[0].flatten(), 0) > 0.9999


def test_clipping_keeps_values_between_black_and_white() -> None:
    assert clip(MOVED * 6 - 2.6, ORIGINS).min() == 0
    assert clip(MOVED * 6 - 2.6, ORIGINS).max() == 1


def test_rounding_toward_the_origin_gives_8_bits_and_never_increases_the_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    origins = round_to_8_bits(torch.rand(2, 3, 8, 8, generator=generator))
    images = (origins + 0.1 * torch.randn(2, 3, 8, 8, generator=generator)).clamp(0, 1)
    rounded = round_toward(images, origins)
    assert torch.equal(rounded, round_to_8_bits(rounded))
    assert ((rounded - origins).abs() <= (images - origins).abs() + 1e-5).all()
    torch.testing.assert_close(rounded, images, atol=1 / 255, rtol=0)
