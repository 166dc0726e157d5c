"""Converts validation errors of pydantic to problems."""

from pydantic import BaseModel, ValidationError

from archetype.contract.pydantic_errors import describe_errors
from shared.errors import InvalidRequest


def explain(error: ValidationError, model: type[BaseModel] | None = None, *, pointer: bool = True) -> InvalidRequest:
    """The problem that describes a validation error.

    Args:
        error: The validation error.
        model: The model of the document; None for the request of a job.
        pointer: Name fields by JSON pointer, as in a body, instead of by name, as in a query string.
    """
    described = describe_errors(error, model, pointer=pointer)
    return InvalidRequest(described.detail, *described.errors)
