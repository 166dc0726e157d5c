"""How far maps of the same picture are from each other, and how much of one lies where the thing is."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.parameters.subjects import TrueBox
from worker.engine.localization import Box, largest_component, tight_box
from worker.engine.measure import rank_correlation

Map = NDArray[np.float32]
TOP = 0.1
"""The share of the pixels that are a map's top."""

EDGE = 0.15
"""What belongs to the thing, as a share of the highest value."""

WINDOW_DEVIATION = 1.5
STABLE = (0.01, 0.03)
"""Of the window and the constants of SSIM, for values from 0 to 1 (Wang et al. 2004, section III)."""


def compare_maps(ours: Map, theirs: Map) -> dict[str, float]:
    """How alike two maps (h, w) are: 1 and a shift of 0 where they are the same."""
    return {
        "rank_correlation": rank_correlation(ours, theirs),
        "ssim": structural_similarity(_scale(ours), _scale(theirs)),
        "top_overlap": overlap_of_tops(ours, theirs),
        "shift": shift_of_centres(ours, theirs),
    }


def structural_similarity(ours: Map, theirs: Map) -> float:
    """Mean SSIM of maps (h, w) in 0..1, with a Gaussian window (Wang et al. 2004, equation 13)."""

    def smooth(values: Map) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values.astype(np.float64), (0, 0), WINDOW_DEVIATION))

    first, second = smooth(ours), smooth(theirs)
    variances = smooth(ours * ours) - first**2 + smooth(theirs * theirs) - second**2
    together = smooth(ours * theirs) - first * second
    one, two = (constant**2 for constant in STABLE)
    ratio = (2 * first * second + one) * (2 * together + two) / ((first**2 + second**2 + one) * (variances + two))
    return float(ratio.mean())


def overlap_of_tops(ours: Map, theirs: Map) -> float:
    """Intersection over union of the pixels that each map ranks highest."""
    tops = [values >= np.quantile(values, 1 - TOP) for values in (ours, theirs)]
    return float((tops[0] & tops[1]).sum() / max(1, (tops[0] | tops[1]).sum()))


def shift_of_centres(ours: Map, theirs: Map) -> float:
    """Distance of the centres of mass, as a share of the diagonal."""
    first, second = (find_centre(values) for values in (ours, theirs))
    return float(np.linalg.norm(first - second) / np.hypot(*ours.shape))


def find_centre(values: Map) -> NDArray[np.float64]:
    """Row and column of a map's centre of mass; its middle where it is empty."""
    weights = values.astype(np.float64)
    if weights.sum() <= 0:
        return np.array(values.shape) / 2
    rows, columns = np.indices(values.shape)
    total = float(weights.sum())
    return np.array([float((rows * weights).sum()) / total, float((columns * weights).sum()) / total])


def share_inside(values: Map, boxes: Sequence[TrueBox]) -> float | None:
    """How much of a map (H, W) of the picture lies inside its boxes, 0 to 1; None without boxes, or of an empty map."""
    if not boxes or values.sum() <= 0:
        return None
    inside = np.zeros(values.shape, bool)
    for box in boxes:
        inside[round(box.top) : round(box.bottom), round(box.left) : round(box.right)] = True
    return float(values[inside].sum() / values.sum())


def overlap_with(values: Map, boxes: Sequence[TrueBox]) -> float | None:
    """How well the map's box fits one of the true ones, as intersection over union; None without boxes or map.

    The map's box is around the largest connected part of what is above `EDGE` of its (H, W) highest value (Selvaraju
    et al. 2017, arXiv 1610.02391, section 4.1), of the map smoothed by a thirtieth of its side.
    """
    smooth = cv2.GaussianBlur(values.astype(np.float32), (0, 0), max(1.0, min(values.shape) / 30))
    if not boxes or smooth.max() <= 0:
        return None
    found = tight_box(largest_component(np.asarray(smooth >= EDGE * smooth.max())))
    return max(found.overlap(Box(box.left, box.top, box.right, box.bottom)) for box in boxes) if found else None


def _scale(values: Map) -> Map:
    return np.asarray(values / max(float(values.max()), 1e-12), np.float32)
