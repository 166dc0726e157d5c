"""The menu: every method with its parameters, each described once. All else is derived from here."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

Target = Annotated[
    Annotated[int, Field(strict=True, ge=0)] | Annotated[str, StringConstraints(min_length=1, max_length=200)],
    Field(description="A class of the model: its index or its name.", examples=["lemon", 951]),
]
Targets = Annotated[list[Target], Field(min_length=1, max_length=1000)]
ImageId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="What `POST /v1/images` answered as `id`.")
]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class Parameters(BaseModel):
    """Parameters of a method: frozen, and nothing that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassModelParameters(Parameters):
    """How to climb. The defaults are the ones whose pictures other networks recognise best."""

    steps: int = Field(default=160, ge=1, le=10_000, description="Steps of the ascent.")
    optimizer: Literal["adam", "sgd"] = Field(default="adam", description="What turns a gradient into a step.")
    learning_rate: float = Field(
        default=0.05, gt=0, le=1000, description="Step size. Try 0.05 with `adam`, 1 with `sgd`, 0.1 with `bounded`."
    )
    image: Literal["fourier", "bounded", "pixels"] = Field(
        default="fourier",
        description="How the picture is written down: as a spectrum with decorrelated colours, as pixels through a "
        "sigmoid that keeps them inside 0..1, or as pixels.",
    )
    canvas: tuple[Annotated[int, Field(ge=8, le=2048)], Annotated[int, Field(ge=8, le=2048)]] | None = Field(
        default=None,
        description="Height and width of the picture in pixels, no smaller than the model's input; without it, an "
        "eighth larger than the input where the network is shown windows, else as large.",
    )
    scale: tuple[Annotated[float, Field(ge=0.1, le=10)], Annotated[float, Field(ge=0.1, le=10)]] = Field(
        default=(0.4, 2.0),
        description="At each step the network is shown a window onto the picture, placed at random and magnified by "
        "something between these two. [1, 1] with no rotation shows the picture as it is.",
    )
    rotation: float = Field(
        default=20, ge=0, le=180, description="The window is turned at random by up to so many degrees either way."
    )
    start: Literal["zero", "mean", "noise"] = Field(
        default="noise",
        description="Where the ascent starts: zero, the model's mean colour, or normal noise drawn from the seed.",
    )
    add_mean: bool = Field(
        default=True,
        description="With `pixels`: the model's mean picture is added to the parameters, as for a network trained on "
        "mean-centred data (Simonyan et al. 2013), so that L2 pulls to the mean and not to black.",
    )
    l2: float = Field(
        default=0.002,
        ge=0,
        le=10,
        description="λ of the penalty λ‖I‖², summed over pixels and channels: of the difference to grey with "
        "`fourier`, else of the parameters.",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Every random number of the job follows from it.")

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale goes from the least to the most magnification; given {list(self.scale)}")
        return self

    @property
    def whole(self) -> bool:
        """Whether the network is shown the picture as it is."""
        return self.scale == (1, 1) and self.rotation == 0


class SaliencyParameters(Parameters):
    """How to look."""

    kind: Literal["gradient"] = Field(
        default="gradient", description="The gradient of the class score at the picture (Simonyan et al. 2013)."
    )


class Submission(BaseModel):
    """What every job says, whatever its method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        min_length=1, max_length=200, description="`name` or `name@release` from the catalogue.", examples=["shapes"]
    )
    priority: Literal["interactive", "bulk"] = Field(
        default="interactive", description="Interactive jobs are taken before bulk ones."
    )
    tags: list[Tag] = Field(default=[], max_length=16, description="Labels to find the job by.", examples=[["nightly"]])


class ClassModel(Submission):
    """The picture that a class score likes best, one per target (Simonyan et al. 2013, section 2)."""

    method: Literal["class_model"] = Field(examples=["class_model"])
    targets: Targets | Literal["all"] = Field(
        description='Classes to draw, or `"all"`.', examples=[["lemon", "strawberry", "bee", "sailing boat"]]
    )
    params: ClassModelParameters = ClassModelParameters()


class Saliency(Submission):
    """Which pixels a class score depends on, for every picture and target (Simonyan et al. 2013, section 3)."""

    method: Literal["saliency"] = Field(examples=["saliency"])
    images: list[ImageId] = Field(min_length=1, max_length=1000, description="Pictures to look at.")
    targets: Targets | Literal["all"] | None = Field(
        default=None,
        description='Classes to look for in every picture, or `"all"`; without it, the class that the model predicts.',
        examples=[["lemon"]],
    )
    params: SaliencyParameters = SaliencyParameters()


Request = Annotated[ClassModel | Saliency, Field(discriminator="method")]
"""What `POST /v1/jobs` takes, and what is stored as the job's request."""

REQUEST: TypeAdapter[ClassModel | Saliency] = TypeAdapter(Request)

MENU: dict[str, type[ClassModel | Saliency]] = {
    kind.model_fields["method"].annotation.__args__[0]: kind for kind in get_args(get_args(Request)[0])
}


def describe_menu() -> list[dict[str, Any]]:
    """Every method with its name, a sentence on what it does, and the JSON Schema of its request."""
    return [
        {"method": name, "description": (kind.__doc__ or "").strip(), "schema": kind.model_json_schema()}
        for name, kind in MENU.items()
    ]
