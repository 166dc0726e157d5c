"""The colors of a saliency map: which value is the brightest, in which unit, and whether any value matters."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from archetype.contract.parameters.saliency import Kind, SaliencyParameters
from worker.attribution.evidence import Map, MapEvidence
from worker.engine.heat_map import find_limit
from worker.engine.map_figure import render_map_figure
from worker.engine.render import RGBImage

UNITS: Mapping[Kind, str] = {
    **dict.fromkeys(("gradient", "deconvnet", "guided", "smoothgrad"), "score per unit of input"),
    **dict.fromkeys(("gradient_x_input", "integrated_gradients", "occlusion", "kernel_shap"), "score"),
    **dict.fromkeys(("grad_cam", "layer_cam", "score_cam"), "weighted features"),
    "rise": "probability",
}
"""The unit of the values of each kind. A unit of input is a standard deviation of the preprocessing."""

KINDS_OF_EFFECTS: frozenset[Kind] = frozenset({"occlusion", "kernel_shap", "rise"})
"""Kinds whose values are the effect of a whole part of the image."""

SMALLEST_EFFECT = 1e-3
"""Effects below this do not matter: a difference in probability, or in score relative to the score (at least 1)."""


@dataclass(frozen=True)
class ColorScale:
    """How the values of a map become colors.

    Attributes:
        limit: The value with the brightest color; larger values look the same.
        largest: The largest magnitude in the map.
        unit: Unit of the values.
        has_sign: Whether negative values have colors of their own.
        is_negligible: Whether the map has values, but none that matters.
    """

    limit: float
    largest: float
    unit: str
    has_sign: bool
    is_negligible: bool = False

    def describe(self) -> dict[str, Any]:
        """The scale, for the metrics of the pair."""
        return {"scale": asdict(self)}

    def explain_negligible(self, score: float) -> str:
        """Why the map looks dark, as the end of a sentence; `score` is the score of the class."""
        if self.unit == "probability":
            effect = f"the probability differs by at most {100 * self.largest:.2g} percentage points"
        else:
            effect = f"covering one changes the score, {score:.3g}, by at most {self.largest:.2g}"
        return f"shows no part that matters: {effect}"


def choose_scale(params: SaliencyParameters, evidence: MapEvidence, score: float) -> ColorScale:
    """Chooses the colors of a map.

    The limit is the one of the request, or the 99 % quantile of the magnitudes of this map. The map of an effect is
    not brightened beyond the smallest effect that matters: rounding noise would look like evidence.

    Args:
        params: Parameters of the request.
        evidence: The map (h, w).
        score: The score of the class.
    """
    unit, largest = UNITS[params.kind], float(abs(evidence.drawn).max())
    smallest = _find_smallest(params.kind, score)
    own = max(find_limit(evidence.drawn), smallest) or 1.0  # nothing is drawn in a map of zeros
    return ColorScale(
        limit=own if params.color_limit is None else params.color_limit,
        largest=largest,
        unit=unit,
        has_sign=evidence.reading == "signed",
        is_negligible=0 < largest < smallest,
    )


def _find_smallest(kind: Kind, score: float) -> float:
    """The smallest value of a kind that matters; 0 if its values are not effects."""
    if kind not in KINDS_OF_EFFECTS:
        return 0.0
    return SMALLEST_EFFECT * (1.0 if UNITS[kind] == "probability" else max(1.0, abs(score)))


def draw_map(pixels: RGBImage, values: Map, scale: ColorScale, *, label: str, kind: Kind) -> RGBImage:
    """Draws an image (H, W, 3), its map (H, W) and their overlay as a figure with a color bar."""
    title = f"{label}: {kind.replace('_', ' ')}"
    return render_map_figure(pixels, values, limit=scale.limit, unit=scale.unit, has_sign=scale.has_sign, title=title)
