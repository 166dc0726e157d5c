"""From a map to a box."""

import numpy as np
import pytest

from worker.engine.bootstrap import mean_with_interval
from worker.engine.localization import Box, Cut, cut_out, largest_component, tight_box


def scene(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray, Box]:
    """A red disc on noisy green, a map that points at part of it, and the disc's box."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - 60) ** 2 + (columns - 100) ** 2 <= 30**2
    levels = np.where(disc[..., None], (200, 40, 40), (40, 160, 60)) + rng.integers(-20, 20, (height, width, 3))
    values = np.exp(-((rows - 55) ** 2 + (columns - 95) ** 2) / 600).astype(np.float32)
    return levels.clip(0, 255).astype(np.uint8), values, Box(70, 30, 131, 91)


@pytest.mark.parametrize("side", [60, 112, 200])
def test_the_object_is_cut_out_whole_where_the_map_shows_a_part(side: int) -> None:
    levels, values, true = scene()
    box = tight_box(largest_component(cut_out(levels, values, Cut(side=side))))
    assert box is not None
    assert box.overlap(true) > 0.85


def test_the_same_map_gives_the_same_object() -> None:
    levels, values, _ = scene()
    masks = [cut_out(levels, values, Cut()) for _ in range(3)]
    assert (masks[0] == masks[1]).all()
    assert (masks[1] == masks[2]).all()


def test_the_largest_part_is_kept() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = mask[10:18, 9:19] = True
    assert tight_box(largest_component(mask)) == Box(9, 10, 19, 18)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((40, 50)), np.full((40, 50), 7.0), np.full((40, 50), np.nan), np.full((40, 50), np.inf),
        np.eye(40, 50), np.pad([[1.0]], ((0, 39), (0, 49))), np.repeat(np.arange(50)[None] > 45, 40, 0),
        np.arange(2000).reshape(40, 50),
    ],
    ids=["none", "constant", "nan", "inf", "diagonal", "one pixel", "two values", "ramp"],
)  # fmt: skip
@pytest.mark.parametrize("picture", ["constant", "noise"])
@pytest.mark.parametrize("blur", [0.0, 3.0])
def test_any_map_of_any_picture_has_a_defined_result(values: np.ndarray, picture: str, blur: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    levels = np.full((40, 50, 3), 128, np.uint8) if picture == "constant" else noise
    mask = largest_component(cut_out(levels, values.astype(np.float32), Cut(blur=blur)))
    assert mask.shape == (40, 50)
    box = tight_box(mask)
    assert (box is None) == (not mask.any())


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_pictures_have_a_defined_result(size: tuple[int, int]) -> None:
    values = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    mask = cut_out(np.zeros((*size, 3), np.uint8), values, Cut())
    assert mask.shape == size


def test_a_map_without_contrast_points_at_nothing() -> None:
    assert not cut_out(scene()[0], np.ones((120, 160), np.float32), Cut()).any()


def test_overlap_is_intersection_over_union() -> None:
    assert Box(0, 0, 4, 4).overlap(Box(2, 0, 6, 4)) == pytest.approx(8 / 24)
    assert Box(0, 0, 4, 4).overlap(Box(4, 0, 8, 4)) == 0
    assert Box(0, 0, 0, 0).overlap(Box(0, 0, 0, 0)) == 0


def test_a_means_interval_is_as_wide_as_theory_says() -> None:
    values = [0.0] * 60 + [1.0] * 40
    found = mean_with_interval(values)
    assert found["mean"] == 0.4
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * (0.4 * 0.6 / 100) ** 0.5, rel=0.1)
    assert mean_with_interval([1.0] * 5) == {"mean": 1.0, "low": 1.0, "high": 1.0}
