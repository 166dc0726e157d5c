"""`patches`: squares, ranks and images of any shape."""

import numpy as np
import pytest
import torch

from shared.errors import Problem
from tests.support.cases import PREPROCESSING
from tests.support.networks import Small, seeded
from tests.support.run_method import Result, noise, work
from worker.engine.attribution.perturbation.patches import average_squares, place_squares


@pytest.mark.parametrize("size", [(20, 60), (60, 20), (9, 9), (3, 200)])
def test_patches_are_cut_out_of_images_of_any_shape(size: tuple[int, int]) -> None:
    picture = noise(*size)
    result = work(seeded(Small), {"method": "patches", "targets": {"top": 2}}, [picture])
    assert len(result.metrics["pairs"]) == 2
    for pair in result.metrics["pairs"]:
        target = pair["target"]["index"]
        for number, patch in enumerate(pair["patches"], 1):
            cut = result.pixels(f"000000000000-{target:04d}-class-{target}-patch-{number}.png")
            assert np.array_equal(cut, picture[patch["top"] : patch["bottom"], patch["left"] : patch["right"]])
            assert cut.shape[:2] == (pair["square"], pair["square"])


def test_squares_lie_within_the_image_row_by_row() -> None:
    squares = place_squares((5, 8), 4, 2)
    assert squares.tolist() == [[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4]]
    with pytest.raises(ValueError, match="does not fit"):
        place_squares((5, 3), 4, 2)


def test_a_pixel_has_the_mean_of_the_squares_that_cover_it() -> None:
    values = average_squares(torch.tensor([1.0, 3.0]), torch.tensor([[0, 0, 2, 2], [1, 0, 3, 2]]), (3, 4))
    assert values.tolist() == [[1, 2, 3, 0], [1, 2, 3, 0], [0, 0, 0, 0]]


def test_marks_and_heat_maps_lie_where_the_patches_are_on_a_narrow_image() -> None:
    picture = np.full((2000, 30, 3), 200, np.uint8)
    picture[1700:1730] = noise(30, 30)
    result = work(seeded(Small), {"method": "patches", "params": {"square": 30, "stride": 30, "count": 1}}, [picture])
    (pair,) = result.metrics["pairs"]
    target = pair["target"]["index"]
    heat_map = result.pixels(f"000000000000-{target:04d}-class-{target}-heat-map.png").sum((1, 2)).astype(int)
    middle = (pair["patches"][0]["top"] + 15) * len(heat_map) / 2000
    assert abs(int(heat_map.argmax()) - middle) <= 6


CROPPED = {"square": 16, "stride": 8}


class Brightness(torch.nn.Module):
    """The first class likes a bright left half and a dark right half, the third does not depend on the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x[:, :, :, :16].mean((1, 2, 3)), x[:, :, :, 16:].mean((1, 2, 3))
        return torch.stack([10 * (left - right), 10 * (right - left), 0 * left], 1) * torch.ones(3)


def cover(*, rank: str, target: int, network: torch.nn.Module | None = None) -> Result:
    picture = np.full((32, 32, 3), 200, np.uint8)
    body = {"method": "patches", "targets": [target], "params": {**CROPPED, "fill": 0, "rank": rank}}
    return work(network or Brightness(), body, [picture], classes=3, preprocessing=PREPROCESSING)


def test_the_heat_map_shows_falls_and_rises_in_two_colors_and_the_rank_decides_about_the_patches() -> None:
    for rank, has_rises in (("change", True), ("fall", False)):
        result = cover(rank=rank, target=0)
        (pair,) = result.metrics["pairs"]
        assert any(patch["fall"] < 0 for patch in pair["patches"]) == has_rises
        assert not pair["empty"]
        assert min(side["share"] for side in pair["evidence"].values()) > 0.3
        heat_map = result.pixels("000000000000-0000-class-0-heat-map.png").astype(int)
        red_minus_green = heat_map[..., 0] - heat_map[..., 1]
        assert red_minus_green[:, :8].mean() > 30 > -30 > red_minus_green[:, -8:].mean()


def test_a_class_that_no_square_changes_has_no_patches() -> None:
    class Constant(Brightness):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * torch.tensor([0.0, 0.0, 1.0]) + torch.tensor([1.0, 2.0, 3.0])

    result = cover(rank="change", target=2, network=Constant())
    (pair,) = result.metrics["pairs"]
    assert (pair["empty"], pair["patches"]) == (True, [])
    assert "never changes the probability of class class 2" in result.warnings[0]


def test_a_picture_that_gives_nan_when_it_is_covered_fails() -> None:
    class Divided(Brightness):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / (x.amin((1, 2, 3)) > 0)[:, None]

    with pytest.raises(Problem, match="when a square of it is covered") as raised:
        cover(rank="change", target=0, network=Divided())
    assert raised.value.document.type == "/problems/not-finite"
