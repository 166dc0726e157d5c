"""Which jobs share a batch, and how they are cut."""

from typing import Any

import pytest

from shared.lanes import ALONE, SHARE, cut, name_lane
from shared.methods import REQUEST

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
        {"targets": [2, 3]}, {"priority": "bulk"}, {"tags": ["a"]}, params(steps=7), params(learning_rate=0.2),
        params(seeds=[1, 2]), params(start="zero"), params(start_scale=0.5), params(schedule={"kind": "cosine"}),
        params(frames=5, extras=False, stills_every=50), params(judges=["other"]),
        params(priors=[{"kind": "l2", "weight": 0.7, "per_pixel": True}]),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_each_targets_own_never_splits_a_lane(change: dict[str, Any]) -> None:
    plain = request(params={"priors": [{"kind": "l2", "weight": 0.1, "per_pixel": True}]})
    other = dict(change)
    other["params"] = {"priors": [{"kind": "l2", "weight": 0.1, "per_pixel": True}]} | change.get("params", {})
    assert name_lane(request(**other)) == name_lane(plain)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "shapes@2"}, params(image="pixels"), params(canvas=[64, 64]), params(octaves=2), params(views=2),
        params(optimizer="sgd"), params(relu_leak=0), params(keep="best"), params(stop_probability=0.5),
        params(priors=[]), params(priors=[{"kind": "blur", "every": 4, "radius": 1}]), params(transforms=[]),
        params(objective=[{"kind": "probability"}]), params(octaves=4, steps=2),
    ],
    ids=str,
)  # fmt: skip
def test_what_shapes_a_pass_through_the_network_does(change: dict[str, Any]) -> None:
    assert name_lane(request(**change)) != name_lane(request())
    octaves = params(octaves=4)["params"]
    assert name_lane(request(params=octaves | {"steps": 2})) != name_lane(request(params=octaves))


def test_maps_of_saliency_and_localization_share_a_lane_where_they_are_the_same() -> None:
    saliency = request("saliency", params={"crops": 10, "view": "whole", "outputs": ["raw"]})
    assert name_lane(saliency) == name_lane(request("localization", params={"crops": 10}))
    assert name_lane(saliency) != name_lane(request("saliency"))
    assert name_lane(request("saliency", params={"measures": ["deletion"]})) == "shapes@1/saliency"


def test_a_job_of_many_targets_is_cut_into_shares_of_about_the_same_size() -> None:
    assert cut(request(), [7]) == ([1], 1)
    assert cut(request(), list(range(10))) == ([5, 5], 1)
    assert cut(request(params={"seeds": [0, 1, 2]}), [1, 2, 3]) == ([2, 1], 3)
    shares, weight = cut(request(), list(range(1000)))
    assert (sum(shares), max(shares), weight) == (1000, SHARE, 1)
    assert cut(request(params={"seeds": list(range(16))}), [1, 2]) == ([1, 1], 16)


def test_pairs_take_a_place_each_and_what_shares_nothing_wants_a_worker_for_itself() -> None:
    assert cut(request("saliency", images=[IMAGE, "b" * 64]), [1, 2]) == ([4], 1)
    assert cut(request("saliency", targets={"top": 3}), None) == ([3], 1)
    assert cut(request("saliency", images={"archive": IMAGE}), None) == ([1], ALONE)
    assert cut(request("deep_dream"), None) == ([1], ALONE)
