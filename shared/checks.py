"""The second look at a request: what its schema cannot know. The API does it first, and the worker again."""

from collections.abc import Callable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.catalogue import Catalogue, Release
from shared.errors import MOST_ERRORS, FieldError, InvalidRequest, UnknownImage, nearest, shorten
from shared.methods import MENU, REQUEST, ClassModel, ClassModelParameters, Saliency


def parse_request(body: object) -> ClassModel | Saliency:
    """A request from what JSON gave.

    Raises:
        InvalidRequest: It does not fit the menu; each field that is wrong is listed with what was given and is allowed.
    """
    try:
        return REQUEST.validate_python(body)
    except ValidationError as error:
        raise explain(error) from error


def check_request(
    request: ClassModel | Saliency, catalogue: Catalogue, *, has_image: Callable[[str], bool]
) -> tuple[Release, list[int] | None]:
    """The release and the class indices that a request means; None where the model's prediction is the target.

    Raises:
        UnknownModel: The catalogue has no such model or release.
        UnknownTarget: The model has no such class.
        UnknownImage: A picture was never uploaded.
        InvalidRequest: The canvas is smaller than what the network is shown.
    """
    release = catalogue.find(request.model)
    indices = None if request.targets is None else release.resolve_targets(request.targets)
    if isinstance(request, ClassModel):
        _check_canvas(request.params, release)
    if isinstance(request, Saliency):
        _check_images(request.images, has_image)
    return release, indices


def _check_canvas(params: ClassModelParameters, release: Release) -> None:
    least = release.preprocessing.size
    if params.canvas is None or (params.canvas[0] >= least[0] and params.canvas[1] >= least[1]):
        return
    detail = f"the canvas is smaller than the {least[0]} x {least[1]} pixels that {release.reference} is shown"
    error = FieldError(field="/params/canvas", detail=detail, given=list(params.canvas), allowed=f"from {list(least)}")
    raise InvalidRequest(f"{detail}; give a larger one, or none", error)


def _check_images(images: list[str], has_image: Callable[[str], bool]) -> None:
    missing = [
        FieldError(field=f"/images/{position}", detail="no such picture was uploaded", given=image)
        for position, image in enumerate(images)
        if not has_image(image)
    ]
    if missing:
        detail = f"there is no picture {missing[0].given}; upload it with POST /v1/images"
        raise UnknownImage(detail, *missing[:MOST_ERRORS])


def explain(error: ValidationError, *, pointer: bool = True) -> InvalidRequest:
    """What pydantic found, in the words of the contract.

    Args:
        pointer: Name fields by JSON pointer, as in a body, rather than by name, as in a query.
    """
    found = error.errors(include_url=False)
    errors = _merge([_explain_one(details, pointer=pointer) for details in found[:MOST_ERRORS]])
    first = errors[0]
    where = first.field or "the body"
    given = "" if first.given is None else f", given {shorten(repr(first.given))}"
    others = len(errors) - 1 + len(found[MOST_ERRORS:])
    more = f" (and {others} more)" if others else ""
    return InvalidRequest(f"{where}: {first.detail}{given}{more}; see errors for what is allowed", *errors)


def _explain_one(details: ErrorDetails, *, pointer: bool) -> FieldError:
    *parents, last = details["loc"] or ("",)
    # A union's branch, as in `constrained-str`, is part of pydantic's path but not of the sender's document.
    path = [part for part in parents if part not in MENU and _is_name(part)]
    path += [last] if details["type"] == "extra_forbidden" or _is_name(last) else []
    path = [part for part in path if part not in MENU and part != ""]
    steps = [str(part).encode(errors="backslashreplace").decode()[:80] for part in path]
    field = "/" + "/".join(steps) if pointer and path else ".".join(steps)
    context = details.get("ctx", {})
    given = None if details["type"] == "missing" else shorten(details["input"])
    match details["type"]:
        case "union_tag_invalid":
            tag = context["tag"]
            return FieldError(field="/method", detail=f"there is no method {tag!r}", given=tag, allowed=list(MENU))
        case "union_tag_not_found":
            return FieldError(field="/method", detail="a method is needed", allowed=list(MENU))
        case "extra_forbidden":
            names = _siblings(details["loc"])
            close = nearest(str(path[-1]), names)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            return FieldError(field=field, detail=f"there is no such parameter{hint}", given=given, allowed=names)
        case _:
            bounds = {name: value for name, value in context.items() if name != "error"}
            detail = details["msg"][0].lower() + details["msg"][1:]
            return FieldError(field=field, detail=detail, given=given, allowed=bounds or None)


def _is_name(part: str | int) -> bool:
    return isinstance(part, int) or part.isidentifier()


def _merge(errors: list[FieldError]) -> list[FieldError]:
    """One error per field: where each branch of a union found its own, what they say is joined with "or"."""
    fields = [error.field for error in errors]
    merged: dict[str, FieldError] = {}
    for error in errors:
        if any(field.startswith(error.field + "/") for field in fields):
            continue  # another branch got further, and says more
        known = merged.get(error.field)
        detail = f"{known.detail}, or {error.detail.removeprefix('input should be ')}" if known else error.detail
        merged[error.field] = error.model_copy(update={"detail": detail})
    return list(merged.values())


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The names that the place of an unknown one does have."""
    if not location or location[0] not in MENU:
        return []
    kind = MENU[str(location[0])]
    fields = kind.model_fields["params"].annotation.model_fields if location[1:2] == ("params",) else kind.model_fields  # type: ignore[union-attr]
    return list(fields)
