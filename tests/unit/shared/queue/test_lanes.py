"""Which jobs can be computed in one batch."""

from typing import Any

import pytest

from archetype.contract.request import REQUEST
from shared.queue.lanes import name_lane

IMAGE = "a" * 64


def request(method: str = "class_model", **changes: Any) -> Any:
    body = {"method": method, "model": "shapes@1"}
    if method == "class_model":
        body |= {"targets": [1]}
    return REQUEST.validate_python(body | ({"images": [IMAGE]} if method != "class_model" else {}) | changes)


def params(**changes: Any) -> dict[str, Any]:
    return {"params": changes}


@pytest.mark.parametrize(
    "change",
    [
        {"targets": [2, 3]},
        {"priority": "bulk"},
        {"tags": ["a"]},
        params(steps=7),
        params(learning_rate=0.2),
        params(seeds=[1, 2]),
        params(start="zero"),
        params(start_scale=0.5),
        params(schedule={"kind": "cosine"}),
        params(frames=5, extras=False, stills_every=50),
        params(judges=["other"]),
        params(regularizers=[{"kind": "l2", "weight": 0.7, "per_pixel": True}]),
    ],
    ids=str,
)
def test_jobs_that_differ_only_in_values_per_target_are_in_one_lane(change: dict[str, Any]) -> None:
    plain = request(params={"regularizers": [{"kind": "l2", "weight": 0.1, "per_pixel": True}]})
    other = dict(change)
    other["params"] = {"regularizers": [{"kind": "l2", "weight": 0.1, "per_pixel": True}]} | change.get("params", {})
    assert name_lane(request(**other)) == name_lane(plain)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "shapes@2"},
        params(image="pixels"),
        params(canvas=[64, 64]),
        params(octaves=2),
        params(views=2),
        params(optimizer="sgd"),
        params(relu_leak=0),
        params(keep="best"),
        params(stop_probability=0.5),
        params(regularizers=[]),
        params(regularizers=[{"kind": "blur", "every": 4, "radius": 1}]),
        params(transforms=[]),
        params(objective=[{"kind": "probability"}]),
        params(octaves=4, steps=2),
    ],
    ids=str,
)
def test_jobs_whose_forward_passes_differ_are_in_different_lanes(change: dict[str, Any]) -> None:
    assert name_lane(request(**change)) != name_lane(request())
    octaves = params(octaves=4)["params"]
    assert name_lane(request(params=octaves | {"steps": 2})) != name_lane(request(params=octaves))


def test_saliency_and_localization_share_a_lane_if_their_maps_are_the_same() -> None:
    saliency = request("saliency", params={"crops": 10, "view": "whole", "outputs": ["raw"]})
    assert name_lane(saliency) == name_lane(request("localization", params={"crops": 10}))
    assert name_lane(saliency) != name_lane(request("saliency"))
    assert name_lane(request("saliency", params={"metrics": ["deletion"]})) == "shapes@1/saliency"


def test_releases_of_two_tenants_with_the_same_name_have_lanes_of_their_own() -> None:
    lanes = {name_lane(request(), release) for release in (None, "alice/shapes@1", "mallory/shapes@1")}
    assert len(lanes) == 3
    assert name_lane(request(), "shapes@1") == name_lane(request())
