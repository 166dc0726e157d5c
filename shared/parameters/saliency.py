"""How to look: the parameters of `saliency`."""

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from shared.parameters.fields import SHOWN, LayerName, LookingParameters, NamedLayer, Seed, Shown

Slope = Literal["gradient", "deconvnet", "guided"]
Kind = Literal[
    "gradient", "deconvnet", "guided", "gradient_x_input", "smoothgrad", "integrated_gradients", "grad_cam",
    "occlusion",
]  # fmt: skip
Output = Literal["heat_map", "overlay", "raw"]
Measure = Literal["deletion", "insertion", "pointing", "randomization"]

SHAPES_MAPS = (
    "kind", "slope", "channels", "crops", "view", "samples", "noise", "seed", "steps", "layer", "square", "stride",
    "fill", "precision",
)  # fmt: skip
"""What two maps have in common that are made in one batch."""

KINDS_WITH_SLOPES = ("gradient_x_input", "smoothgrad", "integrated_gradients")


class SaliencyParameters(LookingParameters):
    """How to look."""

    kind: Kind = Field(
        default="gradient",
        description="What a map shows: the `gradient` of the class score (Simonyan et al. 2013), or what `deconvnet` "
        "and `guided` backpropagation make of it at ReLUs; the gradient times the picture; its mean over noisy copies "
        "(`smoothgrad`) or on the way from the mean colour (`integrated_gradients`); where features are active "
        "(`grad_cam`); how the score falls where the picture is covered (`occlusion`).",
    )  # fmt: skip
    slope: Slope = Field(
        default="gradient", description="What is multiplied or averaged by the three kinds that do so."
    )
    channels: Literal["max", "sum", "signed"] = Field(
        default="max",
        description="From channels to a map: the `max` or the `sum` of the magnitudes, or the sum with its sign.",
    )
    crops: Literal[1, 10] = Field(
        default=1,
        description="10: the mean map of four corners, the centre, and their reflections, as in the paper, of a view "
        "an eighth larger.",
    )
    view: Shown = Field(default="crop", description=SHOWN)
    samples: int = Field(default=24, ge=1, le=500, description="Noisy copies of `smoothgrad`.")
    noise: float = Field(
        default=0.25, gt=0, le=10, description="Standard deviation of its noise, in the network's normalised units."
    )
    seed: Seed = Field(default=0, description="Of its noise.")
    steps: int = Field(default=32, ge=2, le=500, description="Nodes of the path of `integrated_gradients`.")
    layer: LayerName | None = Field(
        default=None, description="Of `grad_cam`; without it, the last one whose features have places."
    )
    square: int = Field(default=32, ge=1, le=1024, description="Side of `occlusion`'s square in the network's pixels.")
    stride: int = Field(default=16, ge=1, le=1024, description="Pixels between two squares.")
    fill: float = Field(default=0.0, ge=-10, le=10, description="Of the square, in normalised units; 0 is the mean.")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="`bfloat16` is faster on some devices; how well its maps agree is in the job's metrics.",
    )
    outputs: list[Output] = Field(
        default=["heat_map", "overlay", "raw"], description="Which files each map is saved as."
    )
    measures: list[Measure] = Field(
        default=[],
        description="What tells a good map from a pretty one: the area under the target's probability while the pixels "
        "that the map ranks highest are deleted (low is good) or inserted (high is good), whether its peak lies in a "
        "true box, and its rank correlation with the map of the network with shuffled weights (near 0 is good).",
    )

    def named_layers(self) -> Iterator[NamedLayer]:
        if self.layer is not None:
            yield NamedLayer("layer", self.layer)

    @property
    def shape(self) -> dict[str, Any] | None:
        return None if self.measures else self.model_dump(mode="json", include=set(SHAPES_MAPS))

    @property
    def files(self) -> int:
        return len(self.outputs)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.slope != "gradient" and self.kind not in KINDS_WITH_SLOPES:
            raise ValueError(f"slope belongs to the kinds {', '.join(KINDS_WITH_SLOPES)}")
        if self.layer is not None and self.kind != "grad_cam":
            raise ValueError("layer belongs to the kind grad_cam")
        if self.stride > self.square:
            raise ValueError("a stride larger than the square leaves pixels that are never covered")
        return self
