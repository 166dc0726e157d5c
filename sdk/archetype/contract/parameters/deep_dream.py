"""Parameters of the method `deep_dream`: what is amplified in an image, and at which sizes."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from archetype.contract.parameters.ascent import AscentParameters, Clip, Optimizer, Rate, Steps, Unit
from archetype.contract.parameters.types import LayerName, NamedLayer, Parameters


class Norm(Parameters):
    """Norm of all activations of a layer, which amplifies every feature that the layer detects."""

    kind: Literal["norm"]
    layer: LayerName | None = Field(
        default=None,
        description="Name of the layer; if null, the layer at four fifths of the network's depth.",
    )


class Channel(Parameters):
    """Mean activation of a channel of a layer."""

    kind: Literal["channel"]
    layer: LayerName
    channel: int = Field(ge=0, description="Index of the channel.")


class ClassScore(Parameters):
    """Score of each target of the job."""

    kind: Literal["class"]


Objective = Annotated[Norm | Channel | ClassScore, Field(discriminator="kind")]


class DeepDreamParameters(AscentParameters):
    """The objective, the optimizer, and the octaves. Missing values are taken from the preset."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
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

    objective: Objective = Field(
        default=Norm(kind="norm"),
        description="Quantity that is maximized: the `norm` of a layer, a `channel`, or the score of a `class`.",
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
        description="Number of image sizes, from small to large, among which the steps are divided. The detail that "
        "the image loses at a small size is restored at the next size.",
    )
    octave_scale: float = Field(default=1.4, gt=1, le=4, description="Ratio of the sizes of successive octaves.")
    jitter: int = Field(
        default=16,
        ge=0,
        le=512,
        description="Largest random shift of the image at each step, in pixels; the image wraps around at its edges.",
    )
    side: Annotated[int, Field(ge=32, le=2048)] | None = Field(
        default=448,
        description="Longer side of the result in pixels; if null, the image is preprocessed to the network's input "
        "size.",
    )

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        if not isinstance(self.objective, ClassScore) and self.objective.layer is not None:
            channel = getattr(self.objective, "channel", None)
            yield NamedLayer("objective/layer", self.objective.layer, channel, "objective/channel")
