"""Parameters of the method `feature_inversion`: how an image is reconstructed from its features."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from archetype.contract.parameters.ascent import AscentParameters, Optimizer, Rate, Steps
from archetype.contract.parameters.types import VIEW_MODE, Layers, NamedLayer, Parameters, ViewMode


class AlphaNorm(Parameters):
    """Penalty λ Σ|x|^α of large differences from the mean color (Mahendran and Vedaldi 2015)."""

    weight: float = Field(gt=0, le=1e6, description="Factor λ of the penalty.")
    alpha: float = Field(default=6, ge=1, le=20, description="Exponent α.")


class FeatureInversionParameters(AscentParameters):
    """The layers, the distance of the features, and the penalties. Missing values are taken from the preset."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
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
        default=[],
        max_length=16,
        description="Names of the layers; each gives one reconstruction. If empty, four layers spread over the "
        "network's depth.",
    )
    steps: Steps = 200
    image: Literal["fourier", "pixels"] = Field(
        default="pixels",
        description="Parameterization of the image: `fourier`, a Fourier spectrum with decorrelated colors; `pixels`, "
        "the normalized inputs of the network.",
    )
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 0.05
    distance: Literal["relative", "squared"] = Field(
        default="relative",
        description="Distance of the features that is minimized: the sum of squared differences (`squared`), or that "
        "sum divided by the squared norm of the original features (`relative`).",
    )
    total_variation: float = Field(
        default=1e-6,
        ge=0,
        le=1e6,
        description="Factor λ of the total variation penalty Σ|Δ↓| + Σ|Δ→|, of the image, or of the normalized inputs "
        "with the image `pixels`.",
    )
    alpha_norm: AlphaNorm | None = Field(
        default=None, description="Penalty of large values; if null, there is no such penalty."
    )
    start_scale: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="Standard deviation of the noise that the optimization starts from, in units of the parameters.",
    )
    view: ViewMode = Field(default="crop", description=VIEW_MODE)

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        for position, layer in enumerate(self.layers):
            yield NamedLayer(f"layers/{position}", layer)

    @property
    def passes(self) -> int:
        """Number of optimizations for each pair of image and target."""
        return len(self.layers) or 4

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return super().files * self.passes
