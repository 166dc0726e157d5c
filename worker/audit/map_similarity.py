"""Similarity of two saliency maps of the same image, and the part of a map inside true boxes."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from archetype.contract.parameters.inputs import TrueBox
from worker.engine.attribution.boxes import Box, largest_component, tight_box
from worker.engine.attribution.metrics import rank_correlation

Map = NDArray[np.float32]
TOP_FRACTION = 0.1
"""Fraction of the pixels that count as the top of a map."""

OBJECT_THRESHOLD = 0.15
"""Fraction of a map's maximum above which a pixel belongs to the object."""

SSIM_DEVIATION = 1.5
"""Standard deviation of the Gaussian window of SSIM in pixels (Wang et al. 2004, section III)."""

SSIM_CONSTANTS = (0.01, 0.03)
"""Constants K₁ and K₂ of SSIM for values from 0 to 1 (Wang et al. 2004, section III)."""


def compare_maps(first: Map, second: Map) -> dict[str, float]:
    """Similarities of two maps (h, w). For equal maps all are 1, except the shift, which is 0."""
    return {
        "rank_correlation": rank_correlation(first, second),
        "ssim": structural_similarity(_scale(first), _scale(second)),
        "top_overlap": top_overlap(first, second),
        "shift": center_shift(first, second),
    }


def structural_similarity(first: Map, second: Map) -> float:
    """Mean SSIM of two maps (h, w) with values from 0 to 1 (Wang et al. 2004, equation 13)."""

    def smooth(values: Map) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values.astype(np.float64), (0, 0), SSIM_DEVIATION))

    means = smooth(first), smooth(second)
    variances = smooth(first * first) - means[0] ** 2 + smooth(second * second) - means[1] ** 2
    covariance = smooth(first * second) - means[0] * means[1]
    c1, c2 = (constant**2 for constant in SSIM_CONSTANTS)
    numerator = (2 * means[0] * means[1] + c1) * (2 * covariance + c2)
    return float((numerator / ((means[0] ** 2 + means[1] ** 2 + c1) * (variances + c2))).mean())


def top_overlap(first: Map, second: Map) -> float:
    """Intersection over union of the highest-ranked pixels of two maps (h, w)."""
    tops = [values >= np.quantile(values, 1 - TOP_FRACTION) for values in (first, second)]
    return float((tops[0] & tops[1]).sum() / max(1, (tops[0] | tops[1]).sum()))


def center_shift(first: Map, second: Map) -> float:
    """Distance of the centers of mass of two maps (h, w), as a fraction of the diagonal."""
    centers = [find_center(values) for values in (first, second)]
    return float(np.linalg.norm(centers[0] - centers[1]) / np.hypot(*first.shape))


def find_center(values: Map) -> NDArray[np.float64]:
    """Row and column of the center of mass of a map (h, w); the middle of an empty map."""
    weights = values.astype(np.float64)
    if weights.sum() <= 0:
        return np.array(values.shape) / 2
    rows, columns = np.indices(values.shape)
    total = float(weights.sum())
    return np.array([float((rows * weights).sum()) / total, float((columns * weights).sum()) / total])


def fraction_inside(values: Map, boxes: Sequence[TrueBox]) -> float | None:
    """Fraction of a map (H, W) of a whole image inside the boxes; None without boxes or for an empty map."""
    if not boxes or values.sum() <= 0:
        return None
    inside = np.zeros(values.shape, bool)
    for box in boxes:
        inside[round(box.top) : round(box.bottom), round(box.left) : round(box.right)] = True
    return float(values[inside].sum() / values.sum())


def box_overlap(values: Map, boxes: Sequence[TrueBox]) -> float | None:
    """Largest intersection over union of the map's box with a true box; None without boxes or for an empty map.

    The map (H, W) is smoothed with a thirtieth of its shorter side. Its box encloses the largest connected region above
    `OBJECT_THRESHOLD` of the maximum (Selvaraju et al. 2017, arXiv 1610.02391, section 4.1).
    """
    smooth = cv2.GaussianBlur(values.astype(np.float32), (0, 0), max(1.0, min(values.shape) / 30))
    if not boxes or smooth.max() <= 0:
        return None
    map_box = tight_box(largest_component(np.asarray(smooth >= OBJECT_THRESHOLD * smooth.max())))
    if not map_box:
        return None
    return max(map_box.overlap(Box(box.left, box.top, box.right, box.bottom)) for box in boxes)


def _scale(values: Map) -> Map:
    return np.asarray(values / max(float(values.max()), 1e-12), np.float32)
