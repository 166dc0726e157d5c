"""Reads what a request carries, and refuses it in the contract's words."""

import re
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage

from shared.errors import FieldError, InvalidRequest, LengthRequired, MalformedJSON, UnsupportedMediaType
from shared.explanation import explain

Q = TypeVar("Q", bound=BaseModel)


def read_json() -> object:
    """The body as JSON.

    Raises:
        LengthRequired: The body comes in chunks.
        UnsupportedMediaType: The content type is not JSON.
        MalformedJSON: The body is not.
    """
    check_length()
    if request.mimetype != "application/json":
        raise wrong_content_type("application/json")
    try:
        return request.get_json(cache=False)
    except Exception as error:
        cause = getattr(error, "__cause__", None) or getattr(error, "__context__", None) or error
        if getattr(error, "code", None) == 413:
            raise
        raise MalformedJSON(f"the body is not JSON ({cause}); send one JSON object") from error


def read_file(what: str) -> FileStorage:
    """The file of a multipart form, from its field `file`.

    Args:
        what: It is to be, for the problem where there is none.

    Raises:
        LengthRequired: The body comes in chunks.
        UnsupportedMediaType: The body is no form.
        InvalidRequest: The form has no such file.
    """
    check_length()
    if request.mimetype != "multipart/form-data":
        raise wrong_content_type("multipart/form-data")
    file = request.files.get("file")
    if file is None:
        field = FieldError(field="file", detail="field required", given=sorted(request.files), allowed=what)
        raise InvalidRequest(f"the form has no file named 'file'; send {what} in the field 'file'", field)
    return file


def read_body(kind: type[Q]) -> Q:
    """The body as a model. Raises `MalformedJSON`, `InvalidRequest` and what `read_json` does."""
    try:
        return kind.model_validate(read_json())
    except ValidationError as error:
        raise explain(error) from error


def read_query(kind: type[Q]) -> Q:
    """The query string as a model. Raises `InvalidRequest`."""
    try:
        return kind.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise explain(error, pointer=False) from error


def read_wait(most: int, default: int = 0) -> float:
    """How many seconds the caller prefers to wait, up to so many."""
    match = re.search(r"\bwait=(\d{1,6})\b", request.headers.get("Prefer", ""))
    return min(int(match[1]) if match else default, most)


def check_length() -> None:
    """Raises `LengthRequired` for a chunked body: it would be cut at the limit, and nobody would notice."""
    if request.content_length is None and "chunked" in request.headers.get("Transfer-Encoding", ""):
        raise LengthRequired("the body comes in chunks; send it whole, with a Content-Length")


def wrong_content_type(allowed: str) -> UnsupportedMediaType:
    given = request.headers.get("Content-Type")
    field = FieldError(field="Content-Type", detail="not taken here", given=given, allowed=allowed)
    return UnsupportedMediaType(f"the content type is {given or 'missing'}; send {allowed}", field)
