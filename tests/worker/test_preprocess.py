"""What a network sees of a picture, and the way back into the picture's pixels."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from shared.catalogue import Preprocessing
from shared.errors import UnreadableImage
from tests.tasks import noise
from worker.preprocess import Levels, to_levels
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


def test_grey_and_colour_are_taken_for_one_another_and_nothing_else_is() -> None:
    colour = noise(20, 30)
    grey = Preprocessing(size=(16, 16), mean=[0.5], std=[0.2])
    levels, _ = to_levels(colour, grey)
    assert np.array_equal(levels[..., 0], np.asarray(Image.fromarray(colour).convert("L")))
    assert np.array_equal(to_levels(levels, Preprocessing())[0], np.repeat(levels, 3, 2))
    seven = Preprocessing(mean=[0.5] * 7, std=[0.2] * 7)
    for given, shape in ((colour, seven), (noise(4, 4, 7), Preprocessing()), (noise(4, 4, 2), grey)):
        with pytest.raises(UnreadableImage, match="upload a NumPy array"):
            to_levels(given, shape)


def test_values_are_read_in_the_units_of_the_range_and_what_lies_outside_is_told() -> None:
    shape = Preprocessing(range=(-1000, 3000), mean=[0.0] * 3, std=[1.0] * 3)
    values = np.linspace(-2000, 4000, 3 * 61, dtype=np.float32).reshape(1, 61, 3)
    levels, outside = to_levels(values, shape)
    assert (levels.min(), levels.max()) == (0, 255)
    assert outside == pytest.approx(1 / 3, abs=0.02)
    middle = levels[0, 30, 1]
    assert middle == pytest.approx((1000 + 1000) / 4000 * 255, abs=1)
    assert to_levels(noise(4, 4), shape)[1] == 0  # levels are levels, whatever the range


def test_mean_and_std_are_in_units_of_the_range() -> None:
    caffe = Preprocessing(range=(0, 255), mean=[104, 117, 123], std=[1, 1, 1])
    assert caffe.levels_mean == pytest.approx([104 / 255, 117 / 255, 123 / 255])
    assert caffe.levels_std == pytest.approx([1 / 255] * 3)


def test_a_network_may_be_without_mean_and_std() -> None:
    for given, channels in (({"mean": []}, 3), ({"mean": [], "channels": 5}, 5), ({"mean": [], "std": []}, 3)):
        shape = Preprocessing(**given)
        assert (shape.channels, shape.mean, shape.std) == (channels, [0.0] * channels, [1.0] * channels)
    for wrong in ({"channels": 1}, {"mean": [0.5]}, {"mean": [0.5], "std": [1, 1]}, {"mean": [], "std": [1.0]}):
        with pytest.raises(ValidationError):
            Preprocessing(**wrong)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_pictures_are_resized_as_the_entry_says(kernel: str) -> None:
    picture = noise(40, 40)
    view = open_view(picture, Preprocessing(size=(16, 16), interpolation=kernel))
    theirs = Image.fromarray(picture).resize((16, 16), getattr(Image.Resampling, kernel.upper()))
    assert np.array_equal(view.levels, np.asarray(theirs))
