"""Reads bodies, query strings and headers of requests, and reports what is wrong with them by field."""

import re
from collections.abc import Collection
from typing import TypeVar

from flask import Flask, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api.dependencies import get_services
from archetype.contract.problem import FieldError
from archetype.contract.strict_json import JsonLimits, TooManyElements, load_json
from shared.errors import InvalidRequest, LengthRequired, MalformedJSON, TooLarge, UnsupportedMediaType
from shared.validation.pydantic_errors import explain

M = TypeVar("M", bound=BaseModel)

DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?")


MAX_FORM_BYTES = 64_000
"""Size of a body that is neither JSON nor an upload: the form of the sign-in page."""

MAX_FIELD_BYTES, MAX_PARTS = 256_000, 16
"""Size of the fields of an upload that are not files, and number of all its fields."""

MAX_JSON_BYTES = 2_000_000
JSON_LIMITS = JsonLimits(elements=50_000)

MAX_RELEASE_BYTES = 10_000_000
RELEASE_LIMITS = JsonLimits(elements=150_000)
"""A release may have a hundred thousand class names."""

MAX_EXPLAIN_BYTES = 20_000_000
EXPLAIN_LIMITS = JsonLimits(elements=400_000)
"""Two images of 224 × 224 pixels as numbers, or many in base64."""


def limit_bodies(app: Flask) -> None:
    """Limits all bodies to those of small forms; `read_json` and `read_file` allow more."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_FIELD_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_PARTS


def read_json(limits: JsonLimits = JSON_LIMITS, *, max_bytes: int = MAX_JSON_BYTES) -> object:
    """Returns the body as JSON.

    Args:
        limits: Limits of the document.
        max_bytes: Largest body, if the setting `max_body_bytes` allows it.

    Raises:
        LengthRequired: The body is chunked.
        UnsupportedMediaType: The content type is not JSON.
        TooLarge: The body has too many elements.
        MalformedJSON: The body is not JSON, or has a number that is not finite.
    """
    check_length()
    if request.mimetype != "application/json":
        raise make_media_type_problem("application/json")
    request.max_content_length = min(max_bytes, get_services().settings.max_body_bytes)
    try:
        return load_json(request.get_data(cache=False), limits)
    except RequestEntityTooLarge:
        raise
    except TooManyElements as error:
        field = FieldError(field="body", detail=str(error), allowed=f"{limits.elements} in {limits.depth} levels")
        raise TooLarge(f"{error}; send several smaller requests", field) from error
    except Exception as error:
        raise MalformedJSON(f"the body is not valid JSON ({error}); send one JSON object") from error


def read_file(content: str, *, max_bytes: int | None = None) -> FileStorage:
    """Returns the file of a multipart form, from its field `file`.

    Args:
        content: The expected content, for the problem, such as "an image".
        max_bytes: Largest body; None for the setting `max_body_bytes`.

    Raises:
        LengthRequired: The body is chunked.
        UnsupportedMediaType: The body is not a multipart form.
        InvalidRequest: The form has no field `file`.
    """
    check_length()
    if request.mimetype != "multipart/form-data":
        raise make_media_type_problem("multipart/form-data")
    request.max_content_length = get_services().settings.max_body_bytes if max_bytes is None else max_bytes
    file = request.files.get("file")
    if file is None:
        field = FieldError(field="file", detail="field required", given=sorted(request.files), allowed=content)
        raise InvalidRequest(f"the form has no file named 'file'; send {content} in the field 'file'", field)
    return file


def read_body(model: type[M], limits: JsonLimits = JSON_LIMITS, *, max_bytes: int = MAX_JSON_BYTES) -> M:
    """Returns the body as a model. Raises `InvalidRequest`, and the problems of `read_json`."""
    try:
        return model.model_validate(read_json(limits, max_bytes=max_bytes))
    except ValidationError as error:
        raise explain(error, model) from error


def read_form(model: type[M]) -> M:
    """Returns the fields of a small form as a model, without the empty ones. Raises `InvalidRequest`."""
    check_length()
    try:
        return model.model_validate({name: value for name, value in request.form.items() if value.strip()})
    except ValidationError as error:
        raise explain(error, model, pointer=False) from error


def read_query(model: type[M], several: Collection[str] = ()) -> M:
    """Returns the query string as a model.

    Args:
        model: The model.
        several: Fields that may be given more than once, and are lists.

    Raises:
        InvalidRequest: The query string does not match the model.
    """
    lists = {name: request.args.getlist(name) for name in several}
    try:
        return model.model_validate({**request.args.to_dict(), **lists})
    except ValidationError as error:
        raise explain(error, model, pointer=False) from error


def read_wait(max_seconds: int, default: int = 0) -> float:
    """Returns the seconds of the header `Prefer: wait=N`, at most `max_seconds`."""
    match = re.search(r"\bwait=(\d{1,6})\b", request.headers.get("Prefer", ""))
    return min(int(match[1]) if match else default, max_seconds)


def read_cancel_after() -> int | None:
    """Returns the seconds of the header `Cancel-After`, such as `90`, `90s`, `15m` or `1h30m`; None without it.

    Raises:
        InvalidRequest: The header is not a duration above zero.
    """
    header = request.headers.get("Cancel-After")
    if header is None:
        return None
    match = DURATION.fullmatch(header.strip())
    hours, minutes, seconds = (int(number or 0) for number in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        detail = "not a duration such as 90s, 15m or 1h30m"
        field = FieldError(field="Cancel-After", detail=detail, given=header[:80])
        raise InvalidRequest(f"Cancel-After {header[:80]!r} is {detail}", field)
    return total


def check_length() -> None:
    """Raises `LengthRequired` if the body is chunked: it would be cut at the size limit without an error."""
    if request.content_length is None and "chunked" in request.headers.get("Transfer-Encoding", ""):
        raise LengthRequired("the body is chunked; send it in one piece, with a Content-Length")


def make_media_type_problem(allowed: str) -> UnsupportedMediaType:
    """Returns the problem of a request whose content type is not the one that the route accepts."""
    given = request.headers.get("Content-Type")
    field = FieldError(field="Content-Type", detail="not accepted by this call", given=given, allowed=allowed)
    return UnsupportedMediaType(f"the content type is {given or 'missing'}; send {allowed}", field)
