"""The evidence in a saliency map: what of it speaks for the class, what against it, and whether there is any."""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from archetype.contract.parameters.saliency import SaliencyParameters

Map = NDArray[np.float32]

CONTRAST = 1e-5
"""Smallest difference between two values of a map that is more than rounding, relative to the largest value."""

CONTRIBUTIONS = ("gradient_x_input", "integrated_gradients")
"""Kinds that split the score among the pixels: with channels `signed`, a negative value speaks against the class."""


Reading = Literal["magnitude", "signed", "offset"]
"""How a map is read: by its magnitude, with negative values against the class, or relative to its smallest value."""


def choose_reading(params: SaliencyParameters) -> Reading:
    """How maps of a kind are read.

    Negative values are evidence against the class for `occlusion` and `kernel_shap`, where the score rises when such a
    pixel is covered, and for contributions to the score. The sign of a gradient says only in which direction a pixel
    would have to change: there, the magnitude counts. `rise` has probabilities everywhere; their differences count.
    """
    if params.kind == "rise":
        return "offset"
    is_signed = params.kind in ("occlusion", "kernel_shap") or (
        params.channels == "signed" and params.kind in CONTRIBUTIONS
    )
    return "signed" if is_signed else "magnitude"


@dataclass(frozen=True)
class MapEvidence:
    """A map and the evidence in it, (h, w) each.

    Attributes:
        values: The map as it was computed.
        positive: The evidence for the class, at least 0: what box, pointing game and metrics use.
        drawn: What pictures show: the evidence for the class, and below 0 the evidence against it.
        reading: How the map is read.
        is_empty: Whether there is no evidence for the class, or the same everywhere, so that no place stands out.
    """

    values: Map
    positive: Map
    drawn: Map
    reading: Reading
    is_empty: bool

    @classmethod
    def of(cls, values: Map, reading: Reading) -> Self:
        """Finds the evidence in a map (h, w) of finite values."""
        has_sign = reading == "signed"
        positive = (
            np.maximum(values, 0) if has_sign else np.abs(values - values.min() if reading == "offset" else values)
        )
        is_empty = bool(np.ptp(positive) <= CONTRAST * positive.max())
        against = np.minimum(values, 0) if has_sign else np.zeros_like(values)
        drawn = against + (0 if is_empty else positive)
        return cls(values, positive, drawn.astype(np.float32), reading, is_empty)

    def describe(self) -> dict[str, Any]:
        """The metrics of the evidence: whether the map is empty, and the two sides of a map with a sign."""
        if self.reading != "signed":
            return {"empty": self.is_empty}
        sides = {"positive": self.positive, "negative": np.maximum(-self.values, 0)}
        return {"empty": self.is_empty, "evidence": describe_sides(sides)}

    def explain_empty(self) -> str:
        """Why the map is empty, as the end of a sentence."""
        if self.positive.max() > 0:
            return "it has the same value everywhere"
        return "it has no positive values" if self.values.min() < 0 else "it is zero everywhere"


def describe_sides(sides: dict[str, Map]) -> dict[str, dict[str, float]]:
    """The largest value of each side of a map (h, w), and its share of the sum of all magnitudes."""
    total = sum(float(values.sum(dtype=np.float64)) for values in sides.values())
    return {
        name: {
            "largest": float(values.max()),
            "share": float(values.sum(dtype=np.float64)) / total if total else 0.0,
        }
        for name, values in sides.items()
    }
