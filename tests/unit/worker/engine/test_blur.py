"""Gaussian blur against Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from worker.engine.blur import blur


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.3, 5.0])
def test_the_blur_equals_pillows(radius: float) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(levels).filter(ImageFilter.GaussianBlur(radius))).astype(float)
    ours = blur(torch.from_numpy(levels).permute(2, 0, 1)[None].float(), radius)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() < 3.1  # Pillow rounds after each of its six passes
    assert np.abs(ours - theirs).mean() < 0.7


@pytest.mark.parametrize("radius", [1.0, 3.0])
def test_the_blurs_variance_is_the_radius_squared(radius: float) -> None:
    point = torch.zeros(1, 1, 61, 61)
    point[0, 0, 30, 30] = 1
    spread = blur(point, radius)[0, 0].sum(0)
    positions = torch.arange(61) - 30.0
    assert float((spread * positions**2).sum()) == pytest.approx(radius**2, rel=1e-3)
    assert float(spread.sum()) == pytest.approx(1, rel=1e-4)
