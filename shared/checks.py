"""The second look at a request: what its schema cannot know. The API does it first, and the worker again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from shared.catalogue import Catalogue, Release
from shared.errors import MOST_ERRORS, FieldError, InvalidRequest, UnknownImage, nearest
from shared.explanation import explain
from shared.methods import REQUEST, AnyRequest, Localization, Saliency
from shared.parameters.class_model import ClassModelParameters
from shared.parameters.parts import ChannelMean, Neuron
from shared.parameters.subjects import Archive, Picture, Shelf, Top
from shared.storage import ArchiveFacts, Description

MOST_PICTURES = 4000
"""That one job may make."""

MOST_PAIRS, MOST_FILES = 100_000, 20_000
"""Of pictures and targets that one job may look at, and of files that it may make of them."""


def parse_request(body: object) -> AnyRequest:
    """A request from what JSON gave.

    Raises:
        InvalidRequest: It does not fit the menu; each field that is wrong is listed with what was given and is allowed.
    """
    try:
        return REQUEST.validate_python(body)
    except ValidationError as error:
        raise explain(error) from error


class Store(Protocol):
    """What must be known of what is stored; `Storage` knows it."""

    def describe_image(self, image_id: str) -> object | None: ...

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None: ...

    def load_description(self, name: str, release: str) -> Description | None: ...


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


def check_request(request: AnyRequest, catalogue: Catalogue, store: Store, *, prefixes: Sequence[str] = ()) -> Checked:
    """Holds a request against the catalogue and the store.

    Args:
        prefixes: Places in the store whose pictures any job may look at.

    Raises:
        UnknownModel: The catalogue has no such model or release.
        UnknownTarget: The model has no such class.
        UnknownImage: A picture was never uploaded.
        InvalidRequest: A canvas is smaller than what the network is shown, a layer is not part of the network, a judge
            knows other classes, a network does not take pictures of the kind that are uploaded.
    """
    release = catalogue.find(request.model)
    wanted = request.targets
    targets = None if wanted is None or isinstance(wanted, Top) else release.resolve_targets(wanted)
    request = request.model_copy(update={"model": release.reference})
    if isinstance(request, Saliency | Localization):
        _check_channels(release)
        pictures = _check_looking(request, release, store, prefixes)
        each = len(targets) if targets is not None else wanted.top if isinstance(wanted, Top) else 1
        own = sum(len(picture.targets) - each for picture in request.pictures if picture.targets)
        check_pairs(request, pictures * each + own)
        return Checked(request, release, targets)
    params = request.params
    _check_pictures(len(targets or []) * len(params.seeds))
    _check_canvas(params, release)
    _check_layers(params, release, store)
    if params.start_image is not None:
        _check_channels(release)
        _check_images({"/params/start_image": params.start_image}, store)
    judges = tuple(_find_judge(name, position, release, catalogue) for position, name in enumerate(params.judges))
    pinned = params.model_copy(update={"judges": [judge.reference for judge in judges]})
    return Checked(request.model_copy(update={"params": pinned}), release, targets, judges)


def _check_looking(request: Saliency | Localization, release: Release, store: Store, prefixes: Sequence[str]) -> int:
    """How many pictures there are, as far as is known: of a place in the store only the worker knows."""
    if request.params.layer is not None:
        _check_layer("/params", request.params.layer, None, release, store)
    match request.images:
        case Archive():
            return _check_archive(request.images.archive, store)
        case Shelf():
            _check_prefix(request.images.prefix, prefixes)
            return 0
        case images:
            for position, image in enumerate(images):
                if isinstance(image, Picture) and image.targets is not None:
                    release.resolve_targets(image.targets, field=f"/images/{position}/targets")
            _check_images(dict(_name_images(images)), store)
            return len(request.pictures)


def check_pairs(request: Saliency | Localization, pairs: int) -> None:
    """Raises `InvalidRequest` where a job would look at, or make, more than one job may."""
    files = pairs * (len(request.params.outputs) + (3 if isinstance(request, Localization) else 0))
    if pairs > MOST_PAIRS:
        detail = f"{pairs} pairs of picture and target are more than the {MOST_PAIRS} of one job"
        error = FieldError(field="/images", detail=detail, given=pairs, allowed=MOST_PAIRS)
        raise InvalidRequest(f"{detail}; give fewer pictures or targets, in several jobs", error)
    if files > MOST_FILES:
        detail = f"{pairs} pairs make {files} files, more than the {MOST_FILES} of one job"
        error = FieldError(field="/params/outputs", detail=detail, given=request.params.outputs, allowed=MOST_FILES)
        raise InvalidRequest(f"{detail}; ask for fewer outputs, or for fewer pictures or targets", error)


def _name_images(images: Sequence[str | Picture]) -> Iterator[tuple[str, str]]:
    """Where each id stands in the request, and the id."""
    for position, image in enumerate(images):
        yield (f"/images/{position}", image) if isinstance(image, str) else (f"/images/{position}/id", image.id)


def _check_archive(archive: str, store: Store) -> int:
    """How many pictures are in it."""
    facts = store.describe_archive(archive)
    if facts is None:
        detail = f"there is no archive {archive}; upload it with POST /v1/archives"
        error = FieldError(field="/images/archive", detail="no such archive was uploaded", given=archive)
        raise UnknownImage(detail, error)
    return facts.pictures


def _check_prefix(prefix: str, allowed: Sequence[str]) -> None:
    if not any(prefix.startswith(one) for one in allowed):
        error = FieldError(field="/images/prefix", detail="not allowed", given=prefix, allowed=list(allowed))
        detail = f"pictures under {prefix!r} are not open to jobs; the operator allows them with picture_prefixes"
        raise InvalidRequest(detail, error)


def _check_pictures(count: int) -> None:
    if count > MOST_PICTURES:
        detail = f"{count} pictures are more than the {MOST_PICTURES} of one job"
        error = FieldError(field="/params/seeds", detail=detail, allowed=f"targets times seeds up to {MOST_PICTURES}")
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


def _check_layers(params: ClassModelParameters, release: Release, store: Store) -> None:
    named = [
        (f"/params/objective/{position}", term)
        for position, term in enumerate(params.objective)
        if isinstance(term, ChannelMean | Neuron)
    ]
    for field, term in named:
        _check_layer(field, term.layer, term.channel, release, store)


def _check_layer(field: str, layer: str, channel: int | None, release: Release, store: Store) -> None:
    description = store.load_description(release.name, release.release)
    if description is None:
        return  # no worker has looked at it yet; the one that runs the job will
    shapes = {known.name: known.shape for known in description.layers}
    if layer not in shapes:
        close = nearest(layer, shapes)
        detail = f"layer {layer!r} is not part of {release.reference}"
        error = FieldError(field=f"{field}/layer", detail=detail, given=layer, allowed=close or None)
        raise InvalidRequest(f"{detail}; GET /v1/models/{release.name} lists its layers", error)
    shape = shapes[layer]
    if shape and channel is not None and channel >= shape[0]:
        detail = f"layer {layer!r} of {release.reference} has {shape[0]} channels"
        error = FieldError(field=f"{field}/channel", detail=detail, given=channel, allowed=f"0 to {shape[0] - 1}")
        raise InvalidRequest(f"{detail}, there is no channel {channel}", error)


def _check_channels(release: Release) -> None:
    channels = len(release.preprocessing.mean)
    if channels not in (1, 3):
        detail = f"{release.reference} takes pictures of {channels} channels; uploaded ones have 1 or 3"
        raise InvalidRequest(detail, FieldError(field="/model", detail=detail, given=release.reference))


def _find_judge(name: str, position: int, release: Release, catalogue: Catalogue) -> Release:
    field = f"/params/judges/{position}"
    judge = catalogue.find(name, field=field)
    if judge.classes != release.classes or len(judge.preprocessing.mean) != len(release.preprocessing.mean):
        detail = f"{judge.reference} knows other classes or takes other pictures than {release.reference}"
        raise InvalidRequest(f"{detail}; give judges with the same", FieldError(field=field, detail=detail, given=name))
    return judge


def _check_images(images: Mapping[str, str], store: Store) -> None:
    missing = [
        FieldError(field=field, detail="no such picture was uploaded", given=image)
        for field, image in images.items()
        if store.describe_image(image) is None
    ]
    if missing:
        detail = f"there is no picture {missing[0].given}; upload it with POST /v1/images"
        raise UnknownImage(detail, *missing[:MOST_ERRORS])
