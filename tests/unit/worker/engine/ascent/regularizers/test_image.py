"""Regularizers against their formulas."""

import pytest
import torch

from worker.engine.ascent.regularizers.image import Lp, PerPixel, TotalVariation, l1, l2, sum_penalties

IMAGES = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("regularizer", "literal"),
    [
        (l1, lambda values: sum(abs(value) for value in values)),
        (l2, lambda values: sum(value**2 for value in values)),
        (Lp(6), lambda values: sum(abs(value) ** 6 for value in values) ** (1 / 6)),
        (PerPixel(l1), lambda values: sum(abs(value) for value in values) / 60),
    ],
)
def test_norms_equal_their_formulas(regularizer, literal) -> None:
    expected = [literal(image.flatten().tolist()) for image in IMAGES]
    assert regularizer(IMAGES).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_total_variation_is_the_sum_over_both_neighbors(beta: float) -> None:
    expected = 0.0
    for channel in IMAGES[0].tolist():
        for row in range(3):
            for column in range(4):
                down = channel[row + 1][column] - channel[row][column]
                right = channel[row][column + 1] - channel[row][column]
                expected += (down**2 + right**2) ** (beta / 2)
    assert float(TotalVariation(beta)(IMAGES)[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("regularizer", [l1, l2, Lp(6), Lp(1.5), TotalVariation(1), TotalVariation(2)])
def test_the_penalty_of_a_flat_image_is_zero_and_has_a_finite_gradient(regularizer) -> None:
    flat = torch.zeros(1, 3, 4, 4, requires_grad=True)
    value = regularizer(flat)
    assert float(value.detach()) < 1e-4
    assert torch.autograd.grad(value.sum(), flat)[0].isfinite().all()


def test_penalties_use_the_weights_of_each_slot() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    expected = torch.stack([l1(IMAGES)[0], 0.5 * l1(IMAGES)[1] + 2 * l2(IMAGES)[1]])
    torch.testing.assert_close(sum_penalties((l1, l2), weights, IMAGES), expected)
