"""Whether the pictures that a request names are there, and such as the network and the method can look at."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from shared.catalogue import Release
from shared.errors import MOST_ERRORS, FieldError, InvalidRequest, UnknownImage
from shared.methods import Looking
from shared.parameters.fields import LookingParameters, Parameters
from shared.parameters.subjects import Archive, Picture, Shelf
from shared.pictures import explain_channels, fits_channels
from shared.uploads import ArchiveFacts, Image

MOST_PAIRS, MOST_FILES, MOST_ASCENTS = 100_000, 20_000, 4000
"""Of pictures and targets that one job may look at, of files that it may make of them, and of ascents."""


class Shelves(Protocol):
    """What must be known of what was uploaded; `Uploads` knows it."""

    def describe_image(self, image_id: str) -> Image | None: ...

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None: ...


def check_pictures(request: Looking, release: Release, uploads: Shelves, prefixes: Sequence[str]) -> int:
    """How many pictures there are, as far as is known: of a place in the store only the worker knows.

    Raises:
        UnknownImage: A picture or an archive was never uploaded.
        UnknownTarget: The model has no class that a picture comes with.
        InvalidRequest: A place in the store is not open to jobs, or a picture is not such as can be looked at.
    """
    match request.images:
        case Archive():
            return _check_archive(request.images.archive, uploads)
        case Shelf():
            _check_prefix(request.images.prefix, prefixes)
            return 0
        case images:
            for position, image in enumerate(images):
                if isinstance(image, Picture) and image.targets is not None:
                    field = f"/images/{position}/targets"
                    release.resolve_targets(image.targets, field=field)
                    if not request.asks_for_classes:
                        detail = "what is asked for does not depend on a class; leave the targets out"
                        raise InvalidRequest(detail, FieldError(field=field, detail=detail, given=image.targets))
            check_images(dict(_name_images(images)), request.params, release, uploads)
            return len(request.pictures)


def check_images(images: Mapping[str, str], params: Parameters, release: Release, uploads: Shelves) -> None:
    """Raises `UnknownImage` or `InvalidRequest` where a picture, by its place in the request, cannot be looked at."""
    described = {field: uploads.describe_image(image) for field, image in images.items()}
    missing = [
        FieldError(field=field, detail="no such picture was uploaded", given=images[field])
        for field, found in described.items()
        if found is None
    ]
    if missing:
        detail = f"there is no picture {missing[0].given}; upload it with POST /v1/images"
        raise UnknownImage(detail, *missing[:MOST_ERRORS])
    wrong = [
        error
        for field, image in described.items()
        if image is not None and (error := _find_fault(field, image, params, release)) is not None
    ]
    if wrong:
        raise InvalidRequest(wrong[0].detail, *wrong[:MOST_ERRORS])


def check_pairs(request: Looking, pairs: int) -> None:
    """Raises `InvalidRequest` where a job would look at, or make, more than one job may."""
    files, ascents = pairs * request.params.files, pairs * request.params.passes
    if pairs > MOST_PAIRS or ascents > MOST_ASCENTS:
        count, most = (pairs, MOST_PAIRS) if pairs > MOST_PAIRS else (ascents, MOST_ASCENTS)
        what = "pairs of picture and target" if pairs > MOST_PAIRS else "ascents"
        detail = f"{count} {what} are more than the {most} of one job"
        error = FieldError(field="/images", detail=detail, given=count, allowed=most)
        raise InvalidRequest(f"{detail}; give fewer pictures or targets, in several jobs", error)
    if files > MOST_FILES:
        detail = f"{pairs} pairs make {files} files, more than the {MOST_FILES} of one job"
        given = getattr(request.params, "outputs", None)
        error = FieldError(field="/params/outputs", detail=detail, given=given, allowed=MOST_FILES)
        raise InvalidRequest(f"{detail}; ask for fewer outputs, or for fewer pictures or targets", error)


def _find_fault(field: str, image: Image, params: Parameters, release: Release) -> FieldError | None:
    """What is wrong with a picture for this network and this method."""
    wanted = release.preprocessing.channels
    if not fits_channels(image.channels, wanted):
        return FieldError(field=field, detail=explain_channels(image.channels, wanted), given=image.id)
    fault = params.find_fault(image.width, image.height) if isinstance(params, LookingParameters) else None
    if fault is None:
        return None
    name, detail = fault
    return FieldError(field=f"/params/{name}", detail=detail, given=getattr(params, name))


def _name_images(images: Sequence[str | Picture]) -> Iterator[tuple[str, str]]:
    """Where each id stands in the request, and the id."""
    for position, image in enumerate(images):
        yield (f"/images/{position}", image) if isinstance(image, str) else (f"/images/{position}/id", image.id)


def _check_archive(archive: str, uploads: Shelves) -> int:
    """How many pictures are in it."""
    facts = uploads.describe_archive(archive)
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
