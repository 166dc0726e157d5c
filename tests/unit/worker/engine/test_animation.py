"""Animations as GIF and WebP."""

import io

import numpy as np
import pytest
from PIL import Image

from worker.engine.animation import encode_animation


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_has_every_frame_and_loops(kind: str) -> None:
    frames = [np.full((20, 30, 3), level, np.uint8) for level in (0, 90, 180, 255)]
    with Image.open(io.BytesIO(encode_animation(frames, kind))) as animation:
        assert (animation.format, animation.n_frames, animation.size) == (kind, 4, (30, 20))
        assert animation.info["loop"] == 0
        animation.seek(3)
        assert np.asarray(animation.convert("RGB")).mean() > 250
