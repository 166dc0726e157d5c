"""Parses requests and checks what their schemas cannot. The API checks a request first, and the worker again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from archetype.contract.model import Description
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.inputs import Top
from archetype.contract.problem import FieldError
from archetype.contract.registration import NewRelease
from archetype.contract.request import (
    REQUEST,
    AnyRequest,
    Audit,
    ClassModel,
    ImageRequest,
    Localization,
    Saliency,
    Trigger,
)
from shared.catalogue.catalogue import Catalogue
from shared.catalogue.release import Release
from shared.errors import InvalidRequest
from shared.validation.capabilities import check_capabilities
from shared.validation.job_inputs import UploadIndex, check_images, check_input, check_pairs
from shared.validation.layers import check_layers
from shared.validation.pydantic_errors import explain


class Descriptions(Protocol):
    """Provides descriptions of releases; `JobStore` is one."""

    def load_description(self, release: Release) -> Description | None:
        """What a worker found when it loaded a release, or None if no worker has loaded it."""


MAX_CLASS_MODELS = 4000
"""Class visualizations of one job: targets times seeds."""


def parse_request(body: object) -> AnyRequest:
    """Parses a request from decoded JSON.

    Raises:
        InvalidRequest: The request does not match the schema of its method; all invalid fields are listed.
    """
    try:
        return REQUEST.validate_python(body)
    except ValidationError as error:
        raise explain(error) from error


def parse_release(body: object) -> NewRelease:
    """Parses the body of `POST /v1/models` from decoded JSON. Raises `InvalidRequest`."""
    try:
        return NewRelease.model_validate(body)
    except ValidationError as error:
        raise explain(error, NewRelease) from error


@dataclass(frozen=True)
class CheckedRequest:
    """A request with its references resolved.

    Attributes:
        request: The request; every model is named with its release.
        release: The release that the job uses.
        targets: Class indices; None if the model chooses the targets for each image.
        judges: Releases of the evaluators, in the order of the request. For an audit, the baselines.
        work: Number of results, which limits count: classes times seeds, or pairs of image and class. For a prefix of
            the store, the number for one image.
        images: Number of images; 0 for a prefix of the store.
    """

    request: AnyRequest
    release: Release
    targets: list[int] | None
    judges: tuple[Release, ...] = ()
    work: int = 1
    images: int = 0


def check_request(
    request: AnyRequest,
    catalogue: Catalogue,
    descriptions: Descriptions,
    uploads: UploadIndex,
    *,
    prefixes: Sequence[str] = (),
) -> CheckedRequest:
    """Checks a request against the catalogue and the uploads.

    Args:
        request: The request.
        catalogue: The models that the caller may use.
        descriptions: What workers found when they loaded the releases.
        uploads: The images and archives that the caller may use.
        prefixes: Prefixes of the store whose images any job may read.

    Raises:
        UnknownModel: The catalogue does not have the model or the release.
        UnknownTarget: The model does not have a class.
        UnknownImage: An image was not uploaded.
        InvalidRequest: The network does not work with the method, a layer does not exist, the canvas is smaller than
            the network's input, an evaluator has other classes than the model, an image does not fit the network, or
            the job is too large.
    """
    release = catalogue.find(request.model)
    classes = request.classes
    targets = None if classes is None or isinstance(classes, Top) else release.resolve_targets(classes)
    request = request.model_copy(update={"model": release.reference})
    description = descriptions.load_description(release)
    check_capabilities(request, release, description)
    check_layers(request.params, release, description)
    work, images = 1, 0
    if isinstance(request, Saliency | Localization) and request.params.target_minus is not None:
        request = _resolve_contrast(request, release)
    if isinstance(request, ImageRequest):
        images = check_input(request, release, uploads, prefixes)
        check_pairs(request, _count_pairs(request, targets, images))
        work = max(1, _count_pairs(request, targets, images or 1))
    if isinstance(request, ClassModel):
        return _check_class_model(request, release, targets or [], catalogue, uploads)
    if isinstance(request, Audit):
        return CheckedRequest(request, release, None, tuple(catalogue.find(name) for name in request.baselines))
    return CheckedRequest(request, release, targets, work=work, images=images)


def _resolve_contrast(request: Saliency | Localization, release: Release) -> Saliency | Localization:
    """The request with the index of the class whose score is subtracted."""
    index = release.resolve_target(request.params.target_minus or 0, field="/params/target_minus")
    return request.model_copy(update={"params": request.params.model_copy(update={"target_minus": index})})


def _count_pairs(request: ImageRequest, targets: list[int] | None, images: int) -> int:
    """Number of pairs of image and target. Images can have targets of their own.

    A search for triggers has one result per target, whatever the number of images.
    """
    classes = request.classes
    if isinstance(request, Trigger):
        return len(targets or [])
    per_image = len(targets) if targets is not None else classes.top if isinstance(classes, Top) else 1
    own_targets = sum(len(image.targets) - per_image for image in request.pictures if image.targets)
    return images * per_image + own_targets


def _check_class_model(
    request: ClassModel, release: Release, targets: list[int], catalogue: Catalogue, uploads: UploadIndex
) -> CheckedRequest:
    params = request.params
    _check_count(len(targets) * len(params.seeds))
    _check_canvas(params, release)
    if params.start_image is not None:
        check_images({"/params/start_image": params.start_image}, params, release, uploads)
    judges = tuple(_find_judge(name, position, release, catalogue) for position, name in enumerate(params.judges))
    pinned = params.model_copy(update={"judges": [judge.reference for judge in judges]})
    work = len(targets) * len(params.seeds)
    return CheckedRequest(request.model_copy(update={"params": pinned}), release, targets, judges, work)


def _check_count(count: int) -> None:
    if count > MAX_CLASS_MODELS:
        detail = f"the job has {count} class visualizations; the limit is {MAX_CLASS_MODELS}"
        allowed = f"targets times seeds up to {MAX_CLASS_MODELS}"
        error = FieldError(field="/params/seeds", detail=detail, allowed=allowed)
        raise InvalidRequest(f"{detail}; give fewer seeds, or split the targets over several jobs", error)


def _check_canvas(params: ClassModelParameters, release: Release) -> None:
    height, width = release.preprocessing.size
    if not params.windowed or params.canvas is None:
        return
    if params.canvas[0] >= height and params.canvas[1] >= width:
        return
    detail = f"the canvas is smaller than the input of {release.reference}, {height} x {width} pixels"
    allowed = f"from {[height, width]}"
    error = FieldError(field="/params/canvas", detail=detail, given=list(params.canvas), allowed=allowed)
    raise InvalidRequest(f"{detail}; give a larger canvas, or none", error)


def _find_judge(name: str, position: int, release: Release, catalogue: Catalogue) -> Release:
    field = f"/params/judges/{position}"
    judge = catalogue.find(name, field=field)
    if judge.classes != release.classes or judge.preprocessing.channels != release.preprocessing.channels:
        detail = f"{judge.reference} has other classes or other input channels than {release.reference}"
        error = FieldError(field=field, detail=detail, given=name)
        raise InvalidRequest(f"{detail}; give judges with the same classes and channels", error)
    return judge
