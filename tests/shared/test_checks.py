"""Every wrong request is refused with the field, what was given and what is allowed."""

from contextlib import nullcontext
from typing import Any

import pytest

from shared.catalogue import load_catalogue
from shared.checks import check_request, parse_request
from shared.errors import InvalidRequest, Problem, UnknownImage, UnknownModel, UnknownTarget
from shared.methods import MENU, Saliency
from shared.storage import Description, Layer
from shared.uploads import ArchiveFacts, Image


class Shelf:
    """What is stored: some pictures, and what a worker saw of `shapes`."""

    def __init__(self, *images: str) -> None:
        self.images = images

    def describe_image(self, image_id: str) -> Image | None:
        return Image(id=image_id, format="PNG", width=80, height=60, bytes=1) if image_id in self.images else None

    def load_description(self, name: str, release: str) -> Description:  # noqa: ARG002
        layers = [
            Layer(name="features", kind="ModuleList"),
            Layer(name="features.0", kind="Conv2d", shape=[16, 80, 80], channels=16, filters=16),
        ]
        return Description(sha256="0" * 64, parameters=1, layers=layers)


FINE = {"kind": "linf", "radius": 0.003}
"""Less than a level."""


def check(body: dict[str, Any], shelf: Shelf) -> None:
    check_request(parse_request(body), load_catalogue(None), shelf, shelf)


GOOD: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"]}


@pytest.mark.parametrize(
    ("change", "field", "given", "allowed"),
    [
        ({"method": "dream"}, "/method", "dream", list(MENU)),
        ({"params": {"steps": 10**9}}, "/params/steps", 10**9, {"le": 10000}),
        ({"params": {"steps": 0}}, "/params/steps", 0, {"ge": 1}),
        ({"params": {"learning_rate": -1}}, "/params/learning_rate", -1, {"gt": 0.0}),
        ({"params": {"learning_rate": float("nan")}}, "/params/learning_rate", None, None),
        (
            {"params": {"start": "random"}},
            "/params/start",
            "random",
            {"expected": "'zero', 'mean', 'noise', 'uniform' or 'picture'"},
        ),
        ({"params": {"canvas": [7, 80]}}, "/params/canvas/0", 7, {"ge": 8}),
        ({"params": {"transforms": [{"kind": "window", "scale": [2, 1]}]}}, "/params/transforms/0", None, None),
        ({"params": {"transforms": [{"kind": "warp"}]}}, "/params/transforms/0/kind", "warp", None),
        ({"params": {"transforms": [{"kind": "window"}, {"kind": "crop"}]}}, "/params", None, None),
        ({"params": {"preset": "lucent"}}, "/params/preset", "lucent", None),
        ({"params": {"preset": "maco", "priors": [{"kind": "l2", "weight": 1}]}}, "/params", None, None),
        ({"params": {"preset": "maco", "octaves": 2}}, "/params", None, None),
        ({"params": {"priors": [{"kind": "l2", "weight": -1}]}}, "/params/priors/0/weight", -1, {"ge": 0.0}),
        ({"params": {"eight_bits": True}}, "/params", None, None),
        ({"params": {"start": "picture"}}, "/params", None, None),
        ({"params": {"steps": 1000, "stills_every": 2}}, "/params", None, None),
        ({"targets": []}, "/targets", [], None),
        ({"targets": "lemon"}, "/targets", "lemon", None),
        ({"targets": [-1]}, "/targets/0", -1, None),
        ({"targets": [True]}, "/targets/0", True, None),
        ({"priority": "now"}, "/priority", "now", None),
        ({"tags": ["a b"]}, "/tags/0", "a b", None),
        ({"images": []}, "/images", [], None),
    ],
)
def test_what_does_not_fit_the_menu_is_named(change: dict[str, Any], field: str, given: Any, allowed: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(GOOD | change)
    (error,) = refused.value.document.errors
    assert error.field == field
    assert field in refused.value.detail
    if given is not None:
        assert error.given == given
    if allowed is not None:
        assert error.allowed == allowed


def test_an_unknown_parameter_of_a_part_is_refused_with_the_parts_own_names() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(GOOD | {"params": {"transforms": [{"kind": "window", "rotatoin": 3}]}})
    (error,) = refused.value.document.errors
    assert (error.field, error.allowed) == (
        "/params/transforms/0/rotatoin",
        ["kind", "scale", "resolution", "rotation"],
    )
    assert "did you mean rotation" in error.detail


def test_an_unknown_parameter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(GOOD | {"params": {"learnin_rate": 1}})
    (error,) = refused.value.document.errors
    assert error.field == "/params/learnin_rate"
    assert "did you mean learning_rate" in error.detail
    assert "steps" in error.allowed


@pytest.mark.parametrize(
    "change",
    [{"model": "\ud800"}, {"targets": ["\udfff"]}, {"\ud800": 1}, {"params": {"\ud800": {"\ud801": []}}}],
    ids=ascii,
)
def test_text_that_is_no_unicode_is_refused_in_text_that_is(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(GOOD | change)
    assert "ud8" in (text := refused.value.document.model_dump_json()) or "udf" in text


@pytest.mark.parametrize("body", [None, 3, "x", [], [GOOD]])
def test_what_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(body)


def test_a_long_value_is_not_echoed_whole() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(GOOD | {"model": "x" * 100_000})
    assert len(refused.value.document.model_dump_json()) < 2000


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
def test_what_the_catalogue_does_not_have_is_refused(change: dict[str, Any], problem: type[Exception] | None) -> None:
    with pytest.raises(problem) if problem else nullcontext():
        check_request(parse_request(GOOD | change), load_catalogue(None), Shelf(), Shelf())


def test_every_missing_picture_is_named() -> None:
    request = Saliency(method="saliency", model="shapes", images=["a" * 64, "b" * 64, "c" * 64])
    with pytest.raises(UnknownImage) as refused:
        check_request(request, load_catalogue(None), Shelf("b" * 64), Shelf("b" * 64))
    assert [error.field for error in refused.value.document.errors] == ["/images/0", "/images/2"]


def test_without_targets_the_prediction_is_the_target() -> None:
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
def test_no_job_looks_at_more_than_it_may(pictures: int, options: dict[str, Any], field: str | None) -> None:
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


def test_layers_and_channels_are_known_once_a_worker_has_described_the_release() -> None:
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


def test_models_are_pinned_to_their_releases() -> None:
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
        ({"method": "fool", "targets": [1], "params": {"bound": {"kind": "l3", "radius": 1}}}, "/params/bound/kind"),
        (
            {"method": "fool", "targets": [1], "params": {"bound": {"kind": "linf", "radius": 0}}},
            "/params/bound/radius",
        ),
        ({"method": "fool", "targets": [1], "params": {"bound": {"kind": "l2", "weight": 1}}}, "/params/bound/weight"),
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
        (
            {"method": "fool", "targets": [1], "params": {"bound": {"kind": "linf", "radius": 0.003}}},
            "/params/bound/radius",
        ),
    ],
)
def test_every_method_says_what_is_wrong(change: dict[str, Any], field: str) -> None:
    image = "a" * 64
    with pytest.raises(Problem) as refused:
        check({"model": "shapes", "images": [image], **change}, Shelf(image))
    assert field in [error.field for error in refused.value.document.errors], refused.value.document


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"layer": "features.9"}, "/params/layer"), ({"filters": []}, "/params/filters"),
        ({"filters": [-1]}, "/params/filters/0"), ({"side": 512, "count": 1024}, "/params"),
        ({"count": 0}, "/params/count"),
    ],
)  # fmt: skip
def test_filters_says_what_is_wrong(params: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as refused:
        check({"method": "filters", "model": "shapes", "params": params}, Shelf())
    assert field in [error.field for error in refused.value.document.errors], refused.value.document
