"""Parameters that the methods with gradient ascent share: `fool`, `feature_inversion`, `deep_dream`, `class_model`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from archetype.contract.parameters.components import Schedule
from archetype.contract.parameters.types import ImageParameters, Seed

Steps = Annotated[int, Field(ge=1, le=10_000, description="Largest number of optimization steps.")]
Rate = Annotated[float, Field(gt=0, le=1000, description="Step size.")]
Momentum = Annotated[float, Field(ge=0, lt=1, description="Momentum of the optimizer `sgd`; the others ignore it.")]
StepSchedule = Annotated[
    Schedule | None, Field(description="How the step size changes over the steps; if null, it is constant.")
]
Optimizer = Annotated[
    Literal["adam", "nadam", "sgd", "rmsprop", "normalized"],
    Field(
        description="Optimizer that turns gradients into steps. `rmsprop` first scales each gradient to unit length "
        "(as keras-vis does); `normalized` divides the gradient by its mean absolute value."
    ),
]
Unit = Annotated[
    Literal["one", "std"],
    Field(
        description="Unit of the optimized pixel values: `one` is the full range from black to white, `std` is the "
        "standard deviation of the model's preprocessing."
    ),
]
Clip = Annotated[
    bool, Field(description="Whether pixel values are clipped to the valid range after every step, not only on saving.")
]
Extras = Annotated[
    bool | None,
    Field(
        description="Whether to also save each image as floating-point values, an animation of the optimization, and "
        "its curve; if null, only in jobs of up to 32 images."
    ),
]
Frames = Annotated[int, Field(ge=2, le=60, description="Number of frames in the animation.")]


def list_frame_steps(steps: int, count: int) -> list[int]:
    """The steps after which a frame is taken, evenly spread: `count` frames together with the final image."""
    return sorted({round(steps * number / count) for number in range(1, count)} - {0})


class AscentParameters(ImageParameters):
    """Parameters of methods that optimize from or towards an image. Missing values are taken from the preset."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "timm_vis": {}}
    APPLIES: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {"momentum": ("optimizer", ("sgd",))}

    preset: Literal["default", "timm_vis"] = Field(
        default="default",
        description="Named set of default values: `default` is Archetype's own, `timm_vis` reproduces the timm-vis "
        "library.",
    )
    momentum: Momentum = 0.0
    schedule: StepSchedule = None
    seed: Seed = Field(default=0, description="Random seed of the job.")
    extras: Extras = None
    frames: Frames = 24

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return 4 if self.extras is False else 8

    @property
    def passes(self) -> int:
        """Number of optimizations for each pair of image and target."""
        return 1
