"""Registrations: values that contradict each other are refused."""

from typing import Any

import pytest

from archetype.contract.problem import InvalidDocument
from archetype.contract.pydantic_errors import parse_release

RELEASE: dict[str, Any] = {
    "name": "fruit", "architecture": "timm:resnet10t", "classes": ["a"], "upload": "ab" * 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("preprocessing", "refused"),
    [
        ({"resize": 100}, True),
        ({"size": [96, 160], "resize": 90}, True),
        ({"size": [96, 160], "resize": 96}, False),
        ({"size": [64, 64], "resize": 64}, False),
        ({"resize": 100, "fit": "stretch_crop"}, True),
        ({"resize": 256}, False),
        ({}, False),
    ],
)
def test_an_area_larger_than_the_resized_image_cannot_be_cut_out(preprocessing: dict[str, Any], refused: bool) -> None:
    body = {**RELEASE, "preprocessing": preprocessing}
    if refused:
        with pytest.raises(
            InvalidDocument, match=r"preprocessing\.resize is \d+, and the shorter side of the input \d+"
        ):
            parse_release(body)
    else:
        assert parse_release(body).preprocessing is not None
