"""Every list in a body has a largest length, and errors without number are not listed."""

import tracemalloc
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from archetype.contract.api_key import NewKey
from archetype.contract.audit import NewAudit
from archetype.contract.problem import InvalidDocument
from archetype.contract.pydantic_errors import parse_request
from archetype.contract.registration import NewRelease
from archetype.contract.request import METHODS
from archetype.contract.schedule import NewSchedule

BODIES: list[type[BaseModel]] = [*METHODS.values(), NewKey, NewAudit, NewRelease, NewSchedule]


def find_unlimited_lists(schema: Any, path: str = "") -> list[str]:
    if isinstance(schema, list):
        return [found for number, each in enumerate(schema) for found in find_unlimited_lists(each, f"{path}/{number}")]
    if not isinstance(schema, dict):
        return []
    here = [path] if schema.get("type") == "array" and "maxItems" not in schema else []
    return here + [found for name, each in schema.items() for found in find_unlimited_lists(each, f"{path}/{name}")]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_list_of_a_body_has_a_largest_length(body: type[BaseModel]) -> None:
    assert find_unlimited_lists(TypeAdapter(body).json_schema()) == []


@pytest.mark.parametrize(
    "images",
    [
        [{}] * 50_000,
        ["x"] * 50_000,
        [{"id": "0" * 64, "boxes": [{}] * 99}] * 500,
        [{"id": "0" * 64, "targets": [None] * 999}] * 50,
        [{str(number): 1 for number in range(50_000)}],
    ],
    ids=["objects", "texts", "boxes", "targets", "fields"],
)
def test_a_body_with_many_errors_takes_little_memory(images: list[Any]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument):
            parse_request({"method": "saliency", "model": "shapes", "images": images})
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
