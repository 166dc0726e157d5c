"""What pictures are kept close to."""

import pytest
import torch

from worker.engine.prior import Lp, PerPixel, TotalVariation, l1, l2, sum_priors

PICTURES = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("prior", "literal"),
    [
        (l1, lambda values: sum(abs(value) for value in values)),
        (l2, lambda values: sum(value**2 for value in values)),
        (Lp(6), lambda values: sum(abs(value) ** 6 for value in values) ** (1 / 6)),
        (PerPixel(l1), lambda values: sum(abs(value) for value in values) / 60),
    ],
)
def test_norms_are_what_they_are_called(prior, literal) -> None:
    expected = [literal(picture.flatten().tolist()) for picture in PICTURES]
    assert prior(PICTURES).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_total_variation_is_the_sum_over_both_neighbours(beta: float) -> None:
    expected = 0.0
    for channel in PICTURES[0].tolist():
        for row in range(3):
            for column in range(4):
                down = channel[row + 1][column] - channel[row][column]
                right = channel[row][column + 1] - channel[row][column]
                expected += (down**2 + right**2) ** (beta / 2)
    assert float(TotalVariation(beta)(PICTURES)[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("prior", [l1, l2, Lp(6), Lp(1.5), TotalVariation(1), TotalVariation(2)])
def test_a_flat_picture_costs_nothing_and_has_a_finite_slope(prior) -> None:
    flat = torch.zeros(1, 3, 4, 4, requires_grad=True)
    value = prior(flat)
    assert float(value.detach()) < 1e-4
    assert torch.autograd.grad(value.sum(), flat)[0].isfinite().all()


def test_each_slot_has_its_own_weights() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    expected = torch.stack([l1(PICTURES)[0], 0.5 * l1(PICTURES)[1] + 2 * l2(PICTURES)[1]])
    torch.testing.assert_close(sum_priors((l1, l2), weights, PICTURES), expected)
