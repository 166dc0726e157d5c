"""Problem documents (RFC 9457), which describe every error."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from archetype.contract.strict_json import dump_json

MAX_ERRORS = 20
"""Largest number of field errors in a problem: a request may have thousands, and the first ones are enough."""


class FieldError(BaseModel):
    """An error in a field of a request."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="JSON pointer to the field in the body, or name of the header or query parameter.")
    detail: str = Field(description="Description of the error.")
    given: Any = Field(default=None, description="Value that was given, shortened.")
    allowed: Any = Field(default=None, description="Allowed values: limits, a list of values, or similar names.")


class ProblemDocument(BaseModel):
    """An error of a refused request or of a failed job (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Identifier of the type of problem.", examples=["/problems/invalid-request"])
    title: str = Field(description="Title of the type of problem; all problems of a type have the same title.")
    status: int = Field(description="HTTP status code.", examples=[422])
    detail: str = Field(description="Description of this error: what is wrong, what was given, and what to do.")
    errors: list[FieldError] = Field(default=[], description="Invalid fields; empty if no field is invalid.")


class InvalidDocument(ValueError):
    """A document does not fit its schema.

    Attributes:
        detail: What is wrong, what was given, and what to do.
        errors: The invalid fields.
    """

    def __init__(self, detail: str, *errors: FieldError) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


def nearest(name: str, names: Iterable[str], count: int = 5) -> list[str]:
    """The most similar names, best first; names that share a word with `name` follow."""
    names = list(dict.fromkeys(names))
    lowered = {known.lower(): known for known in names}
    close = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.6)]
    words = set(re.findall(r"\w{3,}", name.lower()))
    related = [known for known in names if words & set(re.findall(r"\w{3,}", known.lower()))]
    return list(dict.fromkeys(close + related))[:count]


def shorten(value: Any, limit: int = 120) -> Any:
    """The value itself, or its text cut to `limit` characters if it is longer; always serializable as JSON."""
    text = value if isinstance(value, str) else repr(value)
    try:
        dump_json(value, ensure_ascii=False).encode()
    except (TypeError, ValueError):  # for example a lone surrogate
        value = text = repr(value)
    return value if len(text) <= limit else text[: limit - 1] + "…"
