"""Windows onto pictures."""

import pytest
import torch

from worker.engine.transform import Whole, Window

MIDDLE = torch.full((1, 4), 0.5)


def ramp(height: int, width: int) -> torch.Tensor:
    """A picture whose first channel is its column and whose second its row, in pixels."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows, rows * 0]).float()[None]


def test_the_whole_is_the_picture() -> None:
    assert torch.equal(Whole()(ramp(4, 5), torch.zeros(1, 0)), ramp(4, 5))


def test_the_middle_window_at_scale_one_is_the_centre_crop() -> None:
    seen = Window((8, 6), (1, 1), 0)(ramp(16, 20), MIDDLE)
    torch.testing.assert_close(seen, ramp(16, 20)[:, :, 4:12, 7:13])


@pytest.mark.parametrize(("corner", "rows", "columns"), [((0, 0), (0, 8), (0, 6)), ((1, 1), (8, 16), (14, 20))])
def test_a_window_reaches_the_corners_and_not_beyond(corner, rows, columns) -> None:
    random = torch.tensor([[0.5, 0.5, *corner]])
    seen = Window((8, 6), (1, 1), 0)(ramp(16, 20), random)
    torch.testing.assert_close(seen, ramp(16, 20)[:, :, slice(*rows), slice(*columns)], atol=1e-4, rtol=1e-4)


def test_magnification_enlarges() -> None:
    seen = Window((8, 8), (2, 2), 0)(ramp(16, 16), MIDDLE)
    steps = seen[0, 0, 0].diff()
    torch.testing.assert_close(steps, torch.full((7,), 0.5))


def test_scales_are_drawn_between_the_two() -> None:
    window = Window((8, 8), (0.5, 2), 0)
    random = MIDDLE.repeat(3, 1)
    random[:, 0] = torch.tensor([0.0, 0.5, 1.0])
    steps = window(ramp(64, 64).repeat(3, 1, 1, 1), random)[:, 0, 4].diff(dim=1).mean(1)
    torch.testing.assert_close(steps, torch.tensor([2.0, 1.0, 0.5]), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_a_turn_keeps_shapes_as_they_are(size: tuple[int, int]) -> None:
    random = torch.tensor([[0.5, 1.0, 0.5, 0.5]])
    seen = Window((6, 6), (1, 1), 90)(ramp(*size), random)
    height, width = size
    middle = ramp(*size)[:, :, height // 2 - 3 : height // 2 + 3, width // 2 - 3 : width // 2 + 3]
    torch.testing.assert_close(seen, middle.rot90(1, (2, 3)), atol=1e-3, rtol=1e-3)
