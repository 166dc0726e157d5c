"""How to change a picture until it is taken for something else: the parameters of `fool`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.parameters.ascent import AscentParameters, Clip, Optimizer, Rate, Steps, Unit
from shared.parameters.fields import Parameters


class LInf(Parameters):
    """No value of the picture changes by more than `radius`."""

    kind: Literal["linf"]
    radius: float = Field(ge=1 / 255, le=1, description="Of the whole range: a level of 255 is 0.00393.")


class L2(Parameters):
    """The change, all values squared and summed, has at most this root."""

    kind: Literal["l2"]
    radius: float = Field(gt=0, le=1000, description="In units of the whole range.")


Bound = Annotated[LInf | L2, Field(discriminator="kind")]


class FoolParameters(AscentParameters):
    """How the picture is changed, and how far."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "timm_vis": {
            "objective": "score",
            "steps": 500,
            "optimizer": "sgd",
            "learning_rate": 10.0,
            "schedule": {"kind": "staircase", "every": 100, "factor": 0.6},
            "unit": "std",
            "clip": False,
            "look_every": 1,
        },
    }

    objective: Literal["score", "log_probability"] = Field(
        default="log_probability",
        description="What is raised: the target's score, or the logarithm of its probability, which takes less change.",
    )
    steps: Steps = 200
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 0.002
    unit: Unit = "one"
    clip: Clip = True
    min_prob: float = Field(
        default=0.9, gt=0, lt=1, description="A picture that is more probably the target, as saved, has arrived."
    )
    bound: Bound | None = Field(default=None, description="How far a picture may change at most.")
    noise: float = Field(default=0.0, ge=0, le=1, description="Standard deviation of the first noise, of the range.")
    look_every: int = Field(default=1, ge=1, le=1000, description="Steps between two looks at whether it has arrived.")
    amplify: float | None = Field(
        default=None, gt=0, le=255, description="Of the difference that is shown; without it, as much as fits."
    )
