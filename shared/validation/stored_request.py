"""Accepted requests as they are stored, which workers of earlier and of later versions read."""

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from archetype.contract.parameters.types import Parameters
from archetype.contract.request import STORED, AnyRequest
from shared.errors import UnsupportedFormat
from shared.storage.documents import JOB_FIELDS
from shared.validation.pydantic_errors import explain

UNKNOWN_FIELDS = frozenset({"extra_forbidden", "union_tag_invalid"})
UNKNOWN_VALUES = frozenset({"literal_error", "enum"})
"""Kinds of validation errors of what only a newer version has. A field that may also have a value of another type gives
an error of an unknown value for any damage, together with errors of other kinds."""


def dump_stored(request: AnyRequest) -> dict[str, Any]:
    """The JSON of an accepted request, without optional fields that have their default.

    So a worker of an earlier version can run every job that does not use what only this version has. Values that come
    from a preset are stored, because a newer version may change the preset.
    """
    complete = request.model_dump(mode="json")
    short = _drop_defaults(request, complete) | {name: complete[name] for name in JOB_FIELDS}
    return short if STORED.validate_python(short) == request else complete


def parse_stored(body: object) -> AnyRequest:
    """Parses an accepted request from decoded JSON; unlike `parse_request`, also an audit.

    Raises:
        UnsupportedFormat: A newer version accepted the request, and it has what this version does not know.
        InvalidRequest: The request is damaged.
    """
    try:
        return STORED.validate_python(body)
    except ValidationError as error:
        unknown = _find_unknown(error.errors())
        if unknown is not None:
            raise UnsupportedFormat(
                f"a newer version accepted this request, and this version does not know {_name(unknown)}; upgrade this "
                "service"
            ) from error
        raise explain(error) from error


def _find_unknown(errors: list[ErrorDetails]) -> ErrorDetails | None:
    """The error of what this version does not know; None if the request is damaged."""
    if all(error["type"] in UNKNOWN_VALUES for error in errors):
        return errors[0]
    return next((error for error in errors if error["type"] in UNKNOWN_FIELDS), None)


def _name(error: ErrorDetails) -> str:
    return "/".join(["", *map(str, error["loc"])]) if error["loc"] else "its method"


def _drop_defaults(value: object, dumped: Any) -> Any:
    """Removes optional fields from the JSON of a document, or of the documents in a list."""
    if isinstance(value, BaseModel):
        names = [name for name in dumped if not _is_default(value, name)]
        return {name: _drop_defaults(getattr(value, name), dumped[name]) for name in names}
    if isinstance(value, list | tuple):
        return [_drop_defaults(item, each) for item, each in zip(value, dumped, strict=True)]
    return dumped


def _is_default(document: BaseModel, name: str) -> bool:
    """Whether a field has the value that it gets if it is left out, and that value comes from no preset."""
    field, value = type(document).model_fields[name], getattr(document, name)
    is_tag = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1  # selects a class
    if field.is_required() or is_tag or name in _list_preset(document) or _list_preset(value):
        return False
    return bool(value == field.get_default(call_default_factory=True))


def _list_preset(document: object) -> set[str]:
    """The fields of parameters that get their value from a preset if they are left out, and the preset itself."""
    if not isinstance(document, Parameters) or not document.PRESETS:
        return set()
    return {"preset", *document.PRESETS.get(getattr(document, "preset", "default"), {})}
