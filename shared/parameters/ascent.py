"""How to climb from a picture, or to one: what `fool`, `feature_inversion` and `deep_dream` have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from shared.parameters.fields import LookingParameters, Seed
from shared.parameters.parts import Schedule

Steps = Annotated[int, Field(ge=1, le=10_000, description="Steps of the ascent, at most.")]
Rate = Annotated[float, Field(gt=0, le=1000, description="Step size.")]
Optimizer = Annotated[
    Literal["adam", "nadam", "sgd", "rmsprop", "normalized"],
    Field(
        description="What turns a gradient into a step; `rmsprop` gives every gradient length one first, `normalized` "
        "makes its mean magnitude one."
    ),
]
Unit = Annotated[
    Literal["one", "std"],
    Field(description="What a step of one is: the whole range of a picture, or the model's standard deviation."),
]
Clip = Annotated[bool, Field(description="Values stay between black and white all the way, not only when saved.")]


class AscentParameters(LookingParameters):
    """What such ascents have in common. Every parameter that is not given is the preset's."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "timm_vis": {}}

    preset: Literal["default", "timm_vis"] = Field(
        default="default", description="`default` is ours; `timm_vis` does what that library does."
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="Of `sgd`.")
    schedule: Schedule | None = Field(default=None, description="How the step size changes; without it, it stays.")
    seed: Seed = Field(default=0, description="Of all that is drawn at random.")
    extras: bool | None = Field(
        default=None,
        description="Each picture also in floats, as an animation of its ascent, and its curve; without it, in jobs of "
        "up to 32 pictures.",
    )
    frames: int = Field(default=24, ge=2, le=60, description="Of an animation.")

    @property
    def files(self) -> int:
        return 4 if self.extras is False else 8

    @property
    def passes(self) -> int:
        return 1

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        name = given.get("preset", "default") if isinstance(given, dict) else None
        return {**cls.presets[name], **given} if isinstance(name, str) and name in cls.presets else given
