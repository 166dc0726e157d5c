"""Parameters of the method `class_model`: how a class visualization (class model) is optimized."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from archetype.contract.parameters.ascent import Extras, Frames, Momentum, StepSchedule
from archetype.contract.parameters.components import (
    Blur,
    Box,
    ChannelMean,
    Crop,
    FeatureStatistics,
    Neuron,
    Objective,
    Regularizer,
    Transform,
    Window,
)
from archetype.contract.parameters.presets.class_model import DEFAULT, PRESETS, Preset
from archetype.contract.parameters.types import ImageId, NamedLayer, Parameters, Seed, Side

MAX_COMPONENTS = 16
"""Largest number of objective terms, of transforms and of regularizers."""

MAX_STILLS = 50
PER_SLOT_PARAMETERS = frozenset(
    {
        "preset",
        "steps",
        "learning_rate",
        "schedule",
        "seeds",
        "start",
        "start_scale",
        "start_image",
        "extras",
        "frames",
        "stills_every",
        "judges",
    }
)
"""Parameters that may differ between the slots of a batch, as may the weights of regularizers.

None of them changes the passes through the network.
"""


class ClassModelParameters(Parameters):
    """How class visualizations are optimized. Missing values are taken from the preset."""

    RENAMED: ClassVar[Mapping[str, str]] = {"priors": "regularizers", "look_every": "check_every"}
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    APPLIES: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "momentum": ("optimizer", ("sgd",)),
        **dict.fromkeys(("origin", "unit", "eight_bits"), ("image", ("pixels",))),
        "start_scale": ("start", ("noise", "uniform")),
        "start_image": ("start", ("picture",)),
    }

    preset: Preset = Field(
        default="default",
        description="Named set of default values: `default` is Archetype's own, whose images other networks recognize "
        "best; every other preset reproduces the paper or library that it is named after.",
    )
    steps: int = Field(default=DEFAULT["steps"], ge=1, le=10_000, description="Number of optimization steps.")
    objective: list[Objective] = Field(
        default=DEFAULT["objective"],
        min_length=1,
        max_length=MAX_COMPONENTS,
        description="Terms whose weighted sum is maximized.",
    )
    optimizer: Literal["adam", "nadam", "sgd", "rmsprop"] = Field(
        default=DEFAULT["optimizer"],
        description="Optimizer that turns gradients into steps. `rmsprop` first scales each gradient to unit length "
        "(as keras-vis does).",
    )
    learning_rate: float = Field(
        default=DEFAULT["learning_rate"],
        gt=0,
        le=1000,
        description="Step size. Try 0.05 with `adam`, 1 with `sgd`, 0.1 with the image `bounded`.",
    )
    momentum: Momentum = DEFAULT["momentum"]
    schedule: StepSchedule = DEFAULT["schedule"]
    image: Literal["fourier", "maco", "bounded", "pixels"] = Field(
        default=DEFAULT["image"],
        description="Parameterization of the image: `fourier`, a Fourier spectrum with decorrelated colors; `maco`, "
        "the phases of a Fourier spectrum with the magnitudes of natural images; `bounded`, pixels passed through a "
        "sigmoid, which keeps them between 0 and 1; `pixels`, plain pixel values.",
    )
    origin: Literal["mean", "black"] = Field(
        default=DEFAULT["origin"],
        description="Color that parameters of zero stand for with the image `pixels`: the `mean` color of the model's "
        "preprocessing, or `black`. Regularizers pull the image towards it.",
    )
    unit: Literal["one", "std", "level"] = Field(
        default=DEFAULT["unit"],
        description="Unit of the parameters with the image `pixels`: `one` is the full range from black to white, "
        "`std` the standard deviation of the model's preprocessing (the parameters are then the network's inputs), "
        "`level` one of 255 levels.",
    )
    eight_bits: bool = Field(
        default=DEFAULT["eight_bits"],
        description="Whether the image is rounded to 8 bits after each step; only with the image `pixels`.",
    )
    canvas: tuple[Side, Side] | None = Field(
        default=DEFAULT["canvas"],
        description="Height and width of the optimized image in pixels; if null, the size of the model's input, or an "
        "eighth more if a transform `window` or `crop` is used.",
    )
    octaves: int = Field(
        default=DEFAULT["octaves"],
        ge=1,
        le=8,
        description="Number of image sizes, from small to large, among which the steps are divided.",
    )
    octave_scale: float = Field(
        default=DEFAULT["octave_scale"], gt=1, le=4, description="Ratio of the sizes of successive octaves."
    )
    transforms: list[Transform] = Field(
        default=DEFAULT["transforms"],
        max_length=MAX_COMPONENTS,
        description="Random transformations of the image before each pass through the network, in this order. The "
        "result is resized to the network's input; an empty list passes the image unchanged.",
    )
    views: int = Field(
        default=DEFAULT["views"],
        ge=1,
        le=16,
        description="Number of randomly transformed copies of each image that the network sees per step.",
    )
    relu_leak: float = Field(
        default=DEFAULT["relu_leak"],
        ge=0,
        le=1,
        description="Fraction of the gradient, from 0 to 1, that passes inactive ReLUs. A small value makes images "
        "that other networks recognize too; 0 is the true gradient.",
    )
    pool_spread: float = Field(
        default=DEFAULT["pool_spread"],
        ge=0,
        le=1,
        description="Fraction of the gradient, from 0 to 1, that max pooling distributes evenly over all of its "
        "inputs; 0 is the true gradient.",
    )
    start: Literal["zero", "mean", "noise", "uniform", "picture"] = Field(
        default=DEFAULT["start"],
        description="Initial image: parameters of `zero`, the `mean` color of the model's preprocessing, parameters "
        "drawn from normal `noise`, pixel values drawn from a `uniform` distribution, or the image `start_image` "
        "(`picture`).",
    )
    start_scale: float = Field(
        default=DEFAULT["start_scale"],
        gt=0,
        le=10,
        description="Standard deviation of the start `noise`, in units of the parameters, or width of the start "
        "`uniform`.",
    )
    start_image: ImageId | None = Field(
        default=None, description="Id of the uploaded image for the start `picture`; null for every other start."
    )
    regularizers: list[Regularizer] = Field(
        default=DEFAULT["regularizers"],
        max_length=MAX_COMPONENTS,
        description="Penalties that are subtracted from the objective, and blurs. With the image `fourier` they apply "
        "to the difference from gray, otherwise to the parameters.",
    )
    keep: Literal["last", "best"] = Field(
        default=DEFAULT["keep"],
        description="Which image of the optimization is the result: the `last`, or the `best` by its objective "
        "without transforms.",
    )
    stop_probability: float | None = Field(
        default=DEFAULT["stop_probability"],
        gt=0,
        lt=1,
        description="Probability of the target, from 0 to 1, above which its optimization stops; if null, it does not "
        "stop early.",
    )
    stop_plateau: int | None = Field(
        default=DEFAULT["stop_plateau"],
        ge=1,
        le=10_000,
        description="Number of steps without improvement after which the optimization stops; if null, it does not "
        "stop early.",
    )
    check_every: int = Field(
        default=DEFAULT["check_every"],
        ge=1,
        le=1000,
        description="Number of steps between two evaluations of the images without transforms, which `keep`, "
        "`stop_probability` and `stop_plateau` use.",
    )
    seeds: list[Seed] = Field(
        default=[0],
        min_length=1,
        max_length=16,
        description="Random seeds. Each seed gives one image per target; the results are sorted from best to worst.",
    )
    extras: Extras = None
    frames: Frames = 24
    stills_every: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description=f"Number of steps between saved PNG files of each intermediate image, of which at most "
        f"{MAX_STILLS} are saved; if null, none are saved.",
    )
    judges: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default=[],
        max_length=8,
        description="Models with the same classes that classify the saved images, as `name` or `name@release`.",
    )

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        for fault in (check(self) for check in CHECKS):
            if fault:
                raise ValueError(fault)
        return self

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        for position, term in enumerate(self.objective):
            if isinstance(term, ChannelMean | Neuron):
                place = f"objective/{position}"
                yield NamedLayer(f"{place}/layer", term.layer, term.channel, f"{place}/channel")

    @property
    def shape(self) -> dict[str, Any]:
        """The parameters that two jobs must have in common to share a batch."""
        per_slot: Any = dict.fromkeys(PER_SLOT_PARAMETERS, True) | {"regularizers": {"__all__": {"weight"}}}
        # The number of octaves is limited by the number of steps, and determines the sizes of all octaves.
        return self.model_dump(mode="json", exclude=per_slot) | {"octaves": min(self.octaves, self.steps)}

    @property
    def windowed(self) -> bool:
        """Whether the network sees parts of the image at their own size."""
        return any(isinstance(transform, Window | Crop) for transform in self.transforms)


def _check_single_transform(params: ClassModelParameters) -> str | None:
    if len(params.transforms) > 1 and any(isinstance(transform, Window | Box) for transform in params.transforms):
        return "a window or a box must be the only transform"
    return None


def _check_maco(params: ClassModelParameters) -> str | None:
    if params.image == "maco" and params.regularizers:
        return "image 'maco' has fixed magnitudes and takes no regularizers; give regularizers [] or another image"
    if params.image == "maco" and params.octaves > 1:
        return "image 'maco' has the magnitudes of a single size; give octaves 1 or another image"
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
    if params.stills_every is not None and params.steps // params.stills_every > MAX_STILLS:
        return f"at most {MAX_STILLS} stills are allowed; give stills_every of {-(-params.steps // MAX_STILLS)} or more"
    return None


def _check_blurs(params: ClassModelParameters) -> str | None:
    for kind, name in ((Blur, "blur"), (FeatureStatistics, "regularizer feature_statistics")):
        if sum(isinstance(regularizer, kind) for regularizer in params.regularizers) > 1:
            return f"give at most one {name}"
    return None


CHECKS = (_check_single_transform, _check_maco, _check_eight_bits, _check_start, _check_stills, _check_blurs)
"""Checks of combinations of parameters. Each returns a message if the combination is invalid."""
