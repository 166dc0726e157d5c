"""Weakly supervised localisation: from a saliency map to the object's pixels and box, by GraphCut colour segmentation.

Simonyan et al. 2013, arXiv 1312.6034, section 3.2, with the GraphCut of Rother et al. 2004
(doi:10.1145/1015706.1015720) as OpenCV has it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

LEAST = 5
"""Pixels of each kind that a colour model needs: it has five components."""


@dataclass(frozen=True)
class Box:
    """Edges in pixels, the right and lower one exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def scale(self, across: float, down: float) -> "Box":
        """The same box where pixels are so many times smaller."""
        return Box(self.left * across, self.top * down, self.right * across, self.bottom * down)

    def overlap(self, other: "Box") -> float:
        """Intersection over union, 0 to 1."""
        common = Box(
            max(self.left, other.left), max(self.top, other.top),
            min(self.right, other.right), min(self.bottom, other.bottom),
        ).area  # fmt: skip
        union = self.area + other.area - common
        return common / union if union > 0 else 0.0


@dataclass(frozen=True)
class Cut:
    """How a map becomes a mask.

    Attributes:
        foreground: Pixels above this quantile of the map are the object.
        background: Pixels below this one are not.
        probable: Pixels between the two are at first taken for the object above this one.
        blur: Standard deviation in pixels, at a map of 224, of the blur before.
        iterations: Of the GraphCut.
        side: Longest side in pixels at which the picture is segmented; the cost grows with its area.
    """

    foreground: float = 0.95
    background: float = 0.30
    probable: float = 0.70
    blur: float = 3.0
    iterations: int = 2
    side: int = 112


def cut_out(levels: NDArray[np.uint8], values: NDArray[np.float32], cut: Cut) -> Mask:
    """The pixels of the object that a map points at.

    Args:
        levels: The picture (H, W, 3).
        values: Its map (H, W); the larger, the more the score depends on a pixel.

    Returns:
        (H, W); all false where the map has no contrast.
    """
    height, width = values.shape
    scale = min(1.0, cut.side / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    shown = np.asarray(cv2.resize(levels, small, interpolation=cv2.INTER_AREA), np.uint8)
    shrunk = np.asarray(cv2.resize(values, small, interpolation=cv2.INTER_AREA), np.float32)
    found = _segment(shown, _smooth(shrunk, cut.blur * max(small) / 224), cut)
    return cv2.resize(found.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def largest_component(mask: Mask) -> Mask:
    """The largest of the mask's connected parts (H, W)."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return np.asarray(labels == largest)


def tight_box(mask: Mask) -> Box | None:
    """The box around a mask; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _smooth(values: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), deviation) if deviation > 0 else values)


def _segment(levels: NDArray[np.uint8], values: NDArray[np.float32], cut: Cut) -> Mask:
    low, middle, high = (float(np.quantile(values, part)) for part in (cut.background, cut.probable, cut.foreground))
    sure, never = values > high, values <= low
    if not low < high or not sure.any():  # the quantiles coincide: nothing stands out, or only single pixels do
        return values > high
    if min(sure.sum(), never.sum()) < LEAST:
        return values > middle
    labels = np.full(values.shape, cv2.GC_PR_BGD, np.uint8)
    labels[values > middle] = cv2.GC_PR_FGD
    labels[sure], labels[never] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)  # the colour models begin with random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cut_labels, _, _ = cv2.grabCut(levels, labels, (0, 0, 1, 1), *models, cut.iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(np.asarray(cut_labels), (cv2.GC_FGD, cv2.GC_PR_FGD))
