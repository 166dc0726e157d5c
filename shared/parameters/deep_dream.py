"""What a picture is made more of: the parameters of `deep_dream`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.parameters.ascent import AscentParameters, Clip, Optimizer, Rate, Steps, Unit
from shared.parameters.fields import LayerName, NamedLayer, Parameters


class Norm(Parameters):
    """The length of all that a layer gives: whatever it sees, it is to see more of."""

    kind: Literal["norm"]
    layer: LayerName | None = Field(default=None, description="Without it, one four fifths into the network.")


class Channel(Parameters):
    """The mean of one channel of a layer."""

    kind: Literal["channel"]
    layer: LayerName
    channel: int = Field(ge=0)


class ClassScore(Parameters):
    """The score of each of the job's targets."""

    kind: Literal["class"]


Wish = Annotated[Norm | Channel | ClassScore, Field(discriminator="kind")]


class DeepDreamParameters(AscentParameters):
    """What is raised, and on which canvases."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "timm_vis": {
            "steps": 500,
            "optimizer": "sgd",
            "learning_rate": 0.01,
            "schedule": {"kind": "staircase", "every": 100, "factor": 0.6},
            "unit": "std",
            "clip": False,
            "octaves": 1,
            "jitter": 0,
            "side": None,
        },
    }

    objective: Wish = Field(
        default=Norm(kind="norm"), description="What is raised: a layer's norm, a channel, a class."
    )
    steps: Steps = 40
    optimizer: Optimizer = "normalized"
    learning_rate: Rate = 0.006
    unit: Unit = "one"
    clip: Clip = True
    octaves: int = Field(
        default=4,
        ge=1,
        le=8,
        description="Canvases from small to large that share the steps; what the picture lost on a small one is given "
        "back on the next.",
    )
    octave_scale: float = Field(default=1.4, gt=1, le=4, description="How much larger each is than the one before.")
    jitter: int = Field(
        default=16, ge=0, le=512, description="Pixels that the picture is rolled by at most, each step."
    )
    side: Annotated[int, Field(ge=32, le=2048)] | None = Field(
        default=448,
        description="Longest side of the result in pixels; null: what the network was trained on, at its size.",
    )

    def named_layers(self) -> Iterator[NamedLayer]:
        if not isinstance(self.objective, ClassScore) and self.objective.layer is not None:
            channel = getattr(self.objective, "channel", None)
            yield NamedLayer("objective/layer", self.objective.layer, channel, "objective/channel")
