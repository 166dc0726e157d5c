"""How to climb: the parameters of `class_model`."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.parameters.fields import ImageId, NamedLayer, Parameters, Seed, Side
from shared.parameters.parts import Blur, Box, ChannelMean, Crop, Neuron, Objective, Prior, Schedule, Transform, Window
from shared.parameters.presets import DEFAULT, PRESETS, Preset

MOST_PARTS = 16
MOST_STILLS = 50
EACH_SLOTS_OWN = (
    "preset", "steps", "learning_rate", "schedule", "seeds", "start", "start_scale", "start_image", "extras", "frames",
    "stills_every", "judges",
)  # fmt: skip
"""What may differ in a batch, beside the weights of priors: none of it shapes the passes through the network."""


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
    seeds: list[Seed] = Field(
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

    def named_layers(self) -> Iterator[NamedLayer]:
        for position, term in enumerate(self.objective):
            if isinstance(term, ChannelMean | Neuron):
                place = f"objective/{position}"
                yield NamedLayer(f"{place}/layer", term.layer, term.channel, f"{place}/channel")

    @property
    def shape(self) -> dict[str, Any]:
        own: Any = dict.fromkeys(EACH_SLOTS_OWN, True) | {"priors": {"__all__": {"weight"}}}
        # There are no more octaves than steps, and the canvases of all depend on how many there are.
        return self.model_dump(mode="json", exclude=own) | {"octaves": min(self.octaves, self.steps)}

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


CHECKS = (_check_alone, _check_phases, _check_eight_bits, _check_start, _check_stills, _check_blurs)
"""What parameters must be together: each gives a sentence where they are not."""
