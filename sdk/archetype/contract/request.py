"""Requests: one class for each method. The API reference, the CLI and the web form are derived from these classes."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import Priority
from archetype.contract.parameters.activations import ActivationsParameters
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.deep_dream import ClassScore, DeepDreamParameters
from archetype.contract.parameters.feature_inversion import FeatureInversionParameters
from archetype.contract.parameters.filters import FiltersParameters
from archetype.contract.parameters.fool import FoolParameters
from archetype.contract.parameters.inputs import Archive, ImageInput, StorePrefix, Targets, Top
from archetype.contract.parameters.localization import LocalizationParameters
from archetype.contract.parameters.patches import PatchesParameters
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.parameters.trigger import TriggerParameters
from archetype.contract.parameters.types import ImageId, ImageParameters, Parameters
from archetype.contract.report.standing import Standing

PARAMS = "Parameters of the method."

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class JobRequest(BaseModel):
    """Fields that the requests of all methods have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        min_length=1,
        max_length=200,
        description="Model from the catalogue: `name@release`, or `name` for its newest release.",
        examples=["shapes"],
    )
    priority: Priority = Field(
        default="interactive", description="Priority of the job; `interactive` jobs start before `bulk` jobs."
    )
    tags: list[Tag] = Field(
        default=[], max_length=16, description="Labels by which jobs can be filtered.", examples=[["nightly"]]
    )
    webhook: str | None = Field(
        default=None,
        max_length=2000,
        description="https URL that receives a message when the job has ended, signed according to Standard Webhooks; "
        "null for none.",
    )

    @property
    def classes(self) -> list[int | str] | Literal["all"] | Top | None:
        """The targets of the request; None if it has none."""
        return getattr(self, "targets", None)

    @property
    def family(self) -> str:
        """Family of the method; jobs of the same family can share batches."""
        return str(getattr(self, "method"))  # noqa: B009


class ImageRequest(JobRequest):
    """Fields that the requests of all methods with image inputs have in common."""

    images: Annotated[list[ImageId | ImageInput], Field(min_length=1, max_length=1000)] | Archive | StorePrefix = Field(
        description="Input images: a list of image ids, an uploaded archive, or a key prefix of the S3 bucket."
    )
    params: ImageParameters = Field(description=PARAMS)

    @property
    def asks_for_classes(self) -> bool:
        """Whether the result for an image depends on a class."""
        return "targets" in type(self).model_fields

    @property
    def pictures(self) -> list[ImageInput]:
        """The images that the request lists, without duplicates; empty for an archive or a prefix."""
        inputs: dict[str, ImageInput] = {}
        for image in self.images if isinstance(self.images, list) else []:
            image_input = ImageInput(id=image) if isinstance(image, str) else image
            inputs.setdefault(image_input.id, image_input)
        return list(inputs.values())


class ClassModel(JobRequest):
    """Class visualization (class model): an image that maximizes a class score (Simonyan et al. 2013, section 2)."""

    method: Literal["class_model"] = Field(description="Name of the method.", examples=["class_model"])
    targets: Targets | Literal["all"] = Field(
        description='Classes to visualize, or `"all"`.', examples=[["lemon", "strawberry", "bee", "sailing boat"]]
    )
    params: ClassModelParameters = Field(default=ClassModelParameters(), description=PARAMS)


class Saliency(ImageRequest):
    """Saliency map: the pixels of an image that a class score depends on (Simonyan et al. 2013, section 3)."""

    method: Literal["saliency"] = Field(description="Name of the method.", examples=["saliency"])
    targets: Targets | Literal["all"] | Top | None = Field(
        default=None,
        description='Classes to explain in every image, `"all"`, or the classes with the highest scores, '
        '`{"top": 5}`; if null, the predicted class.',
        examples=[["lemon"]],
    )
    params: SaliencyParameters = Field(default=SaliencyParameters(), description=PARAMS)

    @property
    def family(self) -> str:
        """Family of the method; jobs of the same family can share batches."""
        return "maps"


class Localization(ImageRequest):
    """Localization: mask and box of an object, from a saliency map and GraphCut (Simonyan et al. 2013, section 3.2)."""

    method: Literal["localization"] = Field(description="Name of the method.", examples=["localization"])
    targets: Targets | Top = Field(
        default=Top(top=5),
        description='Classes to localize in every image, or the classes with the highest scores, `{"top": 5}`.',
    )
    params: LocalizationParameters = Field(default=LocalizationParameters(), description=PARAMS)

    @property
    def family(self) -> str:
        """Family of the method; jobs of the same family can share batches."""
        return "maps"


class Patches(ImageRequest):
    """Important patches: the parts of an image whose occlusion changes the probability of a class most."""

    method: Literal["patches"] = Field(description="Name of the method.", examples=["patches"])
    targets: Targets | Top | None = Field(
        default=None,
        description='Classes to explain in every image, or the classes with the highest scores, `{"top": 5}`; if '
        "null, the predicted class.",
    )
    params: PatchesParameters = Field(default=PatchesParameters(), description=PARAMS)


class Fool(ImageRequest):
    """Adversarial example: an image that is changed until the network predicts a target (Szegedy et al. 2013)."""

    method: Literal["fool"] = Field(description="Name of the method.", examples=["fool"])
    targets: Targets = Field(
        description="Classes that the network should predict for every changed image.", examples=[["lemon"]]
    )
    params: FoolParameters = Field(default=FoolParameters(), description=PARAMS)


class DeepDream(ImageRequest):
    """Deep dream: an image in which features of a layer, channel or class are amplified (Mordvintsev et al. 2015)."""

    method: Literal["deep_dream"] = Field(description="Name of the method.", examples=["deep_dream"])
    targets: Targets | None = Field(
        default=None, description='Classes to amplify, if the objective is `{"kind": "class"}`; otherwise null.'
    )
    params: DeepDreamParameters = Field(default=DeepDreamParameters(), description=PARAMS)

    @property
    def asks_for_classes(self) -> bool:
        """Whether the result for an image depends on a class."""
        return isinstance(self.params.objective, ClassScore)

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if (self.targets is not None) != isinstance(self.params.objective, ClassScore):
            raise ValueError("targets and the objective of kind 'class' go together; give both or neither")
        return self


class FeatureInversion(ImageRequest):
    """Feature inversion: an image that is reconstructed from the features of a layer (Mahendran and Vedaldi 2014)."""

    method: Literal["feature_inversion"] = Field(description="Name of the method.", examples=["feature_inversion"])
    params: FeatureInversionParameters = Field(default=FeatureInversionParameters(), description=PARAMS)


class Trigger(ImageRequest):
    """Trigger search: the smallest change that turns images of other classes into a class (Wang et al. 2019)."""

    method: Literal["trigger"] = Field(description="Name of the method.", examples=["trigger"])
    images: Annotated[list[ImageId | ImageInput], Field(max_length=1000)] | Archive | StorePrefix = Field(
        default=[],
        description="Images that the changes are tried on: a list of image ids, an uploaded archive, or a key prefix "
        "of the S3 bucket; at most 200 of them are used. An image's own target is its true class; without one, the "
        "predicted class counts. If empty, images of random colors are drawn.",
    )
    targets: Targets | Literal["all"] = Field(
        default="all",
        description='Classes that the changed images should be taken for, or `"all"`. Classes are compared with each '
        "other, so give at least four.",
    )
    params: TriggerParameters = Field(default=TriggerParameters(), description=PARAMS)


class Activations(ImageRequest):
    """Activations: the feature maps of a layer's channels for an image."""

    method: Literal["activations"] = Field(description="Name of the method.", examples=["activations"])
    params: ActivationsParameters = Field(default=ActivationsParameters(), description=PARAMS)


class Filters(JobRequest):
    """Filters: the weights of a convolution, drawn as images."""

    method: Literal["filters"] = Field(description="Name of the method.", examples=["filters"])
    params: FiltersParameters = Field(default=FiltersParameters(), description=PARAMS)


class Requested(BaseModel):
    """The requester of an audit, and the time."""

    model_config = ConfigDict(frozen=True)

    by: str = Field(
        description="Id of the API key, `operator`, or `oidc:` and the subject of a token; `local` if none."
    )
    tenant: str = Field(description="Tenant of the requester.")
    at: datetime = Field(description="Time of the request.")


class Audit(JobRequest):
    """Comparison of a release with its baselines. It evaluates the results of other jobs, which run before it."""

    method: Literal["audit"] = "audit"
    plan: AuditPlan = Field(description="Audit plan.")
    baselines: list[str] = Field(description="Releases to compare the subject with.")
    standings: list[Standing] = Field(default=[], description="What was said about the baselines before.")
    skipped: list[Standing] = Field(
        default=[], description="Later releases that are no baselines because they were rejected or failed their audit."
    )
    members: dict[str, str] = Field(default={}, description="Ids of the jobs that the audit consists of, by role.")
    requested: Requested | None = Field(
        default=None, description="Requester; null if a version before 0.4 accepted the audit."
    )
    reused: list[str] = Field(default=[], description="Roles of the jobs whose results earlier audits computed.")
    params: Parameters = Parameters()


AnyMethod = (
    ClassModel
    | Saliency
    | Localization
    | Patches
    | Fool
    | Trigger
    | FeatureInversion
    | DeepDream
    | Activations
    | Filters
)
AnyRequest = AnyMethod | Audit

Request = Annotated[AnyMethod, Field(discriminator="method")]
"""Body of `POST /v1/jobs`."""

REQUEST: TypeAdapter[AnyMethod] = TypeAdapter(Request)

STORED: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="method")])
"""Stored request of a job. Unlike `REQUEST` it includes audits, which are submitted with `POST /v1/audits`."""

METHODS: dict[str, type[AnyMethod]] = {
    kind.model_fields["method"].annotation.__args__[0]: kind for kind in get_args(get_args(Request)[0])
}
"""Request class of each method, by name."""


def describe_methods() -> list[dict[str, Any]]:
    """Name, description and request schema (JSON Schema) of every method."""
    return [
        {"method": name, "description": (kind.__doc__ or "").strip(), "schema": kind.model_json_schema()}
        for name, kind in METHODS.items()
    ]
