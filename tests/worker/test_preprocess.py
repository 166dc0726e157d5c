"""What a network sees of a picture, and the way back into the picture's pixels."""

import numpy as np
import pytest

from shared.catalogue import Preprocessing
from worker.preprocess import Levels
from worker.view import open_view

SHAPES = [
    Preprocessing(size=(32, 32)),
    Preprocessing(size=(32, 32), resize=40),
    Preprocessing(size=(24, 40)),
    Preprocessing(size=(32, 32), fit="stretch"),
]
SIZES = [(60, 100), (100, 60), (32, 32), (17, 300)]


def picture_with_square(size: tuple[int, int]) -> Levels:
    """Black, but for a white square up and left of the middle, a third of the shorter side."""
    height, width = size
    levels = np.zeros((height, width, 3), np.uint8)
    side = max(2, min(size) // 3)
    top, left = height // 2 - side, width // 2 - side
    levels[top : top + side, left : left + side] = 255
    return levels


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_map_lands_on_the_pixels_that_it_came_from(size: tuple[int, int], shape: Preprocessing) -> None:
    picture = picture_with_square(size)
    view = open_view(picture, shape)
    placed = view.place_map(view.levels[..., 0].astype(np.float32) / 255)
    assert placed.shape == size
    original = np.asarray(picture)[..., 0] / 255
    left, top, right, bottom = view.area
    inside = np.zeros(size, bool)
    inside[int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)] = True
    assert not placed[~inside].any() or np.abs(placed[~inside]).max() <= 1
    assert np.abs(placed - original)[inside].mean() < 0.12  # what is lost by making it smaller
    rows, columns = np.mgrid[: size[0], : size[1]]
    for axis in (rows, columns):  # the middle stays where it was, to half a pixel of the coarser of the two
        coarse = max((bottom - top) / shape.size[0], (right - left) / shape.size[1], 1.0)
        ours, theirs = ((axis * each * inside).sum() / (each * inside).sum() for each in (placed, original))
        assert abs(ours - theirs) <= 0.5 * coarse


@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_of_the_view_lands_on_the_pixels_that_it_came_from(shape: Preprocessing) -> None:
    view = open_view(picture_with_square((60, 100)), shape)
    height, width = shape.size
    assert view.place_box((0, 0, width, height)) == pytest.approx(view.area)
    left, top, right, bottom = view.area
    assert view.place_box((width / 2, 0, width, height / 4)) == pytest.approx(
        ((left + right) / 2, top, right, top + (bottom - top) / 4)
    )


def test_what_the_network_was_not_shown_is_zero() -> None:
    view = open_view(np.zeros((50, 100, 3), np.uint8), Preprocessing(size=(32, 32)))
    placed = view.place_map(np.ones((32, 32), np.float32))
    assert view.area == (25, 0, 75, 50)
    assert placed[:, 25:75].min() == 1
    assert placed[:, :25].max() == placed[:, 75:].max() == 0


def test_a_preview_has_its_map_at_its_own_size() -> None:
    view = open_view(np.zeros((500, 1000, 3), np.uint8), Preprocessing(size=(32, 32)))
    assert view.place_map(np.ones((32, 32), np.float32), (50, 100)).sum() == 50 * 50
