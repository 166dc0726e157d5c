"""The menu: every method with its parameters, each described once. All else is derived from here."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from shared.recipe import ClassModelParameters, ImageId, Parameters

Target = Annotated[
    Annotated[int, Field(strict=True, ge=0)] | Annotated[str, StringConstraints(min_length=1, max_length=200)],
    Field(description="A class of the model: its index or its name.", examples=["lemon", 951]),
]
Targets = Annotated[list[Target], Field(min_length=1, max_length=1000)]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


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
