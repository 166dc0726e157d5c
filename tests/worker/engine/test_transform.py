"""Windows onto pictures."""

import pytest
import torch

from worker.engine.transform import Both, Box, Chain, Crop, Jitter, Noise, Pad, Roll, Rotate, Scale, Window, fit

MIDDLE = torch.full((1, 4), 0.5)


def ramp(height: int, width: int) -> torch.Tensor:
    """A picture whose first channel is its column and whose second its row, in pixels."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows, rows * 0]).float()[None]


def test_no_parts_show_the_picture_as_it_is() -> None:
    assert torch.equal(Chain((4, 5))(ramp(4, 5), torch.zeros(1, 0)), ramp(4, 5))


def test_what_comes_out_of_a_chain_has_the_networks_size() -> None:
    chain = Chain((6, 7), (Pad(2), Jitter(3), Scale((0.5, 2.0))))
    assert chain.draws == 3
    assert chain(ramp(9, 9).repeat(2, 1, 1, 1), torch.rand(2, 3)).shape == (2, 3, 6, 7)


def test_each_picture_of_a_chain_has_its_own_numbers() -> None:
    chain = Chain((4, 4), (Crop((4, 4)),))
    seen = chain(ramp(8, 8).repeat(2, 1, 1, 1), torch.tensor([[0.0, 0.0], [0.999, 0.999]]))
    assert torch.equal(seen[0], ramp(8, 8)[0, :, :4, :4])
    assert torch.equal(seen[1], ramp(8, 8)[0, :, 4:, 4:])


@pytest.mark.parametrize("part", [Jitter(8), Pad(9)])
def test_what_a_picture_is_too_small_for_is_refused(part) -> None:
    with pytest.raises(ValueError, match=r"a picture of \(8, 9\)"):
        part(ramp(8, 9), [0.5, 0.5])


@pytest.mark.parametrize("number", [0.0, 0.3, 0.7, 0.9999999])
def test_jitter_takes_rows_and_columns_away_and_invents_none(number: float) -> None:
    seen = Jitter(3)(ramp(8, 9), [number, number])
    place = int(number * 4)
    assert torch.equal(seen, ramp(8, 9)[:, :, place : place + 5, place : place + 6])


def test_a_border_is_one_value_or_the_reflection() -> None:
    assert (Pad(1, fill=0.5)(ramp(3, 3), [])[0, 0, 0] == 0.5).all()
    assert Pad(1)(ramp(3, 3), [])[0, 0, 0].tolist() == [1, 0, 1, 2, 1]


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    torch.testing.assert_close(Rotate((90,))(ramp(6, 6), [0.5]), ramp(6, 6).rot90(1, (2, 3)), atol=1e-3, rtol=1e-3)


def test_scale_picks_one_of_its_factors() -> None:
    assert [Scale((0.5, 1, 2))(ramp(8, 6), [number]).shape[2:] for number in (0.1, 0.5, 0.99)] == [
        (4, 3),
        (8, 6),
        (16, 12),
    ]


def test_a_box_in_the_middle_shows_the_middle() -> None:
    random = torch.tensor([[0.999999, 0.999999, 0.25, 0.25, 0.0]])  # no deviation, the least side
    seen = Box((8, 8), (0.5, 0.6))(ramp(32, 32), random)
    torch.testing.assert_close(seen[0, 0, 4], fit(ramp(32, 32)[..., 8:24, 8:24], (8, 8))[0, 0, 4], atol=1, rtol=0.05)


def test_noise_follows_from_its_number_alone() -> None:
    noise = Both(Chain((8, 8)), Noise(0.1))
    one = noise(torch.zeros(2, 3, 8, 8), torch.tensor([[0.2], [0.7]]))
    other = noise(torch.zeros(1, 3, 8, 8), torch.tensor([[0.7]]))
    assert torch.equal(one[1], other[0])
    assert not torch.equal(one[0], one[1])
    assert one.std() == pytest.approx(0.1 * (1 + 1 / 12) ** 0.5, rel=0.15)


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


def test_roll_moves_each_picture_round_by_its_own_numbers() -> None:
    pictures = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(0))
    random = torch.tensor([[1.0, 0.5], [0.25, 0.0]])
    rolled = Roll((10, 14), 4)(pictures, random)
    assert torch.equal(rolled[0], pictures[0].roll((-4, 0), (1, 2)))
    assert torch.equal(rolled[1], pictures[1].roll((2, 4), (1, 2)))
    assert torch.equal(Roll((6, 5), 0)(pictures, random), pictures[..., :6, :5])
    assert torch.equal(Roll((6, 5), 4)(pictures, random)[0], pictures[0].roll((-4, 0), (1, 2))[:, :6, :5])
