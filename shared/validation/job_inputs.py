"""Checks that the images in a request exist and fit the network and the method."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from archetype.contract.parameters.inputs import Archive, ImageInput, StorePrefix, TrueBox
from archetype.contract.parameters.types import ImageParameters, Parameters
from archetype.contract.problem import MAX_ERRORS, FieldError
from archetype.contract.request import ImageRequest
from archetype.contract.upload import ArchiveFacts, Image
from shared.catalogue.release import Release
from shared.errors import InvalidRequest, UnknownImage
from shared.media.image import explain_channels, fits_channels
from shared.validation.store_keys import is_allowed

MAX_PAIRS = 100_000
"""Pairs of image and target in one job."""

MAX_FILES = 20_000
"""Files that one job may create."""

MAX_ASCENTS = 4000
"""Ascents of one job."""


class UploadIndex(Protocol):
    """Provides facts about uploaded images and archives; `Uploads` is one."""

    def describe_image(self, image_id: str) -> Image | None:
        """Format and size of an image, or None if it was not uploaded."""

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None:
        """Size and number of images of an archive, or None if it was not uploaded."""


def check_input(request: ImageRequest, release: Release, uploads: UploadIndex, prefixes: Sequence[str]) -> int:
    """Checks the images of a request.

    Args:
        request: The request.
        release: The network that gets the images.
        uploads: The images and archives that the caller may use.
        prefixes: Prefixes of the store whose images any job may read.

    Returns:
        Number of images; 0 for a prefix of the store, which only the worker lists.

    Raises:
        UnknownImage: An image or an archive was not uploaded.
        UnknownTarget: The model does not have a class that is given with an image.
        InvalidRequest: The prefix is not allowed, or an image does not fit the network or the method.
    """
    match request.images:
        case Archive():
            return _check_archive(request.images.archive, uploads)
        case StorePrefix():
            _check_prefix(request.images.prefix, prefixes)
            return 0
        case images:
            _check_own_targets(images, request, release)
            check_images(dict(_list_fields(images)), request.params, release, uploads)
            return len(request.pictures)


def check_images(images: Mapping[str, str], params: Parameters, release: Release, uploads: UploadIndex) -> None:
    """Checks uploaded images.

    Args:
        images: Image ids by their JSON pointers in the request.
        params: Parameters of the method.
        release: The network that gets the images.
        uploads: The images that the caller may use.

    Raises:
        UnknownImage: An image was not uploaded.
        InvalidRequest: An image does not fit the network or the method.
    """
    described = {field: uploads.describe_image(image) for field, image in images.items()}
    missing = [
        FieldError(field=field, detail="this image was not uploaded", given=images[field])
        for field, image in described.items()
        if image is None
    ]
    if missing:
        detail = f"there is no image {missing[0].given}; upload it with POST /v1/images"
        raise UnknownImage(detail, *missing[:MAX_ERRORS])
    errors = [
        error
        for field, image in described.items()
        if image is not None and (error := _find_error(field, image, params, release)) is not None
    ]
    if errors:
        raise InvalidRequest(errors[0].detail, *errors[:MAX_ERRORS])


def check_pairs(request: ImageRequest, pairs: int) -> None:
    """Checks the size of a job.

    Args:
        request: The request.
        pairs: Number of pairs of image and target.

    Raises:
        InvalidRequest: The job has too many pairs or ascents, or would create too many files.
    """
    for count, limit, noun in (
        (pairs, MAX_PAIRS, "pairs of image and target"),
        (pairs * request.params.passes, MAX_ASCENTS, "ascents"),
    ):
        if count > limit:
            detail = f"the job has {count} {noun}; the limit is {limit}"
            error = FieldError(field="/images", detail=detail, given=count, allowed=limit)
            raise InvalidRequest(f"{detail}; split the images or targets over several jobs", error)
    files = pairs * request.params.files
    if files > MAX_FILES:
        detail = f"{pairs} pairs create {files} files; the limit of one job is {MAX_FILES}"
        given = getattr(request.params, "outputs", None)
        error = FieldError(field="/params/outputs", detail=detail, given=given, allowed=MAX_FILES)
        raise InvalidRequest(f"{detail}; request fewer outputs, images or targets", error)


def check_box_targets(boxes: Sequence[TrueBox], release: Release, *, field: str) -> None:
    """Checks the classes of true boxes.

    Args:
        boxes: The boxes.
        release: The network.
        field: JSON pointer to the boxes in the request.

    Raises:
        UnknownTarget: The model does not have a class that is given with a box.
    """
    for number, box in enumerate(boxes):
        if box.target is not None:
            release.resolve_target(box.target, field=f"{field}/{number}/target")


def _check_own_targets(images: Sequence[str | ImageInput], request: ImageRequest, release: Release) -> None:
    for position, image in enumerate(images):
        if isinstance(image, str):
            continue
        check_box_targets(image.boxes, release, field=f"/images/{position}/boxes")
        if image.targets is None:
            continue
        field = f"/images/{position}/targets"
        release.resolve_targets(image.targets, field=field)
        if not request.asks_for_classes:
            detail = "the result does not depend on a class; remove the targets"
            raise InvalidRequest(detail, FieldError(field=field, detail=detail, given=image.targets))


def _find_error(field: str, image: Image, params: Parameters, release: Release) -> FieldError | None:
    """Why an image does not fit this network and this method, or None."""
    channels = release.preprocessing.channels
    if not fits_channels(image.channels, channels):
        return FieldError(field=field, detail=explain_channels(image.channels, channels), given=image.id)
    fault = params.find_fault(image.width, image.height) if isinstance(params, ImageParameters) else None
    if fault is None:
        return None
    name, detail = fault
    return FieldError(field=f"/params/{name}", detail=detail, given=getattr(params, name))


def _list_fields(images: Sequence[str | ImageInput]) -> Iterator[tuple[str, str]]:
    """JSON pointer and id of each image."""
    for position, image in enumerate(images):
        yield (f"/images/{position}", image) if isinstance(image, str) else (f"/images/{position}/id", image.id)


def _check_archive(archive: str, uploads: UploadIndex) -> int:
    """The number of images in an uploaded archive."""
    facts = uploads.describe_archive(archive)
    if facts is None:
        detail = f"there is no archive {archive}; upload it with POST /v1/archives"
        error = FieldError(field="/images/archive", detail="this archive was not uploaded", given=archive)
        raise UnknownImage(detail, error)
    return facts.pictures


def _check_prefix(prefix: str, allowed: Sequence[str]) -> None:
    if not is_allowed(prefix, allowed):
        error = FieldError(field="/images/prefix", detail="not allowed", given=prefix, allowed=list(allowed))
        detail = f"jobs may not read images under {prefix!r}; the operator allows prefixes with picture_prefixes"
        raise InvalidRequest(detail, error)
