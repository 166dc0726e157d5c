"""Transforms on images whose pixels encode their positions."""

import pytest
import torch

from worker.engine.ascent.transforms import (
    BoxCrop,
    Chain,
    Compose,
    Crop,
    Jitter,
    Noise,
    Pad,
    Roll,
    Rotate,
    Scale,
    Window,
    fit,
)

MIDDLE = torch.full((1, 4), 0.5)


def ramp(height: int, width: int) -> torch.Tensor:
    """An image whose first channel is the column and whose second is the row, in pixels."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows, rows * 0]).float()[None]


def test_a_chain_without_steps_returns_the_image() -> None:
    assert torch.equal(Chain((4, 5))(ramp(4, 5), torch.zeros(1, 0)), ramp(4, 5))


def test_a_chain_scales_its_result_to_the_networks_input_size() -> None:
    chain = Chain((6, 7), (Pad(2), Jitter(3), Scale((0.5, 2.0))))
    assert chain.draws == 3
    assert chain(ramp(9, 9).repeat(2, 1, 1, 1), torch.rand(2, 3)).shape == (2, 3, 6, 7)


def test_a_chain_uses_each_images_own_random_numbers() -> None:
    chain = Chain((4, 4), (Crop((4, 4)),))
    view = chain(ramp(8, 8).repeat(2, 1, 1, 1), torch.tensor([[0.0, 0.0], [0.999, 0.999]]))
    assert torch.equal(view[0], ramp(8, 8)[0, :, :4, :4])
    assert torch.equal(view[1], ramp(8, 8)[0, :, 4:, 4:])


@pytest.mark.parametrize("part", [Jitter(8), Pad(9)])
def test_jitter_and_padding_refuse_an_image_that_is_too_small(part) -> None:
    with pytest.raises(ValueError, match=r"an image of \(8, 9\)"):
        part(ramp(8, 9), [0.5, 0.5])


@pytest.mark.parametrize("number", [0.0, 0.3, 0.7, 0.9999999])
def test_jitter_removes_rows_and_columns_and_adds_none(number: float) -> None:
    view = Jitter(3)(ramp(8, 9), [number, number])
    place = int(number * 4)
    assert torch.equal(view, ramp(8, 9)[:, :, place : place + 5, place : place + 6])


def test_padding_is_one_value_or_the_reflection() -> None:
    assert (Pad(1, fill=0.5)(ramp(3, 3), [])[0, 0, 0] == 0.5).all()
    assert Pad(1)(ramp(3, 3), [])[0, 0, 0].tolist() == [1, 0, 1, 2, 1]


def test_rotation_by_90_degrees_equals_rot90() -> None:
    torch.testing.assert_close(Rotate((90,))(ramp(6, 6), [0.5]), ramp(6, 6).rot90(1, (2, 3)), atol=1e-3, rtol=1e-3)


def test_scale_picks_one_of_its_factors() -> None:
    assert [Scale((0.5, 1, 2))(ramp(8, 6), [number]).shape[2:] for number in (0.1, 0.5, 0.99)] == [
        (4, 3),
        (8, 6),
        (16, 12),
    ]


def test_a_centered_box_crop_shows_the_center() -> None:
    random = torch.tensor([[0.999999, 0.999999, 0.25, 0.25, 0.0]])  # no deviation, the smallest side
    view = BoxCrop((8, 8), (0.5, 0.6))(ramp(32, 32), random)
    torch.testing.assert_close(view[0, 0, 4], fit(ramp(32, 32)[..., 8:24, 8:24], (8, 8))[0, 0, 4], atol=1, rtol=0.05)


def test_noise_depends_only_on_its_random_number() -> None:
    noise = Compose(Chain((8, 8)), Noise(0.1))
    one = noise(torch.zeros(2, 3, 8, 8), torch.tensor([[0.2], [0.7]]))
    other = noise(torch.zeros(1, 3, 8, 8), torch.tensor([[0.7]]))
    assert torch.equal(one[1], other[0])
    assert not torch.equal(one[0], one[1])
    assert one.std() == pytest.approx(0.1 * (1 + 1 / 12) ** 0.5, rel=0.15)


def test_a_centered_window_at_scale_one_is_the_center_crop() -> None:
    view = Window((8, 6), (1, 1), 0)(ramp(16, 20), MIDDLE)
    torch.testing.assert_close(view, ramp(16, 20)[:, :, 4:12, 7:13])


@pytest.mark.parametrize(("corner", "rows", "columns"), [((0, 0), (0, 8), (0, 6)), ((1, 1), (8, 16), (14, 20))])
def test_a_window_reaches_the_corners_of_the_image_and_not_beyond(corner, rows, columns) -> None:
    random = torch.tensor([[0.5, 0.5, *corner]])
    view = Window((8, 6), (1, 1), 0)(ramp(16, 20), random)
    torch.testing.assert_close(view, ramp(16, 20)[:, :, slice(*rows), slice(*columns)], atol=1e-4, rtol=1e-4)


def test_a_window_with_magnification_two_enlarges_twice() -> None:
    view = Window((8, 8), (2, 2), 0)(ramp(16, 16), MIDDLE)
    steps = view[0, 0, 0].diff()
    torch.testing.assert_close(steps, torch.full((7,), 0.5))


def test_a_windows_scale_is_log_uniform_between_its_limits() -> None:
    window = Window((8, 8), (0.5, 2), 0)
    random = MIDDLE.repeat(3, 1)
    random[:, 0] = torch.tensor([0.0, 0.5, 1.0])
    steps = window(ramp(64, 64).repeat(3, 1, 1, 1), random)[:, 0, 4].diff(dim=1).mean(1)
    torch.testing.assert_close(steps, torch.tensor([2.0, 1.0, 0.5]), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_a_rotated_window_does_not_distort_shapes(size: tuple[int, int]) -> None:
    random = torch.tensor([[0.5, 1.0, 0.5, 0.5]])
    view = Window((6, 6), (1, 1), 90)(ramp(*size), random)
    height, width = size
    middle = ramp(*size)[:, :, height // 2 - 3 : height // 2 + 3, width // 2 - 3 : width // 2 + 3]
    torch.testing.assert_close(view, middle.rot90(1, (2, 3)), atol=1e-3, rtol=1e-3)


def test_roll_shifts_each_image_by_its_own_random_numbers() -> None:
    images = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(0))
    random = torch.tensor([[1.0, 0.5], [0.25, 0.0]])
    rolled = Roll((10, 14), 4)(images, random)
    assert torch.equal(rolled[0], images[0].roll((-4, 0), (1, 2)))
    assert torch.equal(rolled[1], images[1].roll((2, 4), (1, 2)))
    assert torch.equal(Roll((6, 5), 0)(images, random), images[..., :6, :5])
    assert torch.equal(Roll((6, 5), 4)(images, random)[0], images[0].roll((-4, 0), (1, 2))[:, :6, :5])
