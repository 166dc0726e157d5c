"""The menu: every method with its parameters, each described once. All else is derived from here."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from shared.parameters.activations import ActivationsParameters
from shared.parameters.audit import Plan
from shared.parameters.class_model import ClassModelParameters
from shared.parameters.deep_dream import ClassScore, DeepDreamParameters
from shared.parameters.feature_inversion import FeatureInversionParameters
from shared.parameters.fields import ImageId, LookingParameters, Parameters
from shared.parameters.filters import FiltersParameters
from shared.parameters.fool import FoolParameters
from shared.parameters.localization import LocalizationParameters
from shared.parameters.patches import PatchesParameters
from shared.parameters.saliency import SaliencyParameters
from shared.parameters.subjects import Archive, Picture, Shelf, Targets, Top

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


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

    webhook: str | None = Field(
        default=None,
        max_length=2000,
        description="An https URL that is told when the job has ended, signed as Standard Webhooks say.",
    )

    @property
    def classes(self) -> list[int | str] | Literal["all"] | Top | None:
        """The classes that the job is about; None where it names none."""
        return getattr(self, "targets", None)

    @property
    def family(self) -> str:
        """Methods of one family make batches of the same kind."""
        return str(getattr(self, "method"))  # noqa: B009


class Looking(Submission):
    """What the methods that look at pictures say."""

    images: Annotated[list[ImageId | Picture], Field(min_length=1, max_length=1000)] | Archive | Shelf = Field(
        description="Pictures to look at: ids, or all of an archive or of a place in the store."
    )
    params: LookingParameters

    @property
    def asks_for_classes(self) -> bool:
        """Whether what is made of a picture depends on a class."""
        return "targets" in type(self).model_fields

    @property
    def pictures(self) -> list[Picture]:
        """The pictures that are named, with what is known of them, each once."""
        found: dict[str, Picture] = {}
        for image in self.images if isinstance(self.images, list) else []:
            picture = Picture(id=image) if isinstance(image, str) else image
            found.setdefault(picture.id, picture)
        return list(found.values())


class ClassModel(Submission):
    """The picture that a class score likes best, one per target (Simonyan et al. 2013, section 2)."""

    method: Literal["class_model"] = Field(examples=["class_model"])
    targets: Targets | Literal["all"] = Field(
        description='Classes to draw, or `"all"`.', examples=[["lemon", "strawberry", "bee", "sailing boat"]]
    )
    params: ClassModelParameters = ClassModelParameters()


class Saliency(Looking):
    """Which pixels a class score depends on, for every picture and target (Simonyan et al. 2013, section 3)."""

    method: Literal["saliency"] = Field(examples=["saliency"])
    targets: Targets | Literal["all"] | Top | None = Field(
        default=None,
        description='Classes to look for in every picture, `"all"`, or the model\'s own first ones, `{"top": 5}`; '
        "without any, the class that the model predicts.",
        examples=[["lemon"]],
    )
    params: SaliencyParameters = SaliencyParameters()

    @property
    def family(self) -> str:
        return "maps"


class Localization(Looking):
    """Where in a picture a class is: mask and box, from saliency and GraphCut (Simonyan et al. 2013, section 3.2)."""

    method: Literal["localization"] = Field(examples=["localization"])
    targets: Targets | Top = Field(
        default=Top(top=5), description="Classes to find in every picture, or the model's own first ones."
    )
    params: LocalizationParameters = LocalizationParameters()

    @property
    def family(self) -> str:
        return "maps"


class Patches(Looking):
    """The patches of a picture that a class probability depends on most, by covering one after another."""

    method: Literal["patches"] = Field(examples=["patches"])
    targets: Targets | Top | None = Field(
        default=None, description="Classes to ask for; without any, the one that the model predicts."
    )
    params: PatchesParameters = PatchesParameters()


class Fool(Looking):
    """Pictures changed until the network takes them for the target (Szegedy et al. 2013)."""

    method: Literal["fool"] = Field(examples=["fool"])
    targets: Targets = Field(description="Classes that every picture is to be taken for.", examples=[["lemon"]])
    params: FoolParameters = FoolParameters()


class DeepDream(Looking):
    """Pictures with more of what a layer, a channel or a class sees in them (Mordvintsev et al. 2015)."""

    method: Literal["deep_dream"] = Field(examples=["deep_dream"])
    targets: Targets | None = Field(default=None, description='Classes, where the objective is `{"kind": "class"}`.')
    params: DeepDreamParameters = DeepDreamParameters()

    @property
    def asks_for_classes(self) -> bool:
        return isinstance(self.params.objective, ClassScore)

    @model_validator(mode="after")
    def _names_classes_where_they_matter(self) -> Self:
        if (self.targets is not None) != isinstance(self.params.objective, ClassScore):
            raise ValueError("targets and the objective of kind 'class' go together; give both or neither")
        return self


class FeatureInversion(Looking):
    """Pictures made again from what layers say of them: what is left is what they know (Mahendran and Vedaldi 2014)."""

    method: Literal["feature_inversion"] = Field(examples=["feature_inversion"])
    params: FeatureInversionParameters = FeatureInversionParameters()


class Activations(Looking):
    """What the channels of layers make of pictures."""

    method: Literal["activations"] = Field(examples=["activations"])
    params: ActivationsParameters = ActivationsParameters()


class Filters(Submission):
    """The weights of a convolution as pictures."""

    method: Literal["filters"] = Field(examples=["filters"])
    params: FiltersParameters = FiltersParameters()


class Audit(Submission):
    """What a release has learned that another one had not: the end of several jobs, which it comes after."""

    method: Literal["audit"] = "audit"
    plan: Plan
    baselines: list[str] = Field(description="The releases that it is held against.")
    members: dict[str, str] = Field(default={}, description="The jobs that it is made of, by their role.")
    params: Parameters = Parameters()


OnMenu = ClassModel | Saliency | Localization | Patches | Fool | FeatureInversion | DeepDream | Activations | Filters
AnyRequest = OnMenu | Audit

Request = Annotated[OnMenu, Field(discriminator="method")]
"""What `POST /v1/jobs` takes."""

REQUEST: TypeAdapter[OnMenu] = TypeAdapter(Request)

STORED: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="method")])
"""What is stored as a job's request: audits are submitted in a way of their own."""

MENU: dict[str, type[OnMenu]] = {
    kind.model_fields["method"].annotation.__args__[0]: kind for kind in get_args(get_args(Request)[0])
}


def describe_menu() -> list[dict[str, Any]]:
    """Every method with its name, a sentence on what it does, and the JSON Schema of its request."""
    return [
        {"method": name, "description": (kind.__doc__ or "").strip(), "schema": kind.model_json_schema()}
        for name, kind in MENU.items()
    ]
