"""The parts that an ascent is put together of: objectives, priors, transforms, schedules."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from shared.parameters.fields import LayerName, Parameters

Channel = Annotated[
    int | None, Field(ge=0, description="Without it each target's own number, for a layer with a channel per class.")
]
Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
PriorWeight = Annotated[float, Field(ge=0, le=1e6)]


class Score(Parameters):
    """The target's score before the softmax (Simonyan et al. 2013)."""

    kind: Literal["score"]
    weight: Weight = 1.0


class Probability(Parameters):
    """The target's probability: it can rise because others fall, and is flat where the network is sure."""

    kind: Literal["probability"]
    weight: Weight = 1.0


class ChannelMean(Parameters):
    """The mean of one channel of a layer."""

    kind: Literal["channel"]
    layer: LayerName
    channel: Channel = None
    weight: Weight = 1.0


class Neuron(Parameters):
    """One unit of one channel of a layer; the middle one unless told."""

    kind: Literal["neuron"]
    layer: LayerName
    channel: Channel = None
    row: int | None = Field(default=None, ge=0)
    column: int | None = Field(default=None, ge=0)
    weight: Weight = 1.0


Objective = Annotated[Score | Probability | ChannelMean | Neuron, Field(discriminator="kind")]


class L1(Parameters):
    """λ Σ|x|."""

    kind: Literal["l1"]
    weight: PriorWeight
    per_pixel: bool = False


class L2(Parameters):
    """λ Σx², the penalty of Simonyan et al. 2013."""

    kind: Literal["l2"]
    weight: PriorWeight
    per_pixel: bool = False


class Lp(Parameters):
    """λ (Σ|x|ᵖ)^(1/p): a large p holds the largest values."""

    kind: Literal["lp"]
    weight: PriorWeight
    p: float = Field(default=6, ge=1, le=20)
    per_pixel: bool = False


class TotalVariation(Parameters):
    """λ Σ(Δ↓² + Δ→²)^(β/2): flat areas, few edges."""

    kind: Literal["total_variation"]
    weight: PriorWeight
    beta: float = Field(default=2, ge=1, le=4)
    per_pixel: bool = False


class Blur(Parameters):
    """The picture is blurred by `radius` pixels every so many steps."""

    kind: Literal["blur"]
    every: int = Field(default=4, ge=1, le=10_000)
    radius: float = Field(default=1, gt=0, le=20, description="Standard deviation in pixels.")


Prior = Annotated[L1 | L2 | Lp | TotalVariation | Blur, Field(discriminator="kind")]


class Window(Parameters):
    """A window onto the picture, of the model's size, placed, magnified and turned at random."""

    kind: Literal["window"]
    scale: tuple[Annotated[float, Field(ge=0.1, le=10)], Annotated[float, Field(ge=0.1, le=10)]] = Field(
        default=(0.4, 2.0), description="Least and most magnification; at 1 a pixel is a pixel."
    )
    resolution: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Its side, as a part of the model's input's: smaller windows take less time. Of models that take "
        "no other size than their own, and where it would be less than 96 pixels, it is 1.",
    )
    rotation: float = Field(default=20, ge=0, le=180, description="Turned by up to so many degrees either way.")

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale goes from the least to the most magnification; given {list(self.scale)}")
        return self


class Box(Parameters):
    """A square box near the middle, enlarged to the model's size, with noise (MACO)."""

    kind: Literal["box"]
    side: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = Field(
        default=(0.25, 0.3), description="Least and most side, as a part of the picture's."
    )
    noise: float = Field(default=0.05, ge=0, le=10, description="In the units of the network's inputs.")


class Pad(Parameters):
    """A border: of one value, or the picture's own reflection."""

    kind: Literal["pad"]
    pixels: int = Field(ge=1, le=512)
    fill: float | None = Field(default=None, ge=0, le=1, description="Without it, the reflection.")


class Jitter(Parameters):
    """All but so many rows and columns, from a random place."""

    kind: Literal["jitter"]
    pixels: int = Field(ge=1, le=512)


class Crop(Parameters):
    """A part of the model's size, from a random place."""

    kind: Literal["crop"]


class Scale(Parameters):
    """Larger or smaller by one of these factors."""

    kind: Literal["scale"]
    factors: list[Annotated[float, Field(ge=0.1, le=10)]] = Field(min_length=1, max_length=100)


class Rotate(Parameters):
    """Turned by one of these angles in degrees."""

    kind: Literal["rotate"]
    degrees: list[Annotated[float, Field(ge=-180, le=180)]] = Field(min_length=1, max_length=400)


Transform = Annotated[Window | Box | Pad | Jitter | Crop | Scale | Rotate, Field(discriminator="kind")]


class Staircase(Parameters):
    """The step size times `factor` after every so many steps."""

    kind: Literal["staircase"]
    every: int = Field(ge=1, le=10_000)
    factor: float = Field(gt=0, le=1)


class Cosine(Parameters):
    """The step size up in a line, then down half a wave to nothing."""

    kind: Literal["cosine"]
    warm_up: int = Field(default=0, ge=0, le=10_000, description="Steps.")


Schedule = Annotated[Staircase | Cosine, Field(discriminator="kind")]


PARTS: dict[str, type[Parameters]] = {
    part.model_fields["kind"].annotation.__args__[0]: part
    for union in (Objective, Prior, Transform, Schedule)
    for part in get_args(get_args(union)[0])
}
"""Every part of a recipe by its kind."""
