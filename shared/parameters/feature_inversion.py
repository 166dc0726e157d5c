"""How to make a picture from its features: the parameters of `feature_inversion`."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.parameters.ascent import AscentParameters, Optimizer, Rate, Steps
from shared.parameters.fields import SHOWN, Layers, NamedLayer, Parameters, Shown


class AlphaNorm(Parameters):
    """λ Σ|x|^α of the picture about its mean colour: large values cost most (Mahendran and Vedaldi 2015)."""

    weight: float = Field(gt=0, le=1e6)
    alpha: float = Field(default=6, ge=1, le=20)


class FeatureInversionParameters(AscentParameters):
    """What is matched, and what else is asked of the picture."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "timm_vis": {
            "steps": 500,
            "image": "pixels",
            "optimizer": "sgd",
            "learning_rate": 0.001,
            "schedule": {"kind": "staircase", "every": 100, "factor": 0.6},
            "distance": "squared",
            "total_variation": 0.1,
            "start_scale": 1.0,
        },
    }

    layers: Layers = Field(
        default=[], max_length=16, description="Each gives a picture; without any, four from the first to the last."
    )
    steps: Steps = 200
    image: Literal["fourier", "pixels"] = Field(
        default="pixels",
        description="How it is written down: as a spectrum with decorrelated colours, or as the network's inputs.",
    )
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 0.05
    distance: Literal["relative", "squared"] = Field(
        default="relative",
        description="Of the features: squared and summed; `relative` to the same of those that are to be matched.",
    )
    total_variation: float = Field(
        default=1e-6,
        ge=0,
        le=1e6,
        description="λ of Σ|Δ↓| + Σ|Δ→|: of the picture, or with `pixels` of the network's inputs.",
    )
    alpha_norm: AlphaNorm | None = Field(default=None, description="Keeps values small; off unless given.")
    start_scale: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="Standard deviation of the noise to begin with, in units of the parameters.",
    )
    view: Shown = Field(default="crop", description=SHOWN)

    def named_layers(self) -> Iterator[NamedLayer]:
        for position, layer in enumerate(self.layers):
            yield NamedLayer(f"layers/{position}", layer)

    @property
    def passes(self) -> int:
        return len(self.layers) or 4

    @property
    def files(self) -> int:
        return super().files * self.passes
