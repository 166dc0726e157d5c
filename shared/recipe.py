"""How to climb: the parameters of `class_model`, from the whole recipe down to its smallest part."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.presets import DEFAULT, PRESETS, Preset

ImageId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="What `POST /v1/images` answered as `id`.")
]
Side = Annotated[int, Field(ge=8, le=2048)]
LayerName = Annotated[str, Field(min_length=1, max_length=200, description="`GET /v1/models/{name}` lists them.")]
Channel = Annotated[
    int | None, Field(ge=0, description="Without it each target's own number, for a layer with a channel per class.")
]
Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
PriorWeight = Annotated[float, Field(ge=0, le=1e6)]

MOST_PARTS = 16
MOST_STILLS = 50


class Parameters(BaseModel):
    """Parameters of a method: frozen, and nothing that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class ClassModelParameters(Parameters):
    """How to climb. Every parameter that is not given is the preset's."""

    preset: Preset = Field(
        default="default",
        description="`default` is ours, and its pictures are the ones that other networks recognise best; the others "
        "do what the systems do whose names they bear.",
    )
    steps: int = Field(default=DEFAULT["steps"], ge=1, le=10_000, description="Steps of the ascent.")
    objective: list[Objective] = Field(
        default=DEFAULT["objective"], min_length=1, max_length=MOST_PARTS, description="The sum that is maximised."
    )
    optimizer: Literal["adam", "nadam", "sgd", "rmsprop"] = Field(
        default=DEFAULT["optimizer"],
        description="What turns a gradient into a step; `rmsprop` gives every gradient length one first.",
    )
    learning_rate: float = Field(
        default=DEFAULT["learning_rate"],
        gt=0,
        le=1000,
        description="Step size. Try 0.05 with `adam`, 1 with `sgd`, 0.1 with `bounded`.",
    )
    momentum: float = Field(default=DEFAULT["momentum"], ge=0, lt=1, description="Of `sgd`.")
    schedule: Schedule | None = Field(
        default=DEFAULT["schedule"], description="How the step size changes; without it, it stays."
    )
    image: Literal["fourier", "maco", "bounded", "pixels"] = Field(
        default=DEFAULT["image"],
        description="How the picture is written down: as a spectrum with decorrelated colours, as the phases of a "
        "spectrum with natural magnitudes, as pixels through a sigmoid that keeps them inside 0..1, or as pixels.",
    )
    origin: Literal["mean", "black"] = Field(
        default=DEFAULT["origin"],
        description="With `pixels`: what parameters of zero are, so that priors pull to the model's mean or to black.",
    )
    unit: Literal["one", "std", "level"] = Field(
        default=DEFAULT["unit"],
        description="With `pixels`: what a parameter of one is: the whole range, the model's standard deviation (the "
        "parameters are then its inputs), or one of 255 levels.",
    )
    eight_bits: bool = Field(
        default=DEFAULT["eight_bits"], description="With `pixels`: the picture is rounded to 8 bits after each step."
    )
    canvas: tuple[Side, Side] | None = Field(
        default=DEFAULT["canvas"],
        description="Height and width of the picture in pixels; without it, an eighth larger than the model's input "
        "where it is shown windows, else as large.",
    )
    octaves: int = Field(
        default=DEFAULT["octaves"], ge=1, le=8, description="Canvases from small to large that share the steps."
    )
    octave_scale: float = Field(
        default=DEFAULT["octave_scale"], gt=1, le=4, description="How much larger each is than the one before."
    )
    transforms: list[Transform] = Field(
        default=DEFAULT["transforms"],
        max_length=MOST_PARTS,
        description="What is done to the picture before the network sees it, at random at every step, in this order. "
        "What comes out is brought to the network's size; none at all shows the picture as it is.",
    )
    views: int = Field(default=DEFAULT["views"], ge=1, le=16, description="Random views per picture and step.")
    relu_leak: float = Field(
        default=DEFAULT["relu_leak"],
        ge=0,
        le=1,
        description="How much of the gradient passes ReLUs where they are closed. A little makes pictures that other "
        "networks recognise too; 0 is the true gradient.",
    )
    pool_spread: float = Field(
        default=DEFAULT["pool_spread"],
        ge=0,
        le=1,
        description="How much of the gradient max poolings send back to all of their inputs alike; 0 is the true one.",
    )
    start: Literal["zero", "mean", "noise", "uniform", "picture"] = Field(
        default=DEFAULT["start"],
        description="Where the ascent starts: parameters of zero, the model's mean colour, parameters of normal noise, "
        "a picture of even noise, or `start_image`.",
    )
    start_scale: float = Field(
        default=DEFAULT["start_scale"],
        gt=0,
        le=10,
        description="Standard deviation of `noise` in units of the parameters, or width of `uniform`.",
    )
    start_image: ImageId | None = Field(default=None, description="The id of the picture that start `picture` means.")
    priors: list[Prior] = Field(
        default=DEFAULT["priors"],
        max_length=MOST_PARTS,
        description="What is kept small: of the difference to grey with `fourier`, else of the parameters.",
    )
    keep: Literal["last", "best"] = Field(
        default=DEFAULT["keep"], description="Which picture of the ascent is given, judged without transforms."
    )
    stop_probability: float | None = Field(
        default=DEFAULT["stop_probability"], gt=0, lt=1, description="A target that is more probable has arrived."
    )
    stop_plateau: int | None = Field(
        default=DEFAULT["stop_plateau"],
        ge=1,
        le=10_000,
        description="So many steps without a better picture are enough.",
    )
    look_every: int = Field(
        default=DEFAULT["look_every"],
        ge=1,
        le=1000,
        description="Steps between two looks at the pictures without transforms.",
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[0], min_length=1, max_length=16, description="One try per seed and target, the best first."
    )
    extras: bool | None = Field(
        default=None,
        description="Each picture also in floats, as an animation of its ascent, and its curve; without it, in jobs of "
        "up to 32 pictures.",
    )
    frames: int = Field(default=24, ge=2, le=60, description="Of an animation.")
    stills_every: int | None = Field(
        default=None, ge=1, le=10_000, description="A PNG of each picture every so many steps, at most 50 of them."
    )
    judges: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default=[],
        max_length=8,
        description="Models with the same classes that say what they see in the saved pictures.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        name = given.get("preset", "default") if isinstance(given, dict) else None
        return {**PRESETS[name], **given} if isinstance(name, str) and name in PRESETS else given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for wrong in (check(self) for check in CHECKS):
            if wrong:
                raise ValueError(wrong)
        return self

    @property
    def windowed(self) -> bool:
        """Whether the network is shown parts of the picture at their own size."""
        return any(isinstance(part, Window | Crop) for part in self.transforms)


def _check_alone(params: ClassModelParameters) -> str | None:
    if len(params.transforms) > 1 and any(isinstance(part, Window | Box) for part in params.transforms):
        return "a window or box is a whole view: give it as the only transform"
    return None


def _check_phases(params: ClassModelParameters) -> str | None:
    if params.image == "maco" and params.priors:
        return "image 'maco' has fixed magnitudes and takes no priors; give priors [] or another image"
    if params.image == "maco" and params.octaves > 1:
        return "image 'maco' has the magnitudes of one canvas; give octaves 1 or another image"
    return None


def _check_eight_bits(params: ClassModelParameters) -> str | None:
    if params.eight_bits and params.image != "pixels":
        return f"only image 'pixels' can be rounded to 8 bits, not {params.image!r}; give eight_bits false"
    return None


def _check_start(params: ClassModelParameters) -> str | None:
    if (params.start == "picture") != (params.start_image is not None):
        return "start 'picture' and start_image go together; give both or neither"
    return None


def _check_stills(params: ClassModelParameters) -> str | None:
    if params.stills_every is not None and params.steps // params.stills_every > MOST_STILLS:
        return f"at most {MOST_STILLS} stills; give stills_every of {-(-params.steps // MOST_STILLS)} or more"
    return None


def _check_blurs(params: ClassModelParameters) -> str | None:
    if sum(isinstance(prior, Blur) for prior in params.priors) > 1:
        return "give one blur"
    return None


PARTS: dict[str, type[Parameters]] = {
    part.model_fields["kind"].annotation.__args__[0]: part
    for union in (Objective, Prior, Transform, Schedule)
    for part in get_args(get_args(union)[0])
}
"""Every part of a recipe by its kind."""

CHECKS = (_check_alone, _check_phases, _check_eight_bits, _check_start, _check_stills, _check_blurs)
"""What parameters must be together: each gives a sentence where they are not."""
