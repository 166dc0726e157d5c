"""Translates pydantic's validation errors into field errors: the field, the given value, and the allowed values."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from archetype.contract.parameters.components import COMPONENTS
from archetype.contract.parameters.deep_dream import Channel, ClassScore, Norm
from archetype.contract.parameters.fool import L2, LInf
from archetype.contract.parameters.inputs import Archive, ImageInput, StorePrefix, Top
from archetype.contract.problem import MAX_ERRORS, FieldError, InvalidDocument, nearest, shorten
from archetype.contract.registration import NewRelease
from archetype.contract.request import METHODS, REQUEST, AnyMethod

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

UNIONS: dict[str, dict[str, type[BaseModel]]] = {
    "schedule": {**COMPONENTS},
    "constraint": {"linf": LInf, "l2": L2},
    "objective": {"norm": Norm, "channel": Channel, "class": ClassScore},
    "targets": {"Top": Top},
    "images": {"Archive": Archive, "StorePrefix": StorePrefix},
}
"""Names that pydantic gives to the branches of a union, by field. They do not occur in the client's document."""

ITEMS: dict[str, type[BaseModel]] = {**COMPONENTS, "ImageInput": ImageInput}
"""Names that pydantic gives to the branches of a union of list items."""


MAX_DESCRIBED = 20_000
"""Largest number of errors that are read: each takes a kilobyte, although only the first ones are returned."""


def describe_errors(
    error: ValidationError, model: type[BaseModel] | None = None, *, pointer: bool = True
) -> InvalidDocument:
    """Describes the errors that pydantic found.

    Args:
        error: The errors.
        model: The model of the document, whose fields are named for an unknown one; None for the request of a job.
        pointer: Whether to name fields by JSON pointer, as for a body, or by their name, as for a query string.
    """
    count = error.error_count()
    if count > MAX_DESCRIBED:
        return InvalidDocument(f"the document has {count} errors, too many to list; compare it with the schema")
    details = error.errors(include_url=False)
    # Only the request of a job begins with a branch; other documents may have a field with the name of a method.
    start = "" if error.title.startswith("tagged-union") else error.title
    errors = _merge([_describe_error(each, start, model, pointer=pointer) for each in details[:MAX_ERRORS]])
    first = errors[0]
    field = first.field or "the body"
    given = "" if first.given is None else f"given {shorten(repr(first.given))}"
    given = given and (f" ({given})" if first.detail.endswith("?") else f", {given}")
    count = len(errors) - 1 + len(details[MAX_ERRORS:])
    more = f" (and {count} more)" if count else ""
    hint = "; see errors for what is allowed" if any(each.allowed for each in errors) else ""
    return InvalidDocument(f"{field}: {first.detail}{given}{more}{hint}", *errors)


def _describe_error(details: "ErrorDetails", start: str, model: type[BaseModel] | None, *, pointer: bool) -> FieldError:
    *parents, last = details["loc"] or ("",)
    # pydantic's path contains the branches of unions (`constrained-str`, `window`), which the document does not.
    path = [part for part in parents if _is_name(part)]
    path += [last] if details["type"] == "extra_forbidden" or _is_name(last) else []
    branch_of = _find_branches(path, start, model)
    branches = [branch for branch in branch_of if branch is not None]
    path = [part for part, branch in zip(path, branch_of, strict=True) if branch is None and part != ""]
    steps = [str(part).encode(errors="backslashreplace").decode()[:80] for part in path]
    field = "/" + "/".join(steps) if pointer and path else ".".join(steps)
    context = details.get("ctx", {})
    given = None if details["type"] == "missing" else shorten(details["input"])
    match details["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            tag = context["discriminator"].strip("'")
            names = list(METHODS) if tag == "method" else re.findall(r"'(\w+)'", context.get("expected_tags", ""))
            detail = f"there is no {tag} {context['tag']!r}" if "tag" in context else f"{tag} is required"
            return FieldError(field=f"{field}/{tag}", detail=detail, given=context.get("tag"), allowed=names or None)
        case "extra_forbidden":
            names = _list_siblings(branches, parents) if branches else _list_fields(model, parents)
            close = nearest(str(last), names)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            detail = f"there is no such parameter{hint}"
            return FieldError(field=field, detail=detail, given=given, allowed=names or None)
        case _:
            limits = {name: value for name, value in context.items() if name not in ("error", "class_name")}
            detail = _simplify(details["msg"][0].lower() + details["msg"][1:])
            return FieldError(field=field, detail=detail, given=given, allowed=limits or None)


def _simplify(message: str) -> str:
    """Returns a message of pydantic without the names of its models and of types of Python."""
    message = re.sub(r"valid dictionary or instance of \w+", "JSON object", message)
    message = re.sub(r"a valid (tuple|list|set)\b", "a list", message)
    return message.removesuffix(" after validation").replace(" after validation,", ",")


def _find_branches(
    path: Sequence[str | int], start: str, model: type[BaseModel] | None
) -> list[type[BaseModel] | None]:
    """For each step of pydantic's path, the branch of a union that it stands for; None if it stands for a field.

    A step is a branch only where the model has this branch: an unknown field may have its name.
    """
    here = [] if model is None else [model]
    branches: list[type[BaseModel] | None] = []
    for part, before in zip(path, [start, *path], strict=False):
        known = METHODS if before == "" else ITEMS if isinstance(before, int) else UNIONS.get(before, {})
        branch = known.get(str(part))
        if branch is not None and before != "" and here and branch not in here:
            branch = None
        branches.append(branch)
        if branch is not None:
            here = [branch]
        elif isinstance(part, str):
            fields = (each.model_fields.get(part) for each in here)
            here = [found for field in fields if field for found in _find_models(field.annotation)]
    return branches


def _is_name(part: str | int) -> bool:
    return isinstance(part, int) or part.isidentifier()


def _merge(errors: list[FieldError]) -> list[FieldError]:
    """Merges the errors of each field: the messages of different branches of a union are joined with "or"."""
    fields = [error.field for error in errors]
    merged: dict[str, FieldError] = {}
    for error in errors:
        if any(field.startswith(error.field + "/") for field in fields):
            continue  # another branch failed at a deeper field, which is more specific
        known = merged.get(error.field)
        detail = f"{known.detail}, or {error.detail.removeprefix('input should be ')}" if known else error.detail
        merged[error.field] = error.model_copy(update={"detail": detail})
    return list(merged.values())


def _list_siblings(branches: Sequence[type[BaseModel]], parents: Sequence[int | str]) -> list[str]:
    """The names of the fields next to an unknown one, in a branch of a union."""
    fields = branches[-1].model_fields
    if branches[-1] in METHODS.values() and "params" in parents:
        fields = fields["params"].annotation.model_fields  # type: ignore[union-attr]
    return list(fields)


def _list_fields(model: type[BaseModel] | None, parents: Sequence[int | str]) -> list[str]:
    """The names of the fields next to an unknown one, whose parents lead to it from the model."""
    found = dict.fromkeys([] if model is None else [model])
    for part in parents:
        if isinstance(part, str):
            fields = (each.model_fields.get(part) for each in found)
            found = dict.fromkeys(each for field in fields if field for each in _find_models(field.annotation))
    return list(dict.fromkeys(name for each in found for name in each.model_fields))


def _find_models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yields the models that an annotation contains, such as those of the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _find_models(part)


def parse_request(body: object) -> AnyMethod:
    """Validates the body of `POST /v1/jobs`.

    Raises:
        InvalidDocument: The body is invalid; the exception lists every invalid field.
    """
    try:
        return REQUEST.validate_python(body)
    except ValidationError as error:
        raise describe_errors(error) from error


def parse_release(body: object) -> NewRelease:
    """Validates the body of `POST /v1/models`.

    Raises:
        InvalidDocument: The body is invalid; the exception lists every invalid field.
    """
    try:
        return NewRelease.model_validate(body)
    except ValidationError as error:
        raise describe_errors(error, NewRelease) from error
