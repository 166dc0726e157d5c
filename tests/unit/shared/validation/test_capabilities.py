"""A request that the network cannot serve is refused with the reason."""

from typing import Any

import pytest

from archetype.contract.model import Capability, Description
from archetype.contract.request import REQUEST, AnyRequest
from shared.catalogue.release import Release
from shared.errors import InvalidRequest
from shared.validation.capabilities import check_capabilities

RELEASE = Release(name="odd", architecture="factory:odd", classes=["a", "b"])
REASON = "the scores have no gradient"


def describe(*capabilities: Capability) -> Description:
    return Description(sha256="0" * 64, parameters=1, layers=[], capabilities=list(capabilities))


TRIED = describe(
    Capability(method="saliency", kind="gradient", available=False, reason=REASON),
    Capability(method="saliency", kind="guided", available=False, reason="the network has no ReLU"),
    Capability(method="saliency", kind="smoothgrad", available=True),
    Capability(method="saliency", kind="occlusion", available=True),
    Capability(method="class_model", available=False, reason=REASON),
    Capability(method="filters", available=True),
)


def request(method: str, **params: Any) -> AnyRequest:
    inputs: dict[str, Any] = {"images": ["a" * 64]} if method in ("saliency", "localization") else {}
    inputs |= {"targets": ["a"]} if method == "class_model" else {}
    return REQUEST.validate_python({"method": method, "model": "odd", "params": params, **inputs})


@pytest.mark.parametrize("method", ["saliency", "localization"])
def test_an_unavailable_kind_is_refused_with_the_kinds_that_work(method: str) -> None:
    with pytest.raises(InvalidRequest, match=REASON) as caught:
        check_capabilities(request(method, kind="gradient"), RELEASE, TRIED)
    (error,) = caught.value.errors
    assert (error.field, error.given, error.allowed) == ("/params/kind", "gradient", ["smoothgrad", "occlusion"])


def test_an_unavailable_method_and_an_unavailable_gradient_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="'class_model' does not work with odd@1"):
        check_capabilities(request("class_model"), RELEASE, TRIED)
    with pytest.raises(InvalidRequest, match="no ReLU"):
        check_capabilities(request("saliency", kind="smoothgrad", gradient="guided"), RELEASE, TRIED)


def test_what_works_or_was_not_tried_is_accepted() -> None:
    check_capabilities(request("saliency", kind="occlusion"), RELEASE, TRIED)
    check_capabilities(request("filters"), RELEASE, TRIED)
    for description in (None, describe(), TRIED.model_copy(update={"capabilities": None})):
        check_capabilities(request("class_model"), RELEASE, description)


def test_a_composite_kind_with_the_true_gradient_needs_no_capability_of_its_own_gradient() -> None:
    tried = describe(
        Capability(method="saliency", kind="gradient", available=True),
        Capability(method="saliency", kind="smoothgrad", available=True),
    )
    check_capabilities(request("saliency", kind="smoothgrad"), RELEASE, tried)
