"""Maps without meaning are reported and never shown as results: not finite, empty, or of evidence against the class."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import Problem
from tests.support.cases import PREPROCESSING, build_case
from tests.support.run_method import Result, noise, work

FLAT = np.full((32, 32, 3), 128, np.uint8)
BOX = {"left": 0, "top": 0, "right": 16, "bottom": 32}
METRICS = ["deletion", "insertion", "pointing", "randomization"]


def run(
    network: nn.Module, pictures: list[Any], *, method: str = "saliency", targets: Any = None, **params: Any
) -> Result:
    body = {"method": method, "params": params} | ({"targets": targets} if targets is not None else {})
    return work(network.eval(), body, pictures, classes=3, preprocessing=PREPROCESSING)


def read_strictly(data: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(data, parse_constant=refuse)


METHODS: dict[str, dict[str, Any]] = {
    "saliency": {},
    "localization": {"crops": 1},
    "patches": {"square": 16, "stride": 8},
    "activations": {},
    "fool": {"steps": 2},
    "deep_dream": {"steps": 2, "octaves": 1, "side": 32},
    "feature_inversion": {"steps": 2, "layers": ["body.0"]},
}
WITH_TARGETS = {"saliency", "localization", "patches", "fool"}


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_with_scores_of_nan_fails_alone(method: str) -> None:
    targets = [1] if method in WITH_TARGETS else None
    network = build_case("per_image_std")
    result = run(network, [noise(32, 32), FLAT], method=method, targets=targets, **METHODS[method])
    (failed,) = result.metrics["failed"]
    assert failed["image"].startswith("000000000001")
    assert failed["error"]["type"] == "/problems/not-finite"
    assert "gives NaN for this picture" in failed["error"]["detail"]
    assert not [name for name in result.files if name.startswith("000000000001")]
    assert any(name.startswith("000000000000") for name in result.files)
    assert read_strictly(result.files["metrics.json"])["failed"] == result.metrics["failed"]


@pytest.mark.parametrize("method", METHODS)
def test_a_job_of_such_pictures_alone_fails_with_this_problem(method: str) -> None:
    with pytest.raises(Problem, match="gives NaN for this picture") as raised:
        run(
            build_case("per_image_std"), [FLAT], method=method,
            targets=[1] if method in WITH_TARGETS else None, **METHODS[method],
        )  # fmt: skip
    assert raised.value.document.type == "/problems/not-finite"


class Infinite(nn.Module):
    """The score of the second class is infinite for dark pictures."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, 1 / (mean - mean.clamp(max=0.2)), -mean], 1)


def test_a_picture_with_an_infinite_score_fails_alone() -> None:
    result = run(Infinite(), [noise(32, 32), FLAT // 8], targets=[0])
    (failed,) = result.metrics["failed"]
    assert failed["image"].startswith("000000000001")
    assert "an infinite score" in failed["error"]["detail"]
    assert "class 1" in failed["error"]["detail"]


@pytest.mark.parametrize("method", ["saliency", "localization"])
def test_a_map_of_nan_is_a_failure_and_never_a_black_picture(method: str) -> None:
    with pytest.raises(Problem, match=r"deconvnet map of class class 0 for picture 0000.* NaN or infinite") as raised:
        run(build_case("sqrt_grad"), [noise(32, 32)], method=method, targets=[0], crops=1, kind="deconvnet")
    assert raised.value.document.type == "/problems/not-finite"


def test_guided_backpropagation_is_finite_where_the_gradient_is() -> None:
    for kind in ("gradient", "guided"):
        result = run(build_case("sqrt_grad"), [noise(32, 32)], targets=[0], kind=kind)
        assert np.isfinite(result.arrays("000000000000-0000-class-0.npz")["view"]).all()


class HalfSharp(nn.Module):
    """The gradient of the second class is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return _SharpSecond.apply(self.layer(x).mean((2, 3)))


class _SharpSecond(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, scores: Tensor) -> Tensor:
        return scores.clone()

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return gradient / (gradient[:, 1:2] == 0)


def test_a_map_of_nan_fails_for_its_own_target_alone() -> None:
    result = run(HalfSharp(), [noise(32, 32)], targets=[1, 2])
    assert [pair["target"]["index"] for pair in result.metrics["pairs"]] == [2]
    (failed,) = result.metrics["failed"]
    assert (failed["target"]["index"], failed["error"]["type"]) == (1, "/problems/not-finite")
    assert not [name for name in result.files if "0001-class-1" in name]


def test_an_all_zero_map_is_saved_and_reported() -> None:
    network, picture = build_case("negative_evidence"), noise(32, 32)
    images = [{"id": "0" * 64, "boxes": [BOX]}]
    result = work(
        network,
        {"method": "saliency", "images": images, "targets": [0, 1], "params": {"kind": "grad_cam", "metrics": METRICS}},
        [picture], classes=3, preprocessing=PREPROCESSING,
    )  # fmt: skip
    empty, full = result.metrics["pairs"]
    assert (empty["empty"], full["empty"]) == (True, False)
    assert [empty[name] for name in ("deletion_auc", "insertion_auc", "randomized_rank_correlation")] == [None] * 3
    assert isinstance(full["deletion_auc"], float)
    assert result.metrics["measures"]["deletion_auc"]["mean"] == pytest.approx(full["deletion_auc"])
    (warning,) = result.warnings
    assert all(part in warning for part in ("grad_cam", "class 0", "0000", "zero everywhere"))
    assert not result.arrays("000000000000-0000-class-0.npz")["view"].any()


def test_an_empty_map_points_nowhere_and_its_metrics_are_null() -> None:
    images = [{"id": "0" * 64, "boxes": [BOX]}]
    result = work(
        build_case("negative_evidence"),
        {"method": "saliency", "images": images, "targets": [0], "params": {"kind": "grad_cam", "metrics": METRICS}},
        [noise(32, 32)], classes=3, preprocessing=PREPROCESSING,
    )  # fmt: skip
    (pair,) = result.metrics["pairs"]
    assert pair["pointing"] is False
    assert result.metrics["measures"]["insertion_auc"] == {"mean": None, "low": None, "high": None}
    assert "measures.png" not in result.files


def test_localization_draws_no_box_from_an_empty_map() -> None:
    result = run(
        build_case("negative_evidence"), [noise(32, 32)], method="localization", targets=[0], kind="grad_cam", crops=1
    )
    (pair,) = result.metrics["pairs"]
    assert (pair["box"], pair["empty"]) == (None, True)
    assert not result.pixels("000000000000-0000-class-0-mask.png").any()


def test_a_constant_map_is_empty_too() -> None:
    # The gradient of the difference of two means has the same magnitude at every pixel.
    result = run(build_case("left_minus_right"), [noise(40, 60)], method="localization", targets=[0, 2], crops=1)
    assert [(pair["box"], pair["empty"]) for pair in result.metrics["pairs"]] == [(None, True)] * 2
    assert ["same value everywhere" in sentence for sentence in result.warnings] == [True, False]


def test_box_and_heat_map_of_occlusion_lie_where_covering_lowers_the_score() -> None:
    picture, params = noise(32, 32), {"kind": "occlusion", "square": 4, "stride": 4, "fill": 0}
    network = build_case("left_minus_right")
    located = run(network, [picture], method="localization", targets=[0], crops=1, **params)
    (pair,) = located.metrics["pairs"]
    assert pair["box"]["right"] <= 17
    mapped = work(
        network, {"method": "saliency", "images": [{"id": "0" * 64, "boxes": [BOX]}], "targets": [0],
                  "params": params | {"metrics": METRICS}},
        [picture], classes=3, preprocessing=PREPROCESSING,
    )  # fmt: skip
    (pair,) = mapped.metrics["pairs"]
    assert pair["pointing"] is True
    assert pair["evidence"]["positive"]["share"] == pytest.approx(0.5, abs=0.1)
    assert pair["evidence"]["negative"]["largest"] > 0
    raw = mapped.arrays("000000000000-0000-class-0.npz")["view"]
    assert (raw[:, :16] >= 0).all()
    assert (raw[:, 16:] <= 0).all()
    heat_map = mapped.pixels("000000000000-0000-class-0-heat-map.png").astype(int)
    red_minus_green = heat_map[..., 0] - heat_map[..., 1]
    assert red_minus_green[:, :16].min() >= -4  # pale yellow
    assert red_minus_green[:, 16:].max() <= 0
    assert red_minus_green[:, :16].mean() > 40 > -40 > red_minus_green[:, 16:].mean()


def test_evidence_against_a_class_alone_is_no_evidence_for_it() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:] = noise(32, 16)
    result = run(
        build_case("left_minus_right"), [picture], method="saliency", targets=[0], kind="occlusion", square=4, stride=4
    )
    (pair,) = result.metrics["pairs"]
    assert pair["empty"]
    assert pair["evidence"]["positive"] == {"largest": 0, "share": 0}
    assert pair["evidence"]["negative"]["share"] == 1
    assert "no positive values" in result.warnings[0]


def test_the_agreement_of_constant_maps_is_null() -> None:
    result = run(build_case("left_minus_right"), [noise(32, 32)], targets=[2], precision="bfloat16")
    assert result.metrics["agreement_with_float32"] == {"least": None, "mean": None}


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"kind": "guided"}, "guided"),
        ({"kind": "deconvnet"}, "deconvnet"),
        ({"kind": "smoothgrad", "gradient": "guided", "samples": 2}, "guided"),
    ],
)
def test_the_metrics_say_how_many_activations_had_the_rule(params: dict[str, Any], rule: str) -> None:
    result = run(build_case("mixed_activations"), [noise(32, 32)], targets=[0], **params)
    counts = {"rule": rule, "with_rule": 1, "without_rule": 2, "others": {"silu": 2}}
    assert result.metrics["activations"] == counts
    (warning,) = result.warnings
    assert "1 of 3 activations" in warning
    assert "2 x silu" in warning


@pytest.mark.parametrize("name", ["clamp_relus", "plain"])
def test_a_network_of_relus_alone_gives_no_warning(name: str) -> None:
    result = run(build_case(name), [noise(32, 32)], targets=[0], kind="guided")
    assert result.metrics["activations"]["without_rule"] == 0
    assert result.warnings == []


def test_relus_written_as_clamp_give_the_guided_map_of_f_relu() -> None:
    class Twin(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            parts: Any = self.network
            return parts.fc(torch.relu(parts.b(torch.relu(parts.a(x)))).mean((2, 3)))

    clamped = build_case("clamp_relus")
    one, two, plain = (
        run(network, [noise(32, 32)], targets=[0], kind=kind).arrays("000000000000-0000-class-0.npz")["view"]
        for network, kind in ((clamped, "guided"), (Twin(clamped), "guided"), (clamped, "gradient"))
    )
    np.testing.assert_allclose(one, two, atol=1e-7)
    assert np.abs(one - plain).max() > 1e-4


def test_a_relu6_that_is_changed_in_place_works_with_guided_backpropagation_and_class_models() -> None:
    network = build_case("hswish_inplace")
    assert run(network, [noise(32, 32)], targets=[0], kind="guided").metrics["activations"]["with_rule"] == 1
    body = {"method": "class_model", "targets": [1], "params": {"steps": 3, "relu_leak": 0.3, "extras": False}}
    result = work(network, body, classes=3, preprocessing=PREPROCESSING)
    assert result.metrics["targets"][0]["steps"] == 3
