"""Titles of jobs tell jobs apart: method, kind, preset, classes, layers and images."""

from typing import Any

import pytest

from api.web.results.titles import write_title
from archetype.contract.request import REQUEST

IMAGES = ["0" * 64, "1" * 64]
CLASSES = ["lemon", "bee", "cup", "ant", "fox", "owl"]


def title(body: dict[str, Any]) -> str:
    request = REQUEST.validate_python({"model": "shapes"} | body)
    return write_title(request.model_dump(mode="json"), CLASSES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"method": "class_model", "targets": ["lemon", 1]}, "class model of lemon, bee"),
        ({"method": "class_model", "targets": CLASSES}, "class model of lemon, bee, cup, ant and 2 more"),
        (
            {"method": "class_model", "targets": "all", "params": {"preset": "lucid"}},
            "class model of all 6 classes with the preset lucid",
        ),
        (
            {"method": "saliency", "images": IMAGES, "params": {"kind": "integrated_gradients"}},
            "saliency (integrated gradients) of the predicted class in 2 images",
        ),
        (
            {"method": "localization", "images": IMAGES[:1], "targets": {"top": 2}},
            "localization (gradient) of the 2 most probable classes in 1 image",
        ),
        ({"method": "fool", "images": IMAGES[:1], "targets": ["bee"]}, "fool as bee in 1 image"),
        ({"method": "patches", "images": {"archive": "0" * 64}}, "patches of the predicted class in an archive"),
        ({"method": "feature_inversion", "images": IMAGES[:1]}, "feature inversion of 4 layers in 1 image"),
        (
            {"method": "feature_inversion", "images": IMAGES[:1], "params": {"layers": ["a", "b"]}},
            "feature inversion of a, b in 1 image",
        ),
        ({"method": "filters", "params": {"layer": "conv1"}}, "filters of conv1"),
        ({"method": "filters"}, "filters of the first convolution"),
        (
            {
                "method": "deep_dream",
                "images": {"prefix": "probes/"},
                "params": {"objective": {"kind": "channel", "layer": "mixed4a", "channel": 7}},
            },
            "deep dream of channel 7 of mixed4a in probes/",
        ),
        (
            {
                "method": "deep_dream",
                "images": IMAGES,
                "targets": [99],
                "params": {"objective": {"kind": "class"}, "preset": "timm_vis"},
            },
            "deep dream of class 99 in 2 images with the preset timm_vis",
        ),
    ],
)
def test_a_title_names_what_distinguishes_a_job(body: dict[str, Any], expected: str) -> None:
    assert title(body) == expected
