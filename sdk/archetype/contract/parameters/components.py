"""Components of an ascent: objectives, regularizers, transforms and schedules of the step size."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from archetype.contract.parameters.types import LayerName, Parameters

Channel = Annotated[
    int | None,
    Field(
        ge=0,
        description="Index of the channel; if null, the index of each target, for a layer with one channel per class.",
    ),
]
Weight = Annotated[float, Field(ge=-1e6, le=1e6, description="Factor of this term in the objective.")]
RegularizerWeight = Annotated[float, Field(ge=0, le=1e6, description="Factor λ of the penalty.")]
PerPixel = Annotated[
    bool,
    Field(
        description="Whether the penalty is divided by the number of values, so that its weight does not depend on the "
        "image size."
    ),
]


class Score(Parameters):
    """Score of the target class before the softmax (Simonyan et al. 2013)."""

    kind: Literal["score"]
    weight: Weight = 1.0


class Probability(Parameters):
    """Probability of the target class.

    It also rises if the scores of other classes fall, and its gradient vanishes if the network is certain.
    """

    kind: Literal["probability"]
    weight: Weight = 1.0


class ChannelMean(Parameters):
    """Mean activation of a channel of a layer."""

    kind: Literal["channel"]
    layer: LayerName
    channel: Channel = None
    weight: Weight = 1.0


class Neuron(Parameters):
    """Activation at one position of a channel of a layer."""

    kind: Literal["neuron"]
    layer: LayerName
    channel: Channel = None
    row: int | None = Field(default=None, ge=0, description="Row in the feature map; if null, the middle row.")
    column: int | None = Field(default=None, ge=0, description="Column in the feature map; if null, the middle column.")
    weight: Weight = 1.0


Objective = Annotated[Score | Probability | ChannelMean | Neuron, Field(discriminator="kind")]


class L1(Parameters):
    """L1 penalty: λ Σ|x|."""

    kind: Literal["l1"]
    weight: RegularizerWeight
    per_pixel: PerPixel = False


class L2(Parameters):
    """Squared L2 penalty: λ Σx² (Simonyan et al. 2013)."""

    kind: Literal["l2"]
    weight: RegularizerWeight
    per_pixel: PerPixel = False


class Lp(Parameters):
    """Lp penalty: λ (Σ|x|ᵖ)^(1/p); a large p limits mainly the largest values (Mahendran and Vedaldi 2016)."""

    kind: Literal["lp"]
    weight: RegularizerWeight
    p: float = Field(default=6, ge=1, le=20, description="Exponent p of the norm.")
    per_pixel: PerPixel = False


class TotalVariation(Parameters):
    """Total variation: λ Σ(Δ↓² + Δ→²)^(β/2), which favors flat areas with few edges (Mahendran and Vedaldi 2016)."""

    kind: Literal["total_variation"]
    weight: RegularizerWeight
    beta: float = Field(
        default=2, ge=1, le=4, description="Exponent β: 2 spreads an edge over many pixels, 1 keeps it sharp."
    )
    per_pixel: PerPixel = False


class Blur(Parameters):
    """Gaussian blur of the image every few steps."""

    kind: Literal["blur"]
    every: int = Field(default=4, ge=1, le=10_000, description="Number of steps between two blurs.")
    radius: float = Field(default=1, gt=0, le=20, description="Standard deviation of the blur in pixels.")


class FeatureStatistics(Parameters):
    """Squared distance of the features from what batch norms have seen in training (after Yin et al. 2020).

    Mean and standard deviation of each channel are compared, in units of the standard deviation. Networks without batch
    norms are not affected.
    """

    kind: Literal["feature_statistics"]
    weight: RegularizerWeight


Penalty = L1 | L2 | Lp | TotalVariation
"""Regularizers that are norms of the image."""

Regularizer = Annotated[L1 | L2 | Lp | TotalVariation | Blur | FeatureStatistics, Field(discriminator="kind")]


class Window(Parameters):
    """Window onto the image, with random position, magnification and rotation."""

    kind: Literal["window"]
    scale: tuple[Annotated[float, Field(ge=0.1, le=10)], Annotated[float, Field(ge=0.1, le=10)]] = Field(
        default=(0.4, 2.0),
        description="Smallest and largest magnification; at 1, a pixel of the image is a pixel of the window.",
    )
    resolution: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Side length of the window as a fraction of the model's input size; smaller windows are faster. "
        "It is 1 for models that accept only one input size, and if the window would be smaller than 96 pixels.",
    )
    rotation: float = Field(default=20, ge=0, le=180, description="Largest rotation in degrees, in either direction.")

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be [smallest, largest] magnification; given {list(self.scale)}")
        return self


class Box(Parameters):
    """Square box near the center of the image, resized to the model's input size, with added noise (MACO)."""

    kind: Literal["box"]
    side: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = Field(
        default=(0.25, 0.3), description="Smallest and largest side length, as a fraction of the image's."
    )
    noise: float = Field(default=0.05, ge=0, le=10, description="Scale of the added noise, in normalized input units.")


class Pad(Parameters):
    """Border around the image: a constant color or the reflection of the image."""

    kind: Literal["pad"]
    pixels: int = Field(ge=1, le=512, description="Width of the border in pixels.")
    fill: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Gray value of the border from 0 (black) to 1 (white); if null, the image is reflected.",
    )


class Jitter(Parameters):
    """Crop at a random position that removes `pixels` rows and columns, which shifts the image."""

    kind: Literal["jitter"]
    pixels: int = Field(ge=1, le=512, description="Number of rows and of columns to remove.")


class Crop(Parameters):
    """Crop of the model's input size at a random position."""

    kind: Literal["crop"]


class Scale(Parameters):
    """Resizing by a random factor from a list."""

    kind: Literal["scale"]
    factors: list[Annotated[float, Field(ge=0.1, le=10)]] = Field(
        min_length=1, max_length=100, description="Factors to choose from."
    )


class Rotate(Parameters):
    """Rotation by a random angle from a list."""

    kind: Literal["rotate"]
    degrees: list[Annotated[float, Field(ge=-180, le=180)]] = Field(
        min_length=1, max_length=400, description="Angles in degrees to choose from."
    )


Transform = Annotated[Window | Box | Pad | Jitter | Crop | Scale | Rotate, Field(discriminator="kind")]


class Staircase(Parameters):
    """Step size that is multiplied by `factor` every few steps."""

    kind: Literal["staircase"]
    every: int = Field(ge=1, le=10_000, description="Number of steps between two changes of the step size.")
    factor: float = Field(gt=0, le=1, description="Factor of each change.")


class Cosine(Parameters):
    """Step size that rises linearly during the warm-up and then falls to zero along a half cosine wave."""

    kind: Literal["cosine"]
    warm_up: int = Field(default=0, ge=0, le=10_000, description="Number of warm-up steps.")


Schedule = Annotated[Staircase | Cosine, Field(discriminator="kind")]


COMPONENTS: dict[str, type[Parameters]] = {
    component.model_fields["kind"].annotation.__args__[0]: component
    for union in (Objective, Regularizer, Transform, Schedule)
    for component in get_args(get_args(union)[0])
}
"""Every component by its kind."""
