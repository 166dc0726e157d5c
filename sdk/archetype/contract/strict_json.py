"""JSON as RFC 8259 defines it: no `NaN` and no `Infinity`, neither written nor read."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

OUTSIDE_OF_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[^"\[\]{},:]++', re.DOTALL)
"""What lies between the marks `[]{},:` of a document: text, also one without an end, and anything else."""

DEPTHS = {"[": 1, "{": 1, "]": -1, "}": -1}


def dump_json(value: Any, *, indent: int | None = None, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    """Returns a value as JSON.

    Raises:
        ValueError: A number is not finite.
        TypeError: JSON has no such type.
    """
    return json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)


@dataclass(frozen=True)
class JsonLimits:
    """Limits of a JSON document from outside, which are checked before an object is built from it.

    Attributes:
        elements: Largest number of values, together with the names of fields.
        depth: Largest number of lists and objects inside each other.
    """

    elements: int
    depth: int = 32


class TooManyElements(ValueError):
    """A JSON document has more elements than allowed, or they are nested too deeply."""


def load_json(text: str | bytes, limits: JsonLimits | None = None) -> Any:
    """Reads JSON.

    Args:
        text: The document; bytes are text in UTF-8, UTF-16 or UTF-32.
        limits: Its limits; None for none.

    Raises:
        TooManyElements: The document exceeds its limits.
        ValueError: The text is not JSON, or a number in it is not finite or too large for a float.
    """
    if limits is not None:
        if not isinstance(text, str):
            text = text.decode(json.detect_encoding(text))
        _check_limits(text, limits)
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_read_float)


def replace_non_finite(value: Any) -> Any:
    """Returns a value with null in the place of each number that is not finite, also in lists and dictionaries."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: replace_non_finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(each) for each in value]
    return value


def _check_limits(text: str, limits: JsonLimits) -> None:
    marks = OUTSIDE_OF_MARKS.sub("", text)
    elements = len(marks) - marks.count("]") - marks.count("}")
    if elements > limits.elements:
        raise TooManyElements(f"the document has more than {limits.elements} elements, about {elements}")
    depth = max(accumulate((DEPTHS.get(mark, 0) for mark in marks), initial=0))
    if depth > limits.depth:
        raise TooManyElements(f"the document has lists and objects in {depth} levels; the limit is {limits.depth}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value
