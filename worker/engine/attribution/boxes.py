"""Bounding boxes and object masks: intersection over union, the largest component, the box around a mask."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""Whether each pixel belongs to the object: (H, W)."""


@dataclass(frozen=True)
class Box:
    """The edges of a bounding box in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Area in square pixels; 0 if the box is empty."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def scale(self, across: float, down: float) -> "Box":
        """Returns the box in an image that is `across` times as wide and `down` times as high."""
        return Box(self.left * across, self.top * down, self.right * across, self.bottom * down)

    def overlap(self, other: "Box") -> float:
        """Computes the intersection over union with another box, 0 to 1."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        common = Box(left, top, right, bottom).area
        union = self.area + other.area - common
        return common / union if union > 0 else 0.0


def largest_component(mask: Mask) -> Mask:
    """Returns the largest connected component of a mask (H, W), as a mask (H, W)."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return np.asarray(labels == largest)


def tight_box(mask: Mask) -> Box | None:
    """Returns the smallest box around a mask (H, W); None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
