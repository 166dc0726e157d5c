"""How far maps are from each other, beside formulas written out."""

import cv2
import numpy as np
import pytest

from shared.parameters.subjects import TrueBox
from worker.audit.attention import compare_maps, overlap_with, share_inside, shift_of_centres, structural_similarity


def make(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((24, 30)).astype(np.float32)


def test_a_map_is_like_itself() -> None:
    assert compare_maps(make(1), make(1)) == pytest.approx(
        {"rank_correlation": 1, "ssim": 1, "top_overlap": 1, "shift": 0}
    )


def test_similarity_is_the_formula_of_the_paper_pixel_by_pixel() -> None:
    ours, theirs = make(3), make(4)
    window = np.outer(*[cv2.getGaussianKernel(13, 1.5)[:, 0]] * 2)
    padded = [np.pad(values.astype(np.float64), 6, mode="reflect") for values in (ours, theirs)]
    found = np.zeros(ours.shape)
    for y, x in np.ndindex(*ours.shape):
        one, other = (values[y : y + 13, x : x + 13] for values in padded)
        mean, mean_of_other = (one * window).sum(), (other * window).sum()
        variance = ((one - mean) ** 2 * window).sum() + ((other - mean_of_other) ** 2 * window).sum()
        covariance = ((one - mean) * (other - mean_of_other) * window).sum()
        up = (2 * mean * mean_of_other + 0.01**2) * (2 * covariance + 0.03**2)
        found[y, x] = up / ((mean**2 + mean_of_other**2 + 0.01**2) * (variance + 0.03**2))
    assert structural_similarity(ours, theirs) == pytest.approx(found.mean(), abs=2e-3)


def test_unlike_maps_are_told_apart() -> None:
    alike = compare_maps(make(1), make(2))
    assert abs(alike["rank_correlation"]) < 0.15
    assert alike["ssim"] < 0.3
    assert alike["top_overlap"] < 0.2


def test_the_centre_moves_as_far_as_the_mass() -> None:
    ours, theirs = np.zeros((2, 30, 40), np.float32)
    ours[5, 5], theirs[5, 15] = 1, 1
    assert shift_of_centres(ours, theirs) == pytest.approx(10 / 50)


def test_what_lies_inside_the_boxes_is_counted_once() -> None:
    values = np.ones((10, 10), np.float32)
    boxes = [TrueBox(left=0, top=0, right=5, bottom=10), TrueBox(left=3, top=0, right=6, bottom=10)]
    assert share_inside(values, boxes) == pytest.approx(0.6)
    assert share_inside(values, []) is None
    assert share_inside(np.zeros((4, 4), np.float32), boxes) is None


def test_a_map_that_shows_the_thing_has_its_box() -> None:
    values = np.zeros((60, 60), np.float32)
    values[20:40, 10:30] = 1
    values[50:52, 50:52] = 0.9  # something small elsewhere
    box = TrueBox(left=10, top=20, right=30, bottom=40)
    assert (overlap_with(values, [TrueBox(left=50, top=0, right=60, bottom=10), box]) or 0) > 0.6
    assert overlap_with(values, [TrueBox(left=40, top=0, right=60, bottom=10)]) == 0
    assert overlap_with(values, []) is None
    assert overlap_with(np.zeros((9, 9), np.float32), [box]) is None
