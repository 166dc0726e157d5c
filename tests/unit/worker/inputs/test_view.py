"""Views of images: the part that a network sees, and the way back to the pixels of the image."""

import numpy as np
import pytest
from PIL import Image

from archetype.contract.model import Preprocessing
from tests.support.run_method import noise
from worker.inputs.preprocess import Levels
from worker.inputs.view import apply_view_mode, crop_levels, open_view

SHAPES = [
    Preprocessing(size=(32, 32)),
    Preprocessing(size=(32, 32), resize=40),
    Preprocessing(size=(24, 40)),
    Preprocessing(size=(32, 32), fit="stretch"),
    Preprocessing(size=(32, 32), fit="stretch_crop", resize=40),
]
SIZES = [(60, 100), (100, 60), (32, 32), (17, 300)]


def image_with_square(size: tuple[int, int]) -> Levels:
    """A black image with a white square above and left of the center, a third of the shorter side long."""
    height, width = size
    levels = np.zeros((height, width, 3), np.uint8)
    side = max(2, min(size) // 3)
    top, left = height // 2 - side, width // 2 - side
    levels[top : top + side, left : left + side] = 255
    return levels


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_map_of_a_view_is_placed_on_the_pixels_that_the_network_saw(
    size: tuple[int, int], shape: Preprocessing
) -> None:
    image = image_with_square(size)
    view = open_view(image, shape)
    placed = view.place_map(view.levels[..., 0].astype(np.float32) / 255)
    assert placed.shape == size
    original = np.asarray(image)[..., 0] / 255
    left, top, right, bottom = view.area
    inside = np.zeros(size, bool)
    inside[int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)] = True
    assert not placed[~inside].any() or np.abs(placed[~inside]).max() <= 1
    assert np.abs(placed - original)[inside].mean() < 0.12  # the loss of the smaller resolution
    rows, columns = np.mgrid[: size[0], : size[1]]
    for axis in (rows, columns):  # the center of mass is exact to half a pixel of the lower resolution
        coarse = max((bottom - top) / shape.size[0], (right - left) / shape.size[1], 1.0)
        ours, theirs = ((axis * each * inside).sum() / (each * inside).sum() for each in (placed, original))
        assert abs(ours - theirs) <= 0.5 * coarse


@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_of_a_view_is_placed_on_the_pixels_that_the_network_saw(shape: Preprocessing) -> None:
    view = open_view(image_with_square((60, 100)), shape)
    height, width = shape.size
    assert view.place_box((0, 0, width, height)) == pytest.approx(view.area)
    left, top, right, bottom = view.area
    assert view.place_box((width / 2, 0, width, height / 4)) == pytest.approx(
        ((left + right) / 2, top, right, top + (bottom - top) / 4)
    )


def test_a_placed_map_is_zero_outside_the_view() -> None:
    view = open_view(np.zeros((50, 100, 3), np.uint8), Preprocessing(size=(32, 32)))
    placed = view.place_map(np.ones((32, 32), np.float32))
    assert view.area == (25, 0, 75, 50)
    assert placed[:, 25:75].min() == 1
    assert placed[:, :25].max() == placed[:, 75:].max() == 0


def test_a_map_can_be_placed_at_the_size_of_a_preview() -> None:
    view = open_view(np.zeros((500, 1000, 3), np.uint8), Preprocessing(size=(32, 32)))
    assert view.place_map(np.ones((32, 32), np.float32), (50, 100)).sum() == 50 * 50


def test_a_view_is_the_center_of_the_image_at_the_input_size() -> None:
    wide = np.tile(np.arange(200, dtype=np.uint8)[:, None], (100, 1, 3))
    view = crop_levels(wide, Preprocessing(size=(50, 50)))
    assert view.shape == (50, 50, 3)
    assert abs(int(view[25, 0, 0]) - 50) <= 2
    assert abs(int(view[25, -1, 0]) - 149) <= 2
    assert crop_levels(wide, Preprocessing(size=(50, 50), fit="stretch"))[25, 0, 0] < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5)])
def test_an_image_of_any_shape_has_a_view(size: tuple[int, int]) -> None:
    assert crop_levels(np.zeros((size[1], size[0], 3), np.uint8), Preprocessing(size=(32, 48), resize=64)).shape == (
        32,
        48,
        3,
    )


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_images_are_resized_with_the_interpolation_of_the_preprocessing(kernel: str) -> None:
    image = noise(40, 40)
    view = open_view(image, Preprocessing(size=(16, 16), interpolation=kernel))
    expected = Image.fromarray(image).resize((16, 16), getattr(Image.Resampling, kernel.upper()))
    assert np.array_equal(view.levels, np.asarray(expected))


def test_the_view_mode_whole_shows_all_of_the_image() -> None:
    trained = Preprocessing(size=(32, 32), resize=40)
    image = noise(60, 100)
    assert open_view(image, apply_view_mode(trained, "crop")).area == open_view(image, trained).area
    assert open_view(image, apply_view_mode(trained, "whole")).area == (0, 0, 100, 60)
