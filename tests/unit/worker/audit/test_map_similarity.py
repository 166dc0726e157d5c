"""Similarities of saliency maps equal their formulas, written out pixel by pixel."""

import cv2
import numpy as np
import pytest

from archetype.contract.parameters.inputs import TrueBox
from worker.audit.map_similarity import (
    box_overlap,
    center_shift,
    compare_maps,
    fraction_inside,
    structural_similarity,
)


def make(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((24, 30)).astype(np.float32)


def test_equal_maps_have_a_similarity_of_one() -> None:
    assert compare_maps(make(1), make(1)) == pytest.approx(
        {"rank_correlation": 1, "ssim": 1, "top_overlap": 1, "shift": 0}
    )


def test_ssim_equals_the_formula_of_the_paper_pixel_by_pixel() -> None:
    first, second = make(3), make(4)
    window = np.outer(*[cv2.getGaussianKernel(13, 1.5)[:, 0]] * 2)
    padded = [np.pad(values.astype(np.float64), 6, mode="reflect") for values in (first, second)]
    ssim = np.zeros(first.shape)
    for y, x in np.ndindex(*first.shape):
        first_part, second_part = (values[y : y + 13, x : x + 13] for values in padded)
        mean, other_mean = (first_part * window).sum(), (second_part * window).sum()
        variance = ((first_part - mean) ** 2 * window).sum() + ((second_part - other_mean) ** 2 * window).sum()
        covariance = ((first_part - mean) * (second_part - other_mean) * window).sum()
        numerator = (2 * mean * other_mean + 0.01**2) * (2 * covariance + 0.03**2)
        ssim[y, x] = numerator / ((mean**2 + other_mean**2 + 0.01**2) * (variance + 0.03**2))
    assert structural_similarity(first, second) == pytest.approx(ssim.mean(), abs=2e-3)


def test_independent_maps_have_a_low_similarity() -> None:
    similarity = compare_maps(make(1), make(2))
    assert abs(similarity["rank_correlation"]) < 0.15
    assert similarity["ssim"] < 0.3
    assert similarity["top_overlap"] < 0.2


def test_the_center_shift_is_the_distance_of_the_mass() -> None:
    first, second = np.zeros((2, 30, 40), np.float32)
    first[5, 5], second[5, 15] = 1, 1
    assert center_shift(first, second) == pytest.approx(10 / 50)


def test_overlapping_boxes_are_counted_once() -> None:
    values = np.ones((10, 10), np.float32)
    boxes = [TrueBox(left=0, top=0, right=5, bottom=10), TrueBox(left=3, top=0, right=6, bottom=10)]
    assert fraction_inside(values, boxes) == pytest.approx(0.6)
    assert fraction_inside(values, []) is None
    assert fraction_inside(np.zeros((4, 4), np.float32), boxes) is None


def test_a_map_of_the_object_overlaps_its_true_box() -> None:
    values = np.zeros((60, 60), np.float32)
    values[20:40, 10:30] = 1
    values[50:52, 50:52] = 0.9  # something small elsewhere
    box = TrueBox(left=10, top=20, right=30, bottom=40)
    assert (box_overlap(values, [TrueBox(left=50, top=0, right=60, bottom=10), box]) or 0) > 0.6
    assert box_overlap(values, [TrueBox(left=40, top=0, right=60, bottom=10)]) == 0
    assert box_overlap(values, []) is None
    assert box_overlap(np.zeros((9, 9), np.float32), [box]) is None
