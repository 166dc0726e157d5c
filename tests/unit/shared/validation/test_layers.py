"""Checks of the layers, channels and filters in a request."""

from typing import Any

import pytest

from archetype.contract.model import Description, Layer
from archetype.contract.request import REQUEST
from shared.catalogue.catalogue import load_catalogue
from shared.errors import InvalidRequest
from shared.validation.layers import check_layers

RELEASE = load_catalogue(None).find("shapes")
CONVOLUTION = Layer(name="features.0", kind="Conv2d", shape=[16, 80, 80], channels=16, filters=16)


def described(*layers: Layer) -> Description:
    return Description(sha256="0" * 64, parameters=1, layers=list(layers))


DESCRIBED = described(Layer(name="features", kind="ModuleList"), CONVOLUTION)


def params(method: str, **params: Any) -> Any:
    images = {} if method == "filters" else {"images": ["a" * 64]}
    return REQUEST.validate_python({"method": method, "model": "shapes@1", "params": params, **images}).params


def test_layers_are_not_checked_before_a_worker_has_described_the_release() -> None:
    check_layers(params("activations", layers=["nowhere"]), RELEASE, None)


def test_an_unknown_layer_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InvalidRequest, match="GET /v1/models/shapes lists its layers") as error:
        check_layers(params("activations", layers=["features.1"]), RELEASE, DESCRIBED)
    (field,) = error.value.errors
    assert (field.field, field.given) == ("/params/layers/0", "features.1")
    assert "features.0" in field.allowed


@pytest.mark.parametrize(
    ("layer", "message"),
    [("features", "no output of its own"), ("features.0", "16 channels, there is no channel 16")],
)
def test_a_layer_without_output_or_channel_is_refused(layer: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_layers(params("activations", layers=[layer], channels=[16]), RELEASE, DESCRIBED)


def test_the_last_channel_and_the_last_filter_are_accepted() -> None:
    check_layers(params("activations", layers=["features.0"], channels=[15]), RELEASE, DESCRIBED)
    check_layers(params("filters", layer="features.0", filters=[15]), RELEASE, DESCRIBED)


def test_filters_of_a_layer_that_is_not_a_convolution_are_refused_with_convolutions() -> None:
    with pytest.raises(InvalidRequest, match="ModuleList, not a convolution") as error:
        check_layers(params("filters", layer="features"), RELEASE, DESCRIBED)
    assert error.value.errors[0].allowed == ["features.0"]
    with pytest.raises(InvalidRequest, match="16 filters, there is no filter 16"):
        check_layers(params("filters", layer="features.0", filters=[16]), RELEASE, DESCRIBED)


def test_filters_are_not_checked_if_the_description_does_not_count_them() -> None:
    older = described(CONVOLUTION.model_copy(update={"filters": None}))
    check_layers(params("filters", layer="features.0", filters=[99]), RELEASE, older)
