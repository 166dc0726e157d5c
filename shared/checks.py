"""The second look at a request: what its schema cannot know. The API does it first, and the worker again."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from shared.catalogue import Catalogue, Release
from shared.errors import FieldError, InvalidRequest
from shared.explanation import explain
from shared.layer_checks import Descriptions, check_layers
from shared.methods import REQUEST, STORED, AnyRequest, Audit, ClassModel, Looking
from shared.parameters.class_model import ClassModelParameters
from shared.parameters.subjects import Top
from shared.picture_checks import Shelves, check_images, check_pairs, check_pictures
from shared.registration import NewRelease

MOST_CLASS_MODELS = 4000
"""That one job may make."""


def parse_request(body: object) -> AnyRequest:
    """A request from what JSON gave.

    Raises:
        InvalidRequest: It does not fit the menu; each field that is wrong is listed with what was given and is allowed.
    """
    try:
        return REQUEST.validate_python(body)
    except ValidationError as error:
        raise explain(error) from error


def parse_release(body: object) -> NewRelease:
    """What `POST /v1/models` takes, from what JSON gave. Raises `InvalidRequest`."""
    try:
        return NewRelease.model_validate(body)
    except ValidationError as error:
        raise explain(error) from error


def parse_stored(body: object) -> AnyRequest:
    """What was accepted, an audit as well. Raises `InvalidRequest`."""
    try:
        return STORED.validate_python(body)
    except ValidationError as error:
        raise explain(error) from error


@dataclass(frozen=True)
class Checked:
    """What a request means.

    Attributes:
        request: The request with every model named with its release.
        targets: Class indices; None where the model says which, picture by picture.
        judges: The releases that say what they see in the result.
    """

    request: AnyRequest
    release: Release
    targets: list[int] | None
    judges: tuple[Release, ...] = ()


def check_request(
    request: AnyRequest, catalogue: Catalogue, seen: Descriptions, uploads: Shelves, *, prefixes: Sequence[str] = ()
) -> Checked:
    """Holds a request against the catalogue and what is stored.

    Args:
        seen: What workers know of the releases.
        uploads: The pictures that whoever asks may name.
        prefixes: Places in the store whose pictures any job may look at.

    Raises:
        UnknownModel: The catalogue has no such model or release.
        UnknownTarget: The model has no such class.
        UnknownImage: A picture was never uploaded.
        InvalidRequest: A canvas is smaller than what the network is shown, a layer is not part of the network, a judge
            knows other classes, a network does not take pictures of the kind that are uploaded.
    """
    release = catalogue.find(request.model)
    wanted = request.classes
    targets = None if wanted is None or isinstance(wanted, Top) else release.resolve_targets(wanted)
    request = request.model_copy(update={"model": release.reference})
    check_layers(request.params, release, seen)
    if isinstance(request, Looking):
        pictures = check_pictures(request, release, uploads, prefixes)
        each = len(targets) if targets is not None else wanted.top if isinstance(wanted, Top) else 1
        own = sum(len(picture.targets) - each for picture in request.pictures if picture.targets)
        check_pairs(request, pictures * each + own)
    if isinstance(request, ClassModel):
        return _check_class_model(request, release, targets or [], catalogue, uploads)
    if isinstance(request, Audit):
        return Checked(request, release, None, tuple(catalogue.find(name) for name in request.baselines))
    return Checked(request, release, targets)


def _check_class_model(
    request: ClassModel, release: Release, targets: list[int], catalogue: Catalogue, uploads: Shelves
) -> Checked:
    params = request.params
    _check_count(len(targets) * len(params.seeds))
    _check_canvas(params, release)
    if params.start_image is not None:
        check_images({"/params/start_image": params.start_image}, params, release, uploads)
    judges = tuple(_find_judge(name, position, release, catalogue) for position, name in enumerate(params.judges))
    pinned = params.model_copy(update={"judges": [judge.reference for judge in judges]})
    return Checked(request.model_copy(update={"params": pinned}), release, targets, judges)


def _check_count(count: int) -> None:
    if count > MOST_CLASS_MODELS:
        detail = f"{count} pictures are more than the {MOST_CLASS_MODELS} of one job"
        error = FieldError(
            field="/params/seeds", detail=detail, allowed=f"targets times seeds up to {MOST_CLASS_MODELS}"
        )
        raise InvalidRequest(f"{detail}; give fewer seeds, or the targets in several jobs", error)


def _check_canvas(params: ClassModelParameters, release: Release) -> None:
    least = release.preprocessing.size
    if not params.windowed or params.canvas is None:
        return
    if params.canvas[0] >= least[0] and params.canvas[1] >= least[1]:
        return
    detail = f"the canvas is smaller than the {least[0]} x {least[1]} pixels that {release.reference} is shown"
    error = FieldError(field="/params/canvas", detail=detail, given=list(params.canvas), allowed=f"from {list(least)}")
    raise InvalidRequest(f"{detail}; give a larger one, or none", error)


def _find_judge(name: str, position: int, release: Release, catalogue: Catalogue) -> Release:
    field = f"/params/judges/{position}"
    judge = catalogue.find(name, field=field)
    if judge.classes != release.classes or judge.preprocessing.channels != release.preprocessing.channels:
        detail = f"{judge.reference} knows other classes or takes other pictures than {release.reference}"
        raise InvalidRequest(f"{detail}; give judges with the same", FieldError(field=field, detail=detail, given=name))
    return judge
