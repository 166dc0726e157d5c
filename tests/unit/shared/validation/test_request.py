"""Requests are checked against the catalogue, the uploads and the layers of the model."""

from contextlib import nullcontext
from typing import Any

import pytest

from archetype.contract.model import Description, Layer
from archetype.contract.request import Saliency
from archetype.contract.upload import ArchiveFacts, Image
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from shared.errors import InvalidRequest, Problem, UnknownImage, UnknownModel, UnknownTarget
from shared.validation.request import check_request, parse_request


class Shelf:
    """Uploaded images, and a description of `shapes`."""

    def __init__(self, *images: str) -> None:
        self.images = images

    def describe_image(self, image_id: str) -> Image | None:
        return Image(id=image_id, format="PNG", width=80, height=60, bytes=1) if image_id in self.images else None

    def load_description(self, release: Release) -> Description:  # noqa: ARG002
        layers = [
            Layer(name="features", kind="ModuleList"),
            Layer(name="features.0", kind="Conv2d", shape=[16, 80, 80], channels=16, filters=16),
        ]
        return Description(sha256="0" * 64, parameters=1, layers=layers)


def check(body: dict[str, Any], shelf: Shelf) -> None:
    check_request(parse_request(body), load_catalogue(None), shelf, shelf)


GOOD: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": "none"}, UnknownModel),
        ({"model": "shapes@7"}, UnknownModel),
        ({"targets": ["lemming"]}, UnknownTarget),
        ({"targets": [12]}, UnknownTarget),
        ({"params": {"canvas": [96, 64]}}, InvalidRequest),
        ({"params": {"judges": ["none"]}}, UnknownModel),
        ({"params": {"start": "picture", "start_image": "e" * 64}}, UnknownImage),
        ({"targets": "all", "params": {"seeds": list(range(16))}}, None),
    ],
)
def test_a_request_for_something_that_does_not_exist_is_refused(
    change: dict[str, Any], problem: type[Exception] | None
) -> None:
    with pytest.raises(problem) if problem else nullcontext():
        check_request(parse_request(GOOD | change), load_catalogue(None), Shelf(), Shelf())


def test_every_missing_image_is_named() -> None:
    request = Saliency(method="saliency", model="shapes", images=["a" * 64, "b" * 64, "c" * 64])
    with pytest.raises(UnknownImage) as refused:
        check_request(request, load_catalogue(None), Shelf("b" * 64), Shelf("b" * 64))
    assert [error.field for error in refused.value.document.errors] == ["/images/0", "/images/2"]


def test_a_request_without_targets_keeps_them_null_for_the_predicted_class() -> None:
    request = Saliency(method="saliency", model="shapes", images=["a" * 64])
    assert check_request(request, load_catalogue(None), Shelf("a" * 64), Shelf("a" * 64)).targets is None


@pytest.mark.parametrize(
    ("pictures", "options", "field"),
    [
        (9_000, {"params": {"outputs": ["raw"]}}, None),
        (9_000, {}, "/params/outputs"),
        (90_000, {"params": {"outputs": []}}, None),
        (90_000, {"params": {"outputs": []}, "targets": {"top": 5}}, "/images"),
        (9_000, {"method": "localization", "targets": [0], "params": {"outputs": []}}, "/params/outputs"),
    ],
)
def test_a_job_with_too_many_images_or_files_is_refused(
    pictures: int, options: dict[str, Any], field: str | None
) -> None:
    class Archives(Shelf):
        def describe_archive(self, archive_id: str) -> ArchiveFacts:
            return ArchiveFacts(id=archive_id, pictures=pictures, bytes=1)

    body = {"method": "saliency", "model": "shapes", "images": {"archive": "a" * 64}} | options
    if field is None:
        check_request(parse_request(body), load_catalogue(None), Archives(), Archives())
        return
    with pytest.raises(InvalidRequest) as refused:
        check_request(parse_request(body), load_catalogue(None), Archives(), Archives())
    assert refused.value.document.errors[0].field == field


def test_unknown_layers_and_channels_of_a_described_release_are_refused() -> None:
    def check(**term: Any) -> None:
        objective = [{"kind": "channel", "layer": "features.0", "channel": 1} | term]
        check_request(
            parse_request(GOOD | {"params": {"objective": objective}}), load_catalogue(None), Shelf(), Shelf()
        )

    check()
    for wrong, field in (({"layer": "feature.0"}, "/layer"), ({"channel": 16}, "/channel")):
        with pytest.raises(InvalidRequest) as refused:
            check(**wrong)
        assert refused.value.document.errors[0].field == f"/params/objective/0{field}"


def test_the_class_that_a_map_is_contrasted_with_becomes_an_index() -> None:
    shelf, params = Shelf("a" * 64), {"target_minus": "lemon"}
    request = parse_request({"method": "saliency", "model": "shapes", "images": ["a" * 64], "params": params})
    checked = check_request(request, load_catalogue(None), shelf, shelf)
    assert checked.request.params.target_minus == 0
    assert check_request(checked.request, load_catalogue(None), shelf, shelf).request == checked.request


def test_models_and_judges_are_pinned_to_their_releases() -> None:
    request = parse_request(GOOD | {"params": {"judges": ["shapes"]}})
    checked = check_request(request, load_catalogue(None), Shelf(), Shelf())
    assert (checked.request.model, checked.request.params.judges) == ("shapes@1", ["shapes@1"])
    assert [judge.reference for judge in checked.judges] == ["shapes@1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"method": "patches", "params": {"square": 10, "stride": 11}}, "/params"),
        ({"method": "patches", "params": {"fill": "red"}}, "/params/fill"),
        ({"method": "patches", "params": {"fill": 2}}, "/params/fill"),
        ({"method": "patches", "params": {"square": 61}}, "/params/square"),
        ({"method": "fool"}, "/targets"),
        ({"method": "fool", "targets": []}, "/targets"),
        ({"method": "fool", "targets": ["lemming"]}, "/targets/0"),
        (
            {"method": "fool", "targets": [1], "params": {"constraint": {"kind": "l3", "radius": 1}}},
            "/params/constraint/kind",
        ),
        (
            {"method": "fool", "targets": [1], "params": {"constraint": {"kind": "linf", "radius": 0}}},
            "/params/constraint/radius",
        ),
        (
            {"method": "fool", "targets": [1], "params": {"constraint": {"kind": "l2", "weight": 1}}},
            "/params/constraint/weight",
        ),
        ({"method": "fool", "targets": [1], "params": {"min_prob": 1}}, "/params/min_prob"),
        ({"method": "fool", "targets": [1], "params": {"preset": "lucid"}}, "/params/preset"),
        ({"method": "deep_dream", "params": {"objective": {"kind": "class"}}}, ""),
        (
            {"method": "deep_dream", "params": {"objective": {"kind": "channel", "layer": "x"}}},
            "/params/objective/channel",
        ),
        ({"method": "deep_dream", "params": {"objective": {"kind": "norm", "layer": "x"}}}, "/params/objective/layer"),
        ({"method": "deep_dream", "params": {"side": 5000}}, "/params/side"),
        ({"method": "feature_inversion", "params": {"layers": ["x"]}}, "/params/layers/0"),
        ({"method": "feature_inversion", "targets": [1]}, "/targets"),
        ({"method": "feature_inversion", "params": {"alpha_norm": {"alpha": 6}}}, "/params/alpha_norm/weight"),
        ({"method": "activations", "params": {"layers": ["features.0", "features.1"]}}, "/params/layers/1"),
        ({"method": "activations", "params": {"channels": [16], "layers": ["features.0"]}}, "/params/channels"),
        ({"method": "activations", "params": {"channels": "best"}}, "/params/channels"),
        ({"method": "activations", "params": {"layers": ["features"]}}, "/params/layers/0"),
        ({"method": "activations", "params": {"layers": ["features.0", "features.0"]}}, "/params/layers"),
        ({"method": "activations", "images": [{"id": "a" * 64, "targets": [1]}]}, "/images/0/targets"),
        ({"method": "deep_dream", "images": [{"id": "a" * 64, "targets": [1]}]}, "/images/0/targets"),
        ({"method": "patches", "params": {"stride": 50}}, "/params/stride"),
        ({"method": "saliency", "params": {"target_minus": "lemming"}}, "/params/target_minus"),
        ({"method": "localization", "params": {"target_minus": 12}}, "/params/target_minus"),
        ({"method": "saliency", "params": {"kind": "rise", "target_minus": 1}}, "/params"),
        ({"method": "saliency", "params": {"kind": "gradient", "baseline": "uniform"}}, "/params"),
        ({"method": "saliency", "params": {"kind": "rise", "layer": "features.0"}}, "/params"),
        ({"method": "saliency", "params": {"kind": "kernel_shap", "masks": 30_000}}, "/params/masks"),
        (
            {"method": "fool", "targets": [1], "params": {"constraint": {"kind": "linf", "radius": 0.003}}},
            "/params/constraint/radius",
        ),
    ],
)
def test_an_invalid_request_of_any_method_names_the_field(change: dict[str, Any], field: str) -> None:
    image = "a" * 64
    with pytest.raises(Problem) as refused:
        check({"model": "shapes", "images": [image], **change}, Shelf(image))
    assert field in [error.field for error in refused.value.document.errors], refused.value.document


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"layer": "features.9"}, "/params/layer"),
        ({"filters": []}, "/params/filters"),
        ({"filters": [-1]}, "/params/filters/0"),
        ({"side": 512, "count": 1024}, "/params"),
        ({"count": 0}, "/params/count"),
    ],
)
def test_an_invalid_request_of_filters_names_the_field(params: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as refused:
        check({"method": "filters", "model": "shapes", "params": params}, Shelf())
    assert field in [error.field for error in refused.value.document.errors], refused.value.document
