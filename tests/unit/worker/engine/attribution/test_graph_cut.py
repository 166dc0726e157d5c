"""Segmentation of the object that a saliency map points at."""

import numpy as np
import pytest

from worker.engine.attribution.boxes import Box, largest_component, tight_box
from worker.engine.attribution.graph_cut import GraphCut, segment_object


def scene(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray, Box]:
    """A red disc on noisy green, a map that points at part of it, and the disc's box."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - 60) ** 2 + (columns - 100) ** 2 <= 30**2
    levels = np.where(disc[..., None], (200, 40, 40), (40, 160, 60)) + rng.integers(-20, 20, (height, width, 3))
    values = np.exp(-((rows - 55) ** 2 + (columns - 95) ** 2) / 600).astype(np.float32)
    return levels.clip(0, 255).astype(np.uint8), values, Box(70, 30, 131, 91)


@pytest.mark.parametrize("side", [60, 112, 200])
def test_graph_cut_segments_the_whole_object_if_the_map_shows_a_part(side: int) -> None:
    levels, values, true = scene()
    box = tight_box(largest_component(segment_object(levels, values, GraphCut(side=side))))
    assert box is not None
    assert box.overlap(true) > 0.85


def test_graph_cut_is_deterministic() -> None:
    levels, values, _ = scene()
    masks = [segment_object(levels, values, GraphCut()) for _ in range(3)]
    assert (masks[0] == masks[1]).all()
    assert (masks[1] == masks[2]).all()


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((40, 50)),
        np.full((40, 50), 7.0),
        np.full((40, 50), np.nan),
        np.full((40, 50), np.inf),
        np.eye(40, 50),
        np.pad([[1.0]], ((0, 39), (0, 49))),
        np.repeat(np.arange(50)[None] > 45, 40, 0),
        np.arange(2000).reshape(40, 50),
    ],
    ids=["none", "constant", "nan", "inf", "diagonal", "one pixel", "two values", "ramp"],
)
@pytest.mark.parametrize("image", ["constant", "noise"])
@pytest.mark.parametrize("blur", [0.0, 3.0])
def test_graph_cut_gives_a_mask_for_any_map_of_any_image(values: np.ndarray, image: str, blur: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    levels = np.full((40, 50, 3), 128, np.uint8) if image == "constant" else noise
    mask = largest_component(segment_object(levels, values.astype(np.float32), GraphCut(blur=blur)))
    assert mask.shape == (40, 50)
    box = tight_box(mask)
    assert (box is None) == (not mask.any())


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_graph_cut_gives_a_mask_for_the_smallest_images(size: tuple[int, int]) -> None:
    values = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    mask = segment_object(np.zeros((*size, 3), np.uint8), values, GraphCut())
    assert mask.shape == size


def test_graph_cut_gives_an_empty_mask_for_a_map_without_contrast() -> None:
    assert not segment_object(scene()[0], np.ones((120, 160), np.float32), GraphCut()).any()
