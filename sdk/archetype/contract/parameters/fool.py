"""Parameters of the method `fool`: how an image is changed into an adversarial example."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from archetype.contract.parameters.ascent import AscentParameters, Clip, Optimizer, Rate, Steps, Unit
from archetype.contract.parameters.types import Parameters


class LInf(Parameters):
    """L∞ constraint: no pixel value changes by more than `radius`."""

    kind: Literal["linf"]
    radius: float = Field(
        ge=1 / 255,
        le=1,
        description="Largest change of a pixel value, as a fraction of the full range; one of 255 levels is 0.00393.",
    )


class L2(Parameters):
    """L2 constraint: the root of the sum of all squared changes is at most `radius`."""

    kind: Literal["l2"]
    radius: float = Field(gt=0, le=1000, description="Largest L2 norm of the change; the full range of a value is 1.")


Constraint = Annotated[LInf | L2, Field(discriminator="kind")]


class FoolParameters(AscentParameters):
    """The objective, the optimizer, and the limits of the change. Missing values are taken from the preset."""

    RENAMED: ClassVar[Mapping[str, str]] = {"bound": "constraint", "look_every": "check_every"}
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "timm_vis": {
            "objective": "score",
            "steps": 500,
            "optimizer": "sgd",
            "learning_rate": 10.0,
            "schedule": {"kind": "staircase", "every": 100, "factor": 0.6},
            "unit": "std",
            "clip": False,
            "check_every": 1,
        },
    }

    objective: Literal["score", "log_probability"] = Field(
        default="log_probability",
        description="Quantity that is maximized: the target's `score`, or the logarithm of its probability "
        "(`log_probability`), which needs a smaller change of the image.",
    )
    steps: Steps = 200
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 0.002
    unit: Unit = "one"
    clip: Clip = True
    min_prob: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Probability of the target, from 0 to 1, above which the optimization of an image stops; measured "
        "on the image as it is saved.",
    )
    constraint: Constraint | None = Field(
        default=None, description="Limit of the change of an image, in the L∞ or L2 norm; if null, there is no limit."
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Standard deviation of the noise that is added to the image before the first step, as a fraction "
        "of the full range.",
    )
    check_every: int = Field(
        default=1, ge=1, le=1000, description="Number of steps between two checks whether `min_prob` is reached."
    )
    amplify: float | None = Field(
        default=None,
        gt=0,
        le=255,
        description="Factor by which the difference image is amplified; if null, the largest factor without clipping.",
    )
