"""Bounding boxes and masks."""

import numpy as np
import pytest

from worker.engine.attribution.boxes import Box, largest_component, tight_box


def test_the_largest_component_of_a_mask_is_kept_and_boxed() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = mask[10:18, 9:19] = True
    assert tight_box(largest_component(mask)) == Box(9, 10, 19, 18)


def test_the_overlap_of_boxes_is_intersection_over_union() -> None:
    assert Box(0, 0, 4, 4).overlap(Box(2, 0, 6, 4)) == pytest.approx(8 / 24)
    assert Box(0, 0, 4, 4).overlap(Box(4, 0, 8, 4)) == 0
    assert Box(0, 0, 0, 0).overlap(Box(0, 0, 0, 0)) == 0
