"""Validation errors as problems."""

import pytest
from pydantic import BaseModel, ValidationError

from shared.validation.pydantic_errors import explain


class Document(BaseModel):
    """A document with a nested list."""

    sizes: list[int]


@pytest.mark.parametrize(("pointer", "field"), [(True, "/sizes/1"), (False, "sizes.1")])
def test_fields_are_named_by_json_pointer_or_by_name(pointer: bool, field: str) -> None:
    with pytest.raises(ValidationError) as error:
        Document.model_validate({"sizes": [1, "two"]})
    problem = explain(error.value, pointer=pointer)
    assert (problem.status, [each.field for each in problem.errors]) == (422, [field])
    assert problem.errors[0].given == "two"
